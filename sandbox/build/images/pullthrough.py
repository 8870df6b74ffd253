"""A pull-through cache: images of registries elsewhere, fetched once and served as they arrive.

A tag is resolved anew at its registry each time, because it may move; where the registry does not answer,
it is what it was last. What has a digest never changes: once it is here, nobody is asked.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import urllib3
from werkzeug.wsgi import FileWrapper

from sandbox.build.images.pulled import LIMIT_VARIABLE, Cache, open_in_use
from sandbox.build.images.upstream import DIGEST, MANIFEST_TYPES, NAME, TAG, Upstream
from sandbox.build.web import CHUNK, Memory, WebError

_MANIFEST_BYTES = 4 << 20  # what the specification has registries take
# containerd asks four times about what it is refused, and once more for a blob that was cut off.
_REMEMBER_SECONDS = 5.0


class CutOff(ConnectionError):
    """A blob did not arrive as it should: its reader's connection ends before the last byte."""


@dataclass(frozen=True)
class Manifest:
    """`note` says why a tag was not resolved anew."""

    digest: str
    media_type: str
    content: bytes
    note: str = ""


@dataclass(frozen=True)
class Blob:
    """`size` in bytes; None where its registry does not say."""

    size: int | None
    content: Iterable[bytes]


class Download:
    """One blob on its way into the cache. Any number of readers follow it."""

    def __init__(self, cache: Cache, digest: str, most: int) -> None:
        self.size: int | None = None
        self._cache, self._digest, self._most = cache, digest, most
        self._changed = threading.Condition()
        self._file: IO[bytes] | None = None  # once the registry sends; in use as long as anybody has this
        self._ready = 0  # bytes that readers may have
        self._finished = False
        self.failure: WebError | None = None  # once it has failed

    def run(self, upstream: Upstream, name: str, kind: str) -> None:
        """Fetch, verify and keep it. However that ends, every reader learns of it."""
        failure = WebError(f"{self._digest} was not stored")
        try:
            with upstream.ask("GET", name, kind, self._digest) as response:
                self._receive(response)
        except WebError as error:
            failure = error
        except OSError as error:
            failure = WebError(f"{self._digest} cannot be stored: {error.strerror or error}")
        finally:
            with self._changed:
                if not self._finished:
                    self.failure, self._finished = failure, True
                self._changed.notify_all()

    def begun(self) -> None:
        """Wait until its registry sends. Raises `WebError`."""
        self._wait(lambda: self._file is not None)

    def chunks(self) -> Iterator[bytes]:
        """The content as it arrives, once it has begun. Raises `CutOff`, before the last byte."""
        assert self._file is not None, "it has begun"
        position = 0
        while (ready := self._after(position)) > position:
            chunk = os.pread(self._file.fileno(), min(CHUNK, ready - position), position)
            position += len(chunk)
            yield chunk

    def content(self) -> bytes:
        """All of it. Raises `WebError`."""
        self._wait(lambda: False)
        return b"".join(self.chunks())

    def _after(self, position: int) -> int:
        try:
            return self._wait(lambda: self._ready > position)
        except WebError as error:
            raise CutOff(str(error)) from error

    def _wait(self, enough: Callable[[], bool]) -> int:
        """Until there is enough, or it is finished: how many bytes readers may have then."""
        with self._changed:
            self._changed.wait_for(lambda: self._finished or enough())
            if self.failure:
                raise WebError(str(self.failure), self.failure.status)
            return self._ready

    def _receive(self, response: urllib3.BaseHTTPResponse) -> None:
        self.size = _length(response)
        self._check(self.size or 0)
        hashed = hashlib.new(self._digest.partition(":")[0])
        with self._cache.receive(self.size or 0) as file:
            begun = open_in_use(Path(file.name))
            weakref.finalize(self, begun.close)
            self._tell(0, begun)
            for chunk in response.stream(CHUNK, decode_content=False):
                before = file.tell()
                self._check(before + len(chunk))
                hashed.update(chunk)
                file.write(chunk)
                file.flush()
                self._tell(before, begun)  # readers get the last bytes once all were verified
            if hashed.hexdigest() != self._digest.partition(":")[2]:
                raise WebError(f"what came as {self._digest} is something else")
            size = file.tell()
            self._cache.keep(file, self._digest)
            self._tell(size, begun, finished=True)

    def _tell(self, ready: int, file: IO[bytes], *, finished: bool = False) -> None:
        with self._changed:
            self._ready, self._file, self._finished = ready, file, finished
            self._changed.notify_all()

    def _check(self, size: int) -> None:
        if size > self._most:
            why = f" ({LIMIT_VARIABLE})" if self._most == self._cache.limit else ""
            raise WebError(f"{self._digest} has {size} bytes or more; {self._most} are taken{why}")


