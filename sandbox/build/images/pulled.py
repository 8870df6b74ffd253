"""What was pulled from registries elsewhere, on disk: blobs by digest, and what each tag was last.

All sandboxes of a user share the folder. Who reads or writes a blob has a shared lock on its file. So
whoever makes room, one at a time, leaves alone what is in use, and finds what a killed process left.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from sandbox.errors import SandboxError
from sandbox.files import atomic_write, exclusive

FOLDER = "pulled"  # below the folder of the user's tools
LIMIT_VARIABLE = "KUBEPARK_IMAGES_LIMIT"
_DEFAULT_LIMIT = "10GiB"
_LIMIT = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?(GiB|TiB)")
_UNITS = {"GiB": 1 << 30, "TiB": 1 << 40}


def limit() -> int:
    """The bytes that pulled images may take, `KUBEPARK_IMAGES_LIMIT` or 10 GiB. Raises `SandboxError`."""
    given = os.environ.get(LIMIT_VARIABLE) or _DEFAULT_LIMIT
    match = _LIMIT.fullmatch(given)
    size = int(float(match[1]) * _UNITS[match[2]]) if match else 0
    if size < _UNITS["GiB"]:
        raise SandboxError(
            f'{LIMIT_VARIABLE}: "{given}" is not a size for pulled images; accepted: a number of GiB or TiB, '
            f"1GiB or more; fix: export {LIMIT_VARIABLE}={_DEFAULT_LIMIT}"
        )
    return size


class Cache:
    """Blobs of at most `limit` bytes together; beyond that only what is in use at the moment."""

    def __init__(self, folder: Path, limit: int) -> None:
        self.folder = folder
        self.limit = limit
        self._blobs, self._incoming = folder / "blobs", folder / "incoming"

    def path(self, digest: str) -> Path:
        """Where the blob lies, whether it is there or not."""
        algorithm, _, hexadecimal = digest.partition(":")
        return self._blobs / algorithm / hexadecimal

    def open(self, digest: str) -> IO[bytes] | None:
        """The blob, in use until it is closed; None if it is not there."""
        try:
            file = open_in_use(self.path(digest))
        except FileNotFoundError:
            return None
        os.utime(file.fileno())
        return file

    @contextmanager
    def receive(self, size: int) -> Iterator[IO[bytes]]:
        """A file to write a blob to, with room for it. Unless it is kept, it is gone after the block."""
        self._incoming.mkdir(parents=True, exist_ok=True)
        with exclusive(self.folder / "lock"):
            self._make_room(size)
            file = tempfile.NamedTemporaryFile(dir=self._incoming, delete=False)  # noqa: SIM115
            fcntl.flock(file, fcntl.LOCK_SH)
            file.truncate(size)  # so that others who make room count it
        with file:
            try:
                yield file
            finally:
                Path(file.name).unlink(missing_ok=True)

    def keep(self, file: IO[bytes], digest: str) -> None:
        """Give a file that was received, and whose content has this digest, its name."""
        file.truncate(file.tell())
        file.flush()
        os.fsync(file.fileno())
        path = self.path(digest)
        path.parent.mkdir(parents=True, exist_ok=True)
        Path(file.name).replace(path)

    def trim(self) -> None:
        """Remove what was used longest ago, until the rest is within the limit."""
        with exclusive(self.folder / "lock"):
            self._make_room(0)

    def tagged(self, image: str) -> str | None:
        """The digest that `host/repository:tag` had when it was last resolved."""
        try:
            return self._tag(image).read_text(encoding="ascii")
        except FileNotFoundError:
            return None

    def has_tag(self, repository: str) -> bool:
        """Whether any tag of `host/repository` was ever resolved."""
        path = self._tag(repository)
        return any(path.parent.glob(f"{path.name}:*"))

    def tag(self, image: str, digest: str) -> None:
        if self.tagged(image) != digest:
            atomic_write(self._tag(image), digest)

    def _tag(self, image: str) -> Path:
        return self.folder / "tags" / image

    def _make_room(self, size: int) -> None:
        """Ours is the lock."""
        for leftover in _files(self._incoming):
            _remove_unless_in_use(leftover)
        known, incoming = _files(self._blobs), _files(self._incoming)
        total = size + sum(status.st_size for files in (known, incoming) for status in files.values())
        for path, status in sorted(known.items(), key=lambda item: item[1].st_mtime_ns):
            if total <= self.limit:
                return
            if _remove_unless_in_use(path):
                total -= status.st_size


def open_in_use(path: Path) -> IO[bytes]:
    """The file to read from, which is in use until it is closed. Raises `FileNotFoundError`."""
    file = path.open("rb", buffering=0)
    fcntl.flock(file, fcntl.LOCK_SH)
    return file


def _files(folder: Path) -> dict[Path, os.stat_result]:
    found = {}
    for path in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):  # another process has just kept or given up one
            found[path] = path.stat()
    return {path: status for path, status in found.items() if stat.S_ISREG(status.st_mode)}


def _remove_unless_in_use(path: Path) -> bool:
    with contextlib.suppress(FileNotFoundError, BlockingIOError), path.open("r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink()
        return True
    return False
