"""Programs as their projects publish them: over TLS, each compared with its publisher's checksum."""

from __future__ import annotations

import hashlib
import shutil
import tarfile
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import urllib3

from sandbox.build.releases import Asset, checksum
from sandbox.build.web import CHUNK, Web, WebError, reading
from sandbox.errors import SandboxError
from sandbox.progress import Report


class DownloadError(SandboxError):
    """What is wrong with one file; nothing of it was kept."""


def unreachable(found: Iterable[Asset]) -> dict[str, str]:
    """Which of the files' hosts do not answer, and why not."""
    hosts = {asset.checksums: asset.host for asset in found}
    return {hosts[url]: reason for url, reason in Web().silent(hosts).items()}


def fetch(asset: Asset, folder: Path, report: Report, stopped: threading.Event) -> None:
    """Put the programs of one file into `folder`, until `stopped` is set.

    Raises `DownloadError`; then `folder` may hold a part of them.
    """
    web = Web()
    with _answer(web, asset.checksums) as answer:
        wanted = checksum(answer.read(1 << 20).decode("utf-8", "replace"), asset.name)
    if wanted is None:
        raise DownloadError(f"{asset.checksums} names no SHA-256 of {asset.name}")
    archive = folder / f".{asset.name}"
    got = _download(web, asset.url, archive, report, stopped)
    if got != wanted:
        archive.unlink()
        raise DownloadError(f"{asset.url}: its SHA-256 is {got}, and {asset.checksums} says {wanted}")
    if None in asset.members.values():
        (program,) = asset.members
        archive.rename(folder / program)
        (folder / program).chmod(0o755)
    else:
        _unpack(archive, asset, folder)
        archive.unlink()


def _unpack(archive: Path, asset: Asset, folder: Path) -> None:
    wanted = {path: program for program, path in asset.members.items()}
    try:
        with tarfile.open(archive, "r:gz") as tar:
            for entry in tar:
                path = entry.name.removeprefix("./")
                name = wanted.pop(path, None)
                if name is None and asset.others and path.startswith(asset.others):
                    name = path.removeprefix(asset.others)
                content = tar.extractfile(entry) if name and "/" not in name and entry.isfile() else None
                if name is None or content is None:
                    continue
                with (folder / name).open("wb") as file:
                    shutil.copyfileobj(content, file)
                (folder / name).chmod(0o755)
    except (tarfile.TarError, EOFError, OSError) as error:
        raise DownloadError(f"{asset.url}: {error}") from error
    if wanted:
        raise DownloadError(f"{asset.url} does not hold {', '.join(map(str, wanted))}")


def _download(web: Web, url: str, target: Path, report: Report, stopped: threading.Event) -> str:
    """The SHA-256 of what was written to `target`."""
    digest, done = hashlib.sha256(), 0
    with _answer(web, url) as answer, target.open("wb") as file:
        size = int(answer.headers.get("Content-Length") or 0)
        for chunk in answer.stream(CHUNK, decode_content=False):
            if stopped.is_set():
                raise DownloadError(f"{url}: stopped")
            file.write(chunk)
            digest.update(chunk)
            done += len(chunk)
            report(done / size if size else 0)
    return digest.hexdigest()


@contextmanager
def _answer(web: Web, url: str) -> Iterator[urllib3.BaseHTTPResponse]:
    try:
        with reading(web.ask("GET", url), urlsplit(url).netloc) as answer:
            if answer.status >= 400:
                raise DownloadError(f"{url}: {answer.status} {answer.reason}")
            yield answer
    except (WebError, OSError) as error:
        raise DownloadError(f"{url}: {error}") from error
