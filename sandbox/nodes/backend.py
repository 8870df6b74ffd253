"""What the boot process and whatever makes nodes of instances agree on.

User data in; status records and a Node object out. The boot's thread says what the cloud wants of each
instance and never waits for it: a few workers bring every node closer to that.
"""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from enum import Enum
from pathlib import Path
from typing import Any, Generic, TypeVar

from sandbox.aws.account import Account
from sandbox.aws.cloud import CloudError, Instance
from sandbox.errors import SandboxError
from sandbox.log import log
from sandbox.nodes.cloudinit import UserData, UserDataError, parse
from sandbox.nodes.disk import Disk
from sandbox.nodes.faults import Faults
from sandbox.processes import Supervisor

WORKERS = 6
SOON = 0.5  # seconds between looks at something that is awaited
_RETRY = 2.0  # seconds after an error
IDLE = 30.0  # seconds between looks at a node that is done


class PowerLost(Exception):
    """The instance is not running any more: whatever the machine was doing has ended."""


class Power(Enum):
    """What the cloud wants of an instance."""

    ON = "on"
    OFF = "off"
    TERMINATED = "terminated"


class Node(ABC):
    """One instance. One worker at a time calls `reconcile`; the boot's thread calls `switch`."""

    def __init__(self, account: Account, disk: Disk[Any]) -> None:
        self.account = account
        self.disk = disk
        self.wanted = Power.ON if disk.memory.powered else Power.OFF
        self.gone = False  # terminated, and nothing is left of it
        self._user_data: UserData | None = None
        self._due = 0.0
        self._lock = threading.Lock()

    @property
    def name(self) -> str:
        """The node's name once its user data was read, until then the instance's id."""
        return str(self.disk.memory.name or self.disk.instance_id)

    @property
    def user_data(self) -> UserData:
        """Read once per boot. Raises `UserDataError` and a `CloudError`."""
        if self._user_data is None:
            self._user_data = parse(self.account.cloud.user_data(self.disk.instance_id))
            self.disk.memory.name = self._user_data.name
        return self._user_data

    def forget_user_data(self) -> None:
        """It may be another at the next boot."""
        self._user_data = None

    @property
    def on(self) -> bool:
        return self.wanted is Power.ON

    @property
    def due(self) -> bool:
        return time.monotonic() >= self._due

    def switch(self, wanted: Power) -> None:
        """From the boot's thread: the cloud switched the instance."""
        with self._lock:
            self.wanted, self._due = wanted, 0.0

    def reconcile(self) -> None:
        """One look; whoever switches the instance meanwhile is not kept waiting."""
        before = self.wanted
        pause = self.advance()
        with self._lock:
            self._due = time.monotonic() + pause if self.wanted is before else 0.0

    def advance(self) -> float:
        """Bring the node closer to what is wanted: seconds to the next look."""
        try:
            return self.keep_on() if self.on else self.go_off()
        except PowerLost:
            return SOON
        except CloudError as error:  # the emulator is away or refuses: a machine would try again
            self.log(f"emulator: {error}")
        except UserDataError as error:
            self.log(f"cannot boot: {error}")
            return IDLE
        except (SandboxError, OSError) as error:
            self.log(str(error))
        return _RETRY

    def running_instance(self) -> Instance:
        """The instance as it is now. Raises `PowerLost` unless it runs, and a `CloudError`."""
        found = self.account.cloud.running(self.disk.instance_id)
        if found is None:
            raise PowerLost(self.disk.instance_id)
        return found

    @abstractmethod
    def keep_on(self) -> float:
        """Boot the machine from its user data, or from its disk if it was stopped, and look after it."""

    @abstractmethod
    def go_off(self) -> float:
        """End its processes; the disk stays, unless the instance was terminated."""

    def log(self, message: str) -> None:
        log(self.name, message)


N = TypeVar("N", bound=Node)


class NodeBackend(ABC, Generic[N]):
    """All nodes of one sandbox. Called from one thread; nothing blocks for long, repeating changes nothing.

    Instances are known by id, and remembered over a restart of the boot process.
    """

    def __init__(self, state_dir: Path, account: Account, supervisor: Supervisor, faults: Faults) -> None:
        self.state_dir = state_dir
        self.account = account
        self.supervisor = supervisor
        self.faults = faults
        self.nodes: dict[str, N] = {}
        self._workers = ThreadPoolExecutor(WORKERS, thread_name_prefix="node")
        self._futures: dict[str, Future[None]] = {}

    @abstractmethod
    def make(self, instance_id: str) -> N:
        """The node of an instance, on the disk that it has or will have."""

    def resume(self, known: Iterable[str]) -> None:
        """Take up the instances that have a disk here."""
        self.nodes = {instance_id: self.make(instance_id) for instance_id in known}

    def known(self) -> Mapping[str, bool]:
        """Instances that have a disk here -> whether they are switched on."""
        return {each: node.on for each, node in self.nodes.items() if node.wanted is not Power.TERMINATED}

    def switch(self, instance_id: str, wanted: Power) -> None:
        """What the cloud wants of an instance from now on."""
        if instance_id not in self.nodes:
            self.nodes[instance_id] = self.make(instance_id)
        self.nodes[instance_id].switch(wanted)

    def tick(self) -> None:
        """Called about twice a second: go on with whatever is due."""
        for instance_id, node in list(self.nodes.items()):
            future = self._futures.get(instance_id)
            if future and not future.done():
                continue
            if future:
                future.result()  # a fault of ours ends the boot, with its traceback in the log
            if node.gone:
                del self.nodes[instance_id], self._futures[instance_id]
            elif node.due:
                self._futures[instance_id] = self._workers.submit(node.reconcile)

    def close(self) -> None:
        """No further steps; what is under way ends first. Disks and what is remembered stay."""
        self._workers.shutdown(cancel_futures=True)
