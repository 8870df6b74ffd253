"""One service of the systemd stand-in: its processes, its restarts, its journal."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
import uuid
from pathlib import Path

from sandbox.nodes.standins.units import UnitError, UnitFile, command, environment

JOURNAL = Path("/var/log/kubepark-journal")
CONSOLE = Path("/dev/console")
NOTICES = Path("/run/kubepark-notify")
START_LIMIT = 5  # starts within START_INTERVAL seconds, as systemd's defaults have it
START_INTERVAL = 10.0
_RESTART_SECONDS = 0.1
STOP_SECONDS = 10.0  # from SIGTERM to SIGKILL
_KILL_SECONDS = 2.0  # from SIGKILL until it is said that it did not help
_LOOK_SECONDS = 0.05
# A service that ends by one of these has not failed.
_CLEAN = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGPIPE)


class Service:
    """A unit with an ExecStart. `due` is when `tick` has something to do."""

    def __init__(self, unit: UnitFile, variables: dict[str, str]) -> None:
        self.unit = unit
        self.state = "inactive"
        self.due: float | None = None
        self._variables = variables
        self._invocation = ""
        self._pid = 0
        self.stopping = False
        self._deadline: float | None = None
        self._notified: socket.socket | None = None  # while the service has not said that it is ready
        self._restarts = 0
        self._starts: list[float] = []

    @property
    def oneshot(self) -> bool:
        return self.unit.one("Type", "simple") == "oneshot"

    @property
    def active(self) -> bool:
        return self.state in ("active", "activating", "deactivating")

    @property
    def starting(self) -> bool:
        """Whether a start is under way that somebody may wait for."""
        return self.state == "activating" and bool(self._pid)

    # -- start -------------------------------------------------------------------------------------

    def start(self) -> None:
        """Unless it runs. Raises `UnitError` for what cannot be started at all."""
        if self.state in ("active", "activating") and (self._pid or self.state == "active"):
            return
        if self.stopping:
            raise UnitError(f"{self.unit.name} is being stopped.")
        missing = [path for path in self.unit.all("ConditionPathExists") if not Path(path).exists()]
        if missing:
            self._note(f"Condition check resulted in {self.unit.name} being skipped: {missing[0]}")
            self.state = "inactive"
            return
        try:
            self._count_start()
            variables = environment(self.unit, {**self._variables, "INVOCATION_ID": uuid.uuid4().hex})
            lines = self.unit.all("ExecStart")
            if len(lines) != 1:
                raise UnitError(f"{self.unit.name}: {len(lines)} ExecStart lines")
            arguments = command(lines[0], variables)
        except UnitError:
            self.state, self.due = "failed", None
            raise
        self._signal(signal.SIGKILL)  # what its last life left
        self._invocation = variables["INVOCATION_ID"]
        if self.unit.one("Type") == "notify":
            variables["NOTIFY_SOCKET"] = self._expect_notice()
        self._environment, self.state = variables, "activating"
        limit = self.unit.seconds("TimeoutStartSec", float("inf") if self.oneshot else 90.0)
        self._deadline = time.monotonic() + limit
        self._pid = self._spawn(arguments)
        if not self.oneshot and self._notified is None:
            self.state, self._deadline = "active", None
        self.due = self._deadline if self._deadline != float("inf") else None
        if self._notified is not None:
            self.due = time.monotonic()

    def _expect_notice(self) -> str:
        """Where the service says that it is ready (sd_notify)."""
        path = NOTICES / self.unit.name
        path.parent.mkdir(exist_ok=True)
        path.unlink(missing_ok=True)
        self._notified = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._notified.bind(str(path))
        return str(path)

    def _look_for_notice(self) -> None:
        """Active once it has said so; until then looked for again soon."""
        with contextlib.suppress(BlockingIOError):
            while self._notified is not None:
                if b"READY=1" in self._notified.recv(4096).splitlines():
                    self._expect_nothing()
                    self.state, self._deadline, self.due = "active", None, None
                    return
        self.due = time.monotonic() + _LOOK_SECONDS

    def _expect_nothing(self) -> None:
        if self._notified is not None:
            self._notified.close()
            self._notified = None

    def _count_start(self) -> None:
        interval = self.unit.seconds("StartLimitIntervalSec", START_INTERVAL)
        now = time.monotonic()
        self._starts = [each for each in self._starts if now - each < interval]
        if interval and len(self._starts) >= START_LIMIT:
            self.state, self.due = "failed", None
            raise UnitError(f"{self.unit.name}: Start request repeated too quickly.")
        self._starts.append(now)

    def _spawn(self, arguments: list[str]) -> int:
        """A process of the service in a session of its own, its output in the journal."""
        JOURNAL.mkdir(parents=True, exist_ok=True)
        log = JOURNAL / f"{self.unit.name}.log"
        words = arguments
        if self.unit.one("StandardOutput") == "journal+console":
            # tee in between: both get each line at once, and the exit code is the command's own.
            script = 'set -o pipefail; "$@" 2>&1 | tee -a "$0"'
            words = ["/bin/bash", "-c", script, str(CONSOLE), *arguments]
        # Until the copy of process 1 has become the service, a SIGTERM for it must wait, not be ours.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        pid = os.fork()
        if pid:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            return pid
        try:
            os.setsid()
            for number in (signal.SIGCHLD, signal.SIGTERM):
                signal.signal(number, signal.SIG_DFL)
            signal.set_wakeup_fd(-1)
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.dup2(output, 1)
            os.dup2(output, 2)
            os.chdir("/")
            os.execve(words[0], words, self._environment)
        except OSError as error:
            os.write(2, f"{words[0]}: {error.strerror}\n".encode())
        finally:  # this copy of process 1 must not go on, whatever happened
            os._exit(203)  # EXIT_EXEC

    # -- end ---------------------------------------------------------------------------------------

    def ended(self, pid: int, code: int) -> None:
        """A process of the machine has ended; maybe this service's."""
        if pid != self._pid:
            return
        self._pid = 0
        clean = not code or (not self.oneshot and -code in _CLEAN)
        if self.stopping:
            self.due = time.monotonic()
        elif not clean:
            how = f"code=exited, status={code}" if code > 0 else f"code=killed, status={-code}"
            self._fail(f"Main process exited, {how}")
        elif self._notified is not None:
            self._fail("Main process exited before it was ready")
        else:
            self._finish(code)

    def _fail(self, text: str) -> None:
        self._note(text)
        self._expect_nothing()
        self._signal(signal.SIGTERM)
        self.state, self.due = "failed", None
        if self.unit.one("Restart", "no") in ("always", "on-failure"):
            self._schedule()

    def _finish(self, code: int) -> None:
        again = self.unit.one("Restart", "no") == "always"
        kept = self.oneshot and self.unit.yes("RemainAfterExit")
        self.state, self.due, self._deadline = ("active" if kept else "inactive"), None, None
        self._restarts = 0 if not code else self._restarts
        self._expect_nothing()
        if not kept:
            self._signal(signal.SIGTERM)
        if again:
            self._schedule()

    def _schedule(self) -> None:
        """The next try: after RestartSec, growing in RestartSteps to RestartMaxDelaySec."""
        first = self.unit.seconds("RestartSec", _RESTART_SECONDS)
        steps = int(self.unit.one("RestartSteps", "0"))
        longest = self.unit.seconds("RestartMaxDelaySec", first)
        pause = first
        if steps and first:
            pause = first * (longest / first) ** (min(self._restarts, steps) / steps)
        self._restarts += 1
        self.state, self.due = "activating", time.monotonic() + pause

    def tick(self) -> None:
        """Restart what is due, and end what takes longer than it may."""
        if self.due is None or time.monotonic() < self.due:
            return
        self.due = None
        if self.stopping:
            self._look_for_end()
        elif self._pid and self._notified is not None and time.monotonic() < (self._deadline or 0):
            self._look_for_notice()
        elif not self._pid and self.state == "activating":
            try:
                self.start()
            except UnitError as error:
                self._note(str(error))
        elif self._pid and self._deadline is not None and time.monotonic() >= self._deadline:
            self._note("start operation timed out. Terminating.")
            self._signal(signal.SIGKILL)

    def stop(self) -> None:
        """SIGTERM to its main process, or to all of its processes unless KillMode says otherwise.

        `stopping` until they have ended; those that do not are killed.
        """
        if self.stopping:
            return
        self.stopping, self.state = True, "deactivating"
        self._deadline = time.monotonic() + STOP_SECONDS
        self._expect_nothing()
        self._signal(signal.SIGTERM)
        self._look_for_end()

    def _look_for_end(self) -> None:
        now, deadline = time.monotonic(), self._deadline or 0.0
        left = self._own()
        if left and now < deadline + _KILL_SECONDS:
            if now >= deadline:
                self._signal(signal.SIGKILL)
            self.due = now + _LOOK_SECONDS
            return
        if left:
            self._note(f"processes do not end: {sorted(left)}")
        self.stopping, self.state = False, "failed" if left else "inactive"
        self.due, self._deadline, self._restarts = None, None, 0

    def _own(self) -> set[int]:
        """Processes that end with the service: all of them, unless KillMode says otherwise."""
        main = {self._pid} if self._pid else set()
        return main if self.unit.one("KillMode") == "process" else main | set(self.processes())

    def _signal(self, number: int) -> None:
        for pid in self._own():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def processes(self) -> list[int]:
        """Every process of this start, by the id that systemd, too, puts into their environment."""
        if not self._invocation:
            return []
        mark, found = f"INVOCATION_ID={self._invocation}".encode(), []
        for path in Path("/proc").glob("[0-9]*/environ"):
            with contextlib.suppress(OSError):
                if mark in path.read_bytes().split(b"\0"):
                    found.append(int(path.parent.name))
        return found

    def _note(self, text: str) -> None:
        JOURNAL.mkdir(parents=True, exist_ok=True)
        with (JOURNAL / f"{self.unit.name}.log").open("a") as log:
            print(f"systemd: {self.unit.name}: {text}", file=log)
