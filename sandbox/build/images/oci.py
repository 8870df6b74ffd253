"""Pack files into container images, byte for byte the same from the same files.

Blobs lie in a content-addressed folder (`blobs/sha256/<hex>`, as in an OCI image layout). Layers are
plain tar archives: every node unpacks them from loopback, where compressing would only cost time. A
layer is made once: a small record beside the blobs remembers which files it was made from.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import tarfile
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, Any

from sandbox.build.releases import ARCHITECTURES
from sandbox.files import atomic_write, exclusive

MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar"


@dataclass(frozen=True)
class Files:
    """What an image's file system holds; every path is absolute in the image."""

    copies: Mapping[str, Path] = field(default_factory=dict)  # path -> a regular file of this machine
    links: Mapping[str, str] = field(default_factory=dict)  # path -> target of a symbolic link

    def __or__(self, other: Files) -> Files:
        return Files({**self.copies, **other.copies}, {**self.links, **other.links})


@dataclass(frozen=True)
class Start:
    """How a container of the image starts, unless its pod says otherwise."""

    entrypoint: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    user: str = ""


@dataclass(frozen=True)
class Packed:
    """An image in the store: its manifest's digest, and each of its blobs with its media type."""

    digest: str
    blobs: Mapping[str, str]


class Store:
    """The blobs of all images. Several processes may use one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, digest: str) -> Path:
        """Where the blob `sha256:<hex>` lies, whether it is there or not."""
        algorithm, _, hexadecimal = digest.partition(":")
        return self.folder / "blobs" / algorithm / hexadecimal

    def pack(self, files: Files, start: Start) -> Packed:
        """Make the image, or find it made. Raises `OSError` for a file that cannot be read."""
        with exclusive(self.folder / "lock"):
            layer = self._layer(files)
            config = self._json(_config(start, layer["digest"]), CONFIG_TYPE)
            manifest = self._json(
                {"schemaVersion": 2, "mediaType": MANIFEST_TYPE, "config": config, "layers": [layer]},
                MANIFEST_TYPE,
            )
        blobs = {blob["digest"]: blob["mediaType"] for blob in (manifest, config, layer)}
        return Packed(manifest["digest"], blobs)

    def _json(self, content: Mapping[str, Any], media_type: str) -> dict[str, Any]:
        data = json.dumps(content, sort_keys=True, separators=(",", ":")).encode()
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        atomic_write(self.path(digest), data, mode=0o644)
        return {"mediaType": media_type, "digest": digest, "size": len(data)}

    def _layer(self, files: Files) -> dict[str, Any]:
        record = self.folder / "layers" / f"{_key(files)}.json"
        if record.exists():
            made: dict[str, Any] = json.loads(record.read_text(encoding="utf-8"))
            if self.path(made["digest"]).exists():
                return made
        made = self._write_layer(files)
        atomic_write(record, json.dumps(made), mode=0o644)
        return made

    def _write_layer(self, files: Files) -> dict[str, Any]:
        """Write the archive beside the blobs and give it its name once that is known."""
        blobs = self.path("sha256:")
        blobs.mkdir(parents=True, exist_ok=True)
        for leftover in blobs.glob(".layer-*"):  # of a packer that was killed; we hold the lock
            leftover.unlink()
        with tempfile.NamedTemporaryFile(dir=blobs, prefix=".layer-", delete=False) as file:
            _write_archive(files, file)
            size = file.tell()
            file.seek(0)
            digest = f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
        made = Path(file.name)
        made.chmod(0o644)
        made.replace(self.path(digest))
        return {"mediaType": LAYER_TYPE, "digest": digest, "size": size}


def _key(files: Files) -> str:
    """By what a layer is found again: built programs are never changed in place, so their folder, size
    and time tell them apart without reading them."""
    copies = []
    for path, source in files.copies.items():
        status = source.stat()
        copies.append((path, str(source.resolve()), status.st_size, status.st_mtime_ns, status.st_mode))
    text = repr((sorted(copies), sorted(files.links.items())))
    return hashlib.sha256(text.encode()).hexdigest()


def _write_archive(files: Files, out: IO[bytes]) -> None:
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        paths = (PurePosixPath(path) for path in (*files.copies, *files.links))
        folders = {str(parent) for path in paths for parent in path.parents} - {"/"}
        for folder in sorted({"/tmp", *folders}):
            archive.addfile(_item(folder, tarfile.DIRTYPE, 0o1777 if folder == "/tmp" else 0o755))
        for path, source in sorted(files.copies.items()):
            executable = source.stat().st_mode & 0o111
            item = _item(path, tarfile.REGTYPE, 0o755 if executable else 0o644)
            with source.open("rb") as content:
                item.size = os.fstat(content.fileno()).st_size
                archive.addfile(item, content)
        for path, target in sorted(files.links.items()):
            item = _item(path, tarfile.SYMTYPE, 0o777)
            item.linkname = target
            archive.addfile(item)


def _item(path: str, kind: bytes, mode: int) -> tarfile.TarInfo:
    """A header without a trace of this machine: root's, from 1970."""
    item = tarfile.TarInfo(path.lstrip("/"))
    item.type, item.mode = kind, mode
    return item


def _config(start: Start, layer: str) -> dict[str, Any]:
    path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    environment = {"PATH": path, **start.environment}
    return {
        "architecture": ARCHITECTURES[platform.machine()],
        "os": "linux",
        "config": {
            "Entrypoint": list(start.entrypoint),
            "Env": [f"{name}={value}" for name, value in environment.items()],
            "User": start.user,
            "WorkingDir": "/",
        },
        "rootfs": {"type": "layers", "diff_ids": [layer]},
    }
