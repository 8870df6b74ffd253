"""An instance's disk: a private folder that survives a stop and a restart of the boot process."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from sandbox.boot.cloudinit import WrittenFile
from sandbox.files import atomic_write

_MEMORY = "boot.json"


@dataclass
class Memory:
    """What the boot remembers of one instance. `phase` is the last one reached in this boot."""

    powered: bool = False
    boot_id: str = ""
    attempt: int = 0
    phase: str = "pending"
    done: list[str] = field(default_factory=list)  # `once` steps that ended
    published: float = 0.0  # when the join record was last written, seconds since the epoch
    hosts: dict[str, str] = field(default_factory=dict)  # the managed block of /etc/hosts


class Disk:
    """The folder of one instance."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.instance_id = folder.name
        self.memory = Memory()
        path = folder / _MEMORY
        if path.exists():
            self.memory = Memory(**json.loads(path.read_text(encoding="utf-8")))

    @property
    def root(self) -> Path:
        """Stands for the node's file system."""
        return self.folder / "root"

    @property
    def fresh(self) -> bool:
        """Whether the instance never booted."""
        return not self.root.exists()

    def save(self) -> None:
        self._make()
        atomic_write(self.folder / _MEMORY, json.dumps(asdict(self.memory)))

    def write_files(self, files: Mapping[str, WrittenFile]) -> None:
        """What cloud-init's `write_files` does at the first boot."""
        self._make()
        for path, file in files.items():
            atomic_write(self.root / path.lstrip("/"), file.content, mode=file.mode)

    def _make(self) -> None:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def wipe(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


def disks(parent: Path) -> Iterator[Disk]:
    """The disks of all instances that were not terminated as far as the boot knows."""
    if parent.is_dir():
        yield from (Disk(each) for each in sorted(parent.iterdir()) if (each / _MEMORY).exists())