class PullThrough:
    """Manifests and blobs by image name (`host/repository`), from the cache or from their registry."""

    def __init__(self, cache: Cache, upstream: Upstream) -> None:
        self._cache, self._upstream = cache, upstream
        self._lock = threading.Lock()
        self._downloads: dict[str, Download] = {}
        self._refused = Memory[WebError](_REMEMBER_SECONDS)

    def manifest(self, name: str, reference: str) -> Manifest:
        """The manifest or index of a tag or a digest. Raises `WebError`."""
        by_digest = DIGEST.fullmatch(reference)
        if not NAME.fullmatch(name) or not (by_digest or TAG.fullmatch(reference)):
            raise WebError("not the name of an image")
        with self._remembered(f"{name}:{reference}"):
            digest, note = (reference, "") if by_digest else self._resolve(name, reference)
            content = self._manifest(name, digest)
            return Manifest(digest, _media_type(content), content, note)

    def blob(self, name: str, digest: str) -> Blob:
        """A layer or a configuration. Raises `WebError`."""
        _check_blob(name, digest)
        with self._remembered(f"{name}@{digest}"):
            found = self._get(name, "blobs", digest, self._cache.limit)
            if isinstance(found, Download):
                found.begun()
                return Blob(found.size, found.chunks())
            return Blob(os.fstat(found.fileno()).st_size, FileWrapper(found, CHUNK))

    def blob_size(self, name: str, digest: str) -> int | None:
        """In bytes; None where its registry does not say. Raises `WebError`."""
        _check_blob(name, digest)
        try:
            return self._cache.path(digest).stat().st_size
        except FileNotFoundError:
            with self._upstream.ask("HEAD", name, "blobs", digest) as response:
                return _length(response)

    @contextmanager
    def _remembered(self, key: str) -> Iterator[None]:
        """What was refused a moment ago is refused without asking again."""
        if known := self._refused.get(key):
            raise WebError(str(known), known.status)
        try:
            yield
        except WebError as error:
            self._refused.put(key, error)
            raise

    def _resolve(self, name: str, tag: str) -> tuple[str, str]:
        """The digest of a tag, and why it is an old one, if it is."""
        image = f"{name}:{tag}"
        try:
            digest = self._ask_digest(name, tag)
        except WebError as error:
            known = self._cache.tagged(image)
            if known is None or not error.passing:
                raise
            return known, f"as it was last: {error}"
        self._cache.tag(image, digest)
        return digest, ""

    def _ask_digest(self, name: str, tag: str) -> str:
        try:
            with self._upstream.ask("HEAD", name, "manifests", tag) as response:
                digest = response.headers.get("Docker-Content-Digest", "")
                if DIGEST.fullmatch(digest):
                    return digest
        except WebError as error:
            if error.passing:
                raise
        # Without the header the content says it; and the reason of a refusal is in no answer to HEAD.
        with self._upstream.ask("GET", name, "manifests", tag) as response:
            content = bytearray()
            for chunk in response.stream(CHUNK, decode_content=False):
                content += chunk
                if len(content) > _MANIFEST_BYTES:
                    raise WebError(f"its manifest has more than {_MANIFEST_BYTES} bytes")
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        with self._cache.receive(len(content)) as file:
            file.write(content)
            self._cache.keep(file, digest)
        return digest

    def _manifest(self, name: str, digest: str) -> bytes:
        found = self._get(name, "manifests", digest, _MANIFEST_BYTES)
        if isinstance(found, Download):
            return found.content()
        with found:
            if os.fstat(found.fileno()).st_size > _MANIFEST_BYTES:
                raise WebError(f"{digest} is no manifest")
            return found.read()

    def _get(self, name: str, kind: str, digest: str, most: int) -> IO[bytes] | Download:
        """The blob's file, or its download, which all who want it at the same time share."""
        with self._lock:
            download = self._downloads.get(digest)
            if download is None:
                if file := self._cache.open(digest):
                    return file
                download = self._downloads[digest] = Download(self._cache, digest, most)
                arguments = (download, name, kind, digest)
                threading.Thread(target=self._run, args=arguments, name=f"pull {digest}", daemon=True).start()
        return download

    def _run(self, download: Download, name: str, kind: str, digest: str) -> None:
        try:
            download.run(self._upstream, name, kind)
        finally:
            if download.failure:  # before others may ask for it again
                self._refused.put(f"{name}@{digest}", download.failure)
            with self._lock:
                del self._downloads[digest]
        self._cache.trim()


def _check_blob(name: str, digest: str) -> None:
    if not NAME.fullmatch(name) or not DIGEST.fullmatch(digest):
        raise WebError(f"{digest} is not the digest of a blob of an image", 404)


def _length(response: urllib3.BaseHTTPResponse) -> int | None:
    found = response.headers.get("Content-Length", "")
    return int(found) if found.isdecimal() else None


def _media_type(content: bytes) -> str:
    """What a manifest says of itself, or shows by what it has (the OCI specification lets it)."""
    try:
        document = json.loads(content)
        shown = MANIFEST_TYPES[0 if "manifests" in document else 1]
        found = document.get("mediaType", shown if document["schemaVersion"] == 2 else "")
    except (ValueError, KeyError, TypeError, AttributeError):
        found = ""
    if found not in MANIFEST_TYPES:
        raise WebError("what its registry gives is no manifest that containerd knows")
    return str(found)
