"""Child processes that outlive the command that started them, and the lock of one sandbox.

Each child leads its own session, so that Ctrl-C in the terminal does not reach it and the whole
group can be ended at once. State is a file: pid and start time of each, so that any later command
finds them, and never signals a stranger that was given the same pid. Every child also carries the
state file's path in its environment (`MARK`): what was started and not yet recorded when the
starter was killed is still found.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil

from sandbox.errors import SandboxError
from sandbox.files import atomic_write, exclusive, read_json

MARK = "KUBEPARK_SUPERVISOR"
TAIL_LINES = 15
# Start times come from the system clock, which may be corrected while a child runs; a pid is not
# given out again within this many seconds.
CLOCK_TOLERANCE = 2.0
_LOOK_SECONDS = 0.02


@dataclass(frozen=True)
class Record:
    """A process as the state file knows it. `started` is seconds since the epoch."""

    pid: int
    started: float


class Supervisor:
    """Starts, finds and ends the processes of one state file. Several supervisors may share it."""

    def __init__(self, state_file: Path, log_dir: Path) -> None:
        self.state_file = state_file.resolve()
        self.log_dir = log_dir
        self._children: dict[str, subprocess.Popen[bytes]] = {}

    # -- state -------------------------------------------------------------------------------------

    def load(self) -> dict[str, Any]:
        """The whole state document; empty when there is none."""
        return read_json(self.state_file)

    @contextmanager
    def edit(self) -> Iterator[dict[str, Any]]:
        """The state document to change in place, written back at the end under a lock."""
        with exclusive(self.state_file.with_suffix(".lock")):
            document = self.load()
            yield document
            atomic_write(self.state_file, json.dumps(document, indent=1, sort_keys=True) + "\n")

    def records(self) -> dict[str, Record]:
        """What was started and not stopped since, dead or alive."""
        return {name: Record(**fields) for name, fields in self.load().get("processes", {}).items()}

    # -- questions ---------------------------------------------------------------------------------

    def pid(self, name: str) -> int | None:
        """The pid of a live process, else None."""
        record = self.records().get(name)
        process = self._leader(record) if record else None
        return process.pid if process else None

    def alive(self, name: str) -> bool:
        return self.pid(name) is not None

    def log(self, name: str) -> Path:
        return self.log_dir / f"{name}.log"

    # -- start -------------------------------------------------------------------------------------

    def start(
        self,
        name: str,
        argv: Sequence[str | Path],
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        ready: Callable[[], bool] | None = None,
        timeout: float = 60.0,
    ) -> int:
        """Start `name` unless it runs, wait until `ready()` says so, and give its pid.

        `env` is the whole environment (default: ours). `timeout` is in seconds. Raises
        `SandboxError` with the end of the log if it exits or does not get ready; it is stopped then.
        """
        pid = self.pid(name)
        log = self.log(name)
        offset = log.stat().st_size if log.exists() else 0
        if pid is None:
            pid = self._spawn(name, [str(part) for part in argv], dict(env or os.environ), cwd)
        if ready is not None:
            self._wait_ready(name, ready, timeout, offset)
        return pid

    def _spawn(self, name: str, argv: list[str], env: dict[str, str], cwd: Path | None) -> int:
        self.log_dir.mkdir(parents=True, exist_ok=True)
        log = self.log(name)
        with log.open("ab") as output:
            log.chmod(0o600)
            try:
                child = subprocess.Popen(
                    argv,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env={**env, MARK: str(self.state_file)},
                    cwd=cwd,
                    start_new_session=True,
                )
            except OSError as error:
                raise SandboxError(f"cannot start {name}: {argv[0]}: {error.strerror}") from None
        self._children[name] = child
        record = Record(child.pid, psutil.Process(child.pid).create_time())
        with self.edit() as state:
            state.setdefault("processes", {})[name] = asdict(record)
        return child.pid

    def _wait_ready(self, name: str, ready: Callable[[], bool], timeout: float, offset: int) -> None:
        deadline = time.monotonic() + timeout
        pause = 0.05
        while not ready():
            if not self.alive(name):
                child = self._children.get(name)
                code = child.poll() if child else None
                ended = f"{name} ended at once" + (f" with code {code}" if code is not None else "")
                self.stop(name)
                raise SandboxError(f"{ended}\n{self.tail(name, offset)}")
            if time.monotonic() > deadline:
                self.stop(name)
                late = f"{name} did not get ready within {timeout:.0f} s"
                raise SandboxError(f"{late}\n{self.tail(name, offset)}")
            time.sleep(pause)
            pause = min(pause * 1.5, 0.5)

    def tail(self, name: str, offset: int = 0) -> str:
        """The last lines of a log, indented under its path, for an error message."""
        log = self.log(name)
        if not log.exists():
            return f"  (no log at {log})"
        with log.open("rb") as file:
            file.seek(max(offset, log.stat().st_size - 65536))
            lines = file.read().decode(errors="replace").splitlines()
        shown = [f"    {line}" for line in lines[-TAIL_LINES:]] or ["    (empty)"]
        return "\n".join([f"  end of {log}:", *shown])

    # -- stop --------------------------------------------------------------------------------------

    def stop(self, name: str, *, grace: float = 10.0) -> bool:
        """SIGTERM to the group, SIGKILL after `grace` seconds. True if anything was running."""
        record = self.records().get(name)
        if record is None:
            return False
        running = self._end(list(self._group(record)), grace)
        if child := self._children.pop(name, None):
            child.poll()  # reaps it
        with self.edit() as state:
            if state.get("processes", {}).get(name) == asdict(record):
                del state["processes"][name]
        return running

    def stop_all(self, *, grace: float = 10.0) -> list[str]:
        """End everything recorded, last started first, then whatever else carries our mark."""
        records = sorted(self.records().items(), key=lambda item: item[1].started, reverse=True)
        stopped = [name for name, _ in records if self.stop(name, grace=grace)]
        strays = list(self.strays())
        stopped += [f"{process.pid}" for process in strays]
        self._end(strays, grace)
        return stopped

    def strays(self) -> Iterator[psutil.Process]:
        """Live processes that were started under this state file, but for us and our ancestors."""
        own = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
        recorded = {record.pid for record in self.records().values()}
        return (p for p in self._marked() if p.pid not in own and p.pid not in recorded)

    def _leader(self, record: Record) -> psutil.Process | None:
        """The recorded process itself; None if it ended or its pid belongs to another by now."""
        for child in list(self._children.values()):  # several threads may start processes
            child.poll()  # reap, or it stays a zombie
        try:
            process = psutil.Process(record.pid)
            same = abs(process.create_time() - record.started) <= CLOCK_TOLERANCE
            return process if same and process.status() != psutil.STATUS_ZOMBIE else None
        except psutil.NoSuchProcess:
            return None

    def _group(self, record: Record) -> Iterator[psutil.Process]:
        """The recorded process and what it left in its group, even when it is gone itself."""
        if leader := self._leader(record):
            yield leader
        for process in self._marked():
            if process.pid != record.pid and _group_id(process.pid) == record.pid:
                yield process

    def _marked(self) -> Iterator[psutil.Process]:
        for process in psutil.process_iter():
            with suppress(psutil.Error):  # ended meanwhile, or another user's
                if process.environ().get(MARK) == str(self.state_file):
                    yield process

    def _end(self, processes: Iterable[psutil.Process], grace: float) -> bool:
        remaining = list(processes)
        if not remaining:
            return False
        for number, timeout in ((signal.SIGTERM, grace), (signal.SIGKILL, 5.0)):
            for process in remaining:
                with suppress(psutil.NoSuchProcess):
                    process.send_signal(number)  # psutil checks the start time before it signals
            if not (remaining := living(remaining, timeout)):
                return True
        names = ", ".join(str(process.pid) for process in remaining)
        raise SandboxError(f"processes that do not end even when killed: {names}")


def living(processes: Iterable[psutil.Process], seconds: float) -> list[psutil.Process]:
    """Those that still run after at most `seconds`. A zombie has ended: in a container without an init
    of its own nobody may ever reap it, which is what psutil's own wait would wait for."""
    deadline, remaining = time.monotonic() + seconds, list(processes)
    while True:
        remaining = [process for process in remaining if runs(process)]
        if not remaining or time.monotonic() >= deadline:
            return remaining
        time.sleep(_LOOK_SECONDS)


