"""An instance's disk: a private folder that survives a stop and a restart of the boot process."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Generic, TypeVar

from sandbox.files import atomic_write, read_json
from sandbox.nodes.cloudinit import WrittenFile

_MEMORY = "instance.json"


@dataclass
class Memory:
    """What is remembered of one instance."""

    powered: bool = False
    name: str = ""  # the node's, once its user data was read


M = TypeVar("M", bound=Memory)


class Disk(Generic[M]):
    """The folder of one instance. `memory` is what is remembered of an instance that never booted."""

    def __init__(self, folder: Path, memory: M) -> None:
        self.folder = folder
        self.instance_id = folder.name
        self.memory = replace(memory, **read_json(folder / _MEMORY))

    @property
    def fresh(self) -> bool:
        """Whether the instance never booted."""
        return not (self.folder / _MEMORY).exists()

    def save(self) -> None:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        atomic_write(self.folder / _MEMORY, json.dumps(asdict(self.memory)))

    def wipe(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


def on_disk(parent: Path) -> list[str]:
    """Ids of the instances that have a disk: none of them was terminated as far as the boot knows."""
    return sorted(path.parent.name for path in parent.glob(f"*/{_MEMORY}"))


@dataclass
class SimulatedMemory(Memory):
    """`phase` is the last one reached in this boot, `master` the instance of the master that it joined."""

    boot_id: str = ""
    attempt: int = 0
    phase: str = "pending"
    master: str = ""


class SimulatedDisk(Disk[SimulatedMemory]):
    """The disk of a simulated node: `root` stands for its file system."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, SimulatedMemory())
        self.root = folder / "root"

    def write_files(self, files: Mapping[str, WrittenFile]) -> None:
        """What cloud-init's `write_files` does at the first boot."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path, file in files.items():
            atomic_write(self.root / path.lstrip("/"), file.content, mode=file.mode)
