"""One engine operation: a CLI process, the language host that it calls back, and its events.

The Automation API's `Stack` would do, but it starts the CLI five times for an `up` (version, select,
outputs twice, history); each start costs a third of a second. What it does for the operation itself
is small and is done here: `--client` names the language host (the SDK's own server for inline
programs), `--event-log tcp://` names a gRPC service that gets one JSON event per message.

Signals: the CLI leads a process group of its own, so Ctrl-C in the terminal reaches only us. The
first is handed on (the CLI finishes what is in flight and ends cleanly), the second kills it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import IO, Any

import grpc

from sandbox.driver import leftovers
from sandbox.driver.workspace import Workspace

Program = Callable[[], None]
OnEvent = Callable[[Mapping[str, Any]], None]

_EVENT_LOG = {"PULUMI_DEBUG_COMMANDS": "true"}  # without it the CLI does not know --event-log
_WORKERS = 4  # one runs the program, one receives events; the rest answer small questions


@dataclass(frozen=True)
class Outcome:
    """How an operation ended. `code` is the CLI's; `interrupted` counts the Ctrl-C's; `seconds` elapsed."""

    code: int
    interrupted: int
    seconds: float
    output: str  # what the CLI printed on standard output (JSON modes)
    log: str  # what it printed for people


def run(
    workspace: Workspace,
    arguments: Sequence[str],
    *,
    on_event: OnEvent,
    program: Program | None = None,
    meanwhile: Callable[[], None] | None = None,
    variables: Mapping[str, str] | None = None,
    json_output: bool = False,
) -> Outcome:
    """Run `pulumi ARGUMENTS` on the stack to its end. Never raises for a failed operation.

    `meanwhile` is called as soon as the CLI has been started, and may use the time of its start.
    With `json_output` the CLI's standard output is collected and everything else goes to the log.
    """
    started = time.monotonic()
    operation = uuid.uuid4().hex
    with _host(program, on_event) as address, _log(workspace.engine_log) as log:
        command = [
            *(workspace.cli(), *arguments, "--stack", workspace.stack, "--non-interactive"),
            *("--color", "never", "--event-log", f"tcp://{address}"),
            *((f"--client={address}", "--exec-kind", "auto.inline") if program else ()),
        ]
        begin = log.tell()
        leftovers.announce(workspace.config, operation)
        with _Interrupts() as interrupts:
            cli = subprocess.Popen(
                command,
                cwd=workspace.work_dir,
                env={**workspace.environment(), **(variables or {}), **_EVENT_LOG, leftovers.MARK: operation},
                stdin=subprocess.DEVNULL,
                # A file, not a pipe: if this process is killed, the CLI must live to finish its step.
                stdout=subprocess.PIPE if json_output else log,
                stderr=log,
                process_group=0,
            )
            interrupts.watch(cli)
            if meanwhile is not None:
                meanwhile()
            output, _ = cli.communicate()
        if cli.returncode < 0:  # killed: it could not end its plugins itself
            leftovers.end(operation)
        leftovers.retract(workspace.config)
    return Outcome(
        code=cli.returncode,
        interrupted=interrupts.count,
        seconds=time.monotonic() - started,
        output=output.decode() if output else "",
        log=_read_from(workspace.engine_log, begin),
    )


class _Interrupts:
    """Hands SIGINT and SIGTERM on to the CLI: asks it to end the first time, kills it the second."""

    def __init__(self) -> None:
        self.count = 0
        self._cli: subprocess.Popen[bytes] | None = None
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> _Interrupts:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def watch(self, cli: subprocess.Popen[bytes]) -> None:
        """From here on signals go to `cli`, and one that came before it was there goes now."""
        self._cli = cli
        if self.count:
            cli.send_signal(signal.SIGINT)

    def _handle(self, _number: int, _frame: FrameType | None) -> None:
        self.count += 1
        if self._cli is not None:
            self._cli.send_signal(signal.SIGINT if self.count == 1 else signal.SIGKILL)


@contextmanager
def _host(program: Program | None, on_event: OnEvent) -> Iterator[str]:
    """A gRPC server on loopback: the language host if there is a program, and the event service."""
    # The SDK has no public name for its inline language host.
    from pulumi.automation._server import LanguageServer
    from pulumi.runtime._grpc_settings import _GRPC_CHANNEL_OPTIONS
    from pulumi.runtime.proto import events_pb2_grpc, language_pb2_grpc

    server = grpc.server(ThreadPoolExecutor(max_workers=_WORKERS), options=_GRPC_CHANNEL_OPTIONS)
    events_pb2_grpc.add_EventsServicer_to_server(_events(on_event), server)
    if program is not None:
        language_pb2_grpc.add_LanguageRuntimeServicer_to_server(LanguageServer(program), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(grace=None).wait(timeout=5)


def _events(on_event: OnEvent) -> Any:
    """The service that `--event-log tcp://` streams to."""
    from google.protobuf.empty_pb2 import Empty
    from pulumi.runtime.proto import events_pb2_grpc

    class Events(events_pb2_grpc.EventsServicer):
        def StreamEvents(self, requests: Any, context: object) -> Any:
            for request in requests:
                on_event(json.loads(request.event))
            return Empty()

    return Events()


@contextmanager
def _log(path: Path) -> Iterator[IO[bytes]]:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(descriptor, "ab") as file:
        file.seek(0, os.SEEK_END)
        yield file


def _read_from(path: Path, offset: int) -> str:
    with path.open("rb") as file:
        file.seek(offset)
        return file.read().decode(errors="replace")