def runs(process: psutil.Process) -> bool:
    """Whether this very process is there and no zombie, which holds nothing any more."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@contextmanager
def ignoring(*numbers: signal.Signals) -> Iterator[None]:
    """These signals do not interrupt the block. Programs that it starts get them as ever."""
    previous = {number: signal.signal(number, lambda *_: None) for number in numbers}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def is_alive(pid: int) -> bool:
    """Whether any process with this id runs."""
    try:
        return runs(psutil.Process(pid))
    except psutil.NoSuchProcess:
        return False


def _group_id(pid: int) -> int | None:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return None


def output(command: Sequence[str | Path], **options: Any) -> str:
    """Standard output of a program that ends well; `options` are those of `subprocess.run`.

    Raises `SandboxError` with the command and the end of what it wrote to standard error, and
    KeyboardInterrupt when Ctrl-C ended it.
    """
    shown = " ".join([Path(command[0]).name, *map(str, command[1:])])
    if "input" not in options:
        options["stdin"] = subprocess.DEVNULL
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    except subprocess.TimeoutExpired as error:
        raise SandboxError(f"{shown}: did not end within {error.timeout:.0f} s") from None
    except OSError as error:
        raise SandboxError(f"cannot run {command[0]}: {error.strerror}") from None
    if done.returncode == -signal.SIGINT:
        raise KeyboardInterrupt
    if done.returncode:
        end = "\n".join(done.stderr.strip().splitlines()[-TAIL_LINES:])
        raise SandboxError(f"{shown}: exit {done.returncode}: {end}")
    return str(done.stdout)


@contextmanager
def sandbox_lock(path: Path) -> Iterator[None]:
    """One command at a time per sandbox. The kernel frees the lock when its holder dies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise SandboxError(_held_by(file.read())) from None
        file.truncate(0)
        now = datetime.now().astimezone()
        file.write(json.dumps({"pid": os.getpid(), "since": now.isoformat(), "argv": sys.argv[:3]}))
        file.flush()
        try:
            yield
        finally:
            file.truncate(0)


def _held_by(content: str) -> str:
    """The message for whoever comes second, from what the holder wrote into the lock file."""
    try:
        holder = json.loads(content)
        pid, since = int(holder["pid"]), datetime.fromisoformat(holder["since"])
    except (ValueError, KeyError, TypeError):  # it is writing this very moment
        return "another kubepark run is using this sandbox: wait for it to end"
    return (
        f"another kubepark run (pid {pid}, since {since:%H:%M}) is using this sandbox: "
        f"wait for it, or end it with Ctrl-C in its terminal or `kill -INT {pid}`"
    )
