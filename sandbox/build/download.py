"""Programs as their projects publish them: over TLS, each compared with its publisher's checksum."""

from __future__ import annotations

import hashlib
import http.client
import queue
import shutil
import tarfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sandbox.build.releases import Asset, checksum
from sandbox.errors import SandboxError
from sandbox.progress import Report

PROBE_SECONDS = 3.0
_STALL_SECONDS = 15.0
_CHUNK = 1 << 18


class DownloadError(SandboxError):
    """What is wrong with one file; nothing of it was kept."""


class _TlsOnly(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        if not newurl.startswith("https://"):
            raise urllib.error.URLError(f"leads to {newurl}, which is not https")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def unreachable(found: Iterable[Asset]) -> dict[str, str]:
    """Which of the files' hosts do not answer, and why not: decided in `PROBE_SECONDS`.

    Any answer of the host will do. The environment's proxies and certificates count.
    """
    urls = {asset.host: asset.checksums for asset in found}
    answers: queue.Queue[tuple[str, str]] = queue.Queue()

    def ask(host: str, url: str) -> None:
        try:
            _open(urllib.request.Request(url, method="HEAD"), PROBE_SECONDS).close()
        except urllib.error.HTTPError:
            answers.put((host, ""))  # it speaks
        except (OSError, http.client.HTTPException) as error:
            answers.put((host, _reason(error)))
        else:
            answers.put((host, ""))

    for host, url in urls.items():  # daemons, for a lookup of a name can take longer than anyone waits
        threading.Thread(target=ask, args=(host, url), daemon=True).start()
    silent = dict.fromkeys(urls, f"no answer within {PROBE_SECONDS:.0f} s")
    deadline = time.monotonic() + PROBE_SECONDS
    for _ in urls:
        try:
            host, reason = answers.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            break
        if reason:
            silent[host] = reason
        else:
            del silent[host]
    return silent


def fetch(asset: Asset, folder: Path, report: Report, stopped: threading.Event) -> None:
    """Put the programs of one file into `folder`, until `stopped` is set.

    Raises `DownloadError`; then `folder` may hold a part of them.
    """
    wanted = checksum(_text(asset.checksums), asset.name)
    if wanted is None:
        raise DownloadError(f"{asset.checksums} names no SHA-256 of {asset.name}")
    archive = folder / f".{asset.name}"
    got = _download(asset.url, archive, report, stopped)
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


def _text(url: str) -> str:
    try:
        with _open(urllib.request.Request(url), _STALL_SECONDS) as answer:
            return str(answer.read(1 << 20).decode("utf-8", "replace"))
    except (OSError, http.client.HTTPException) as error:
        raise DownloadError(f"{url}: {_reason(error)}") from error


def _download(url: str, target: Path, report: Report, stopped: threading.Event) -> str:
    """The SHA-256 of what was written to `target`."""
    digest, done = hashlib.sha256(), 0
    try:
        with _open(urllib.request.Request(url), _STALL_SECONDS) as answer, target.open("wb") as file:
            size = int(answer.headers.get("Content-Length") or 0)
            while chunk := answer.read(_CHUNK):
                if stopped.is_set():
                    raise DownloadError(f"{url}: stopped")
                file.write(chunk)
                digest.update(chunk)
                done += len(chunk)
                report(done / size if size else 0)
    except (OSError, http.client.HTTPException) as error:
        raise DownloadError(f"{url}: {_reason(error)}") from error
    if size and done != size:
        raise DownloadError(f"{url}: cut off after {done} of {size} bytes")
    return digest.hexdigest()


def _open(request: urllib.request.Request, seconds: float) -> Any:
    return urllib.request.build_opener(_TlsOnly).open(request, timeout=seconds)


def _reason(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return str(error)  # with its number
    return str(getattr(error, "reason", None) or error)
