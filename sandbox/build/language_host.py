"""A Python language host for Pulumi's CLI, where the official one cannot be had: no registry has it.

The CLI finds `pulumi-language-python` beside its own executable, starts it with the engine's address as the
last argument, reads its port from standard output, and ends it by SIGINT. `__main__.py` of the project runs
in this process (`up`: for the preview, then for the update), policy packs in processes of their own.
"""

from __future__ import annotations

import gc
import os
import runpy
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any, NoReturn

# What programs import lives to the end: looking through it for garbage takes a tenth of the time.
gc.set_threshold(100_000)

import grpc  # noqa: E402
from pulumi import RunError  # noqa: E402

# The SDK has no public name for its language host of inline programs.
from pulumi.automation._server import LanguageServer  # noqa: E402
from pulumi.runtime._grpc_settings import _GRPC_CHANNEL_OPTIONS  # noqa: E402
from pulumi.runtime.proto import language_pb2, language_pb2_grpc, plugin_pb2  # noqa: E402

_PARENT_CHECK = 0.5  # seconds


class LanguageHost(LanguageServer):
    """The SDK's own host of an inline program, which here is a project's `__main__.py`."""

    def __init__(self, engine: str) -> None:
        super().__init__(self._program)
        self._engine = engine
        self._folder = Path.cwd()
        self._packs: list[subprocess.Popen[bytes]] = []

    def _program(self) -> None:
        runpy.run_path(str(self._folder / "__main__.py"), run_name="__main__")

    def Run(self, request: Any, context: grpc.ServicerContext) -> Any:
        self._folder = Path(request.info.program_directory or request.pwd)
        os.chdir(request.pwd or self._folder)
        if str(self._folder) not in sys.path:
            sys.path.insert(0, str(self._folder))
        request.args.insert(0, self._engine)  # where the SDK looks for it
        try:
            answer = super().Run(request, context)  # type: ignore[no-untyped-call]  # the SDK's own
        except RunError:  # of a task that the SDK cancels after it has logged the same error
            return language_pb2.RunResponse(bail=True)
        # The SDK has logged the error; told of it again, the CLI would show it a second time.
        return language_pb2.RunResponse(bail=True) if answer.error else answer

    def Handshake(self, request: Any, context: grpc.ServicerContext) -> Any:
        self._engine = request.engine_address or self._engine
        return language_pb2.LanguageHandshakeResponse()

    def RunPlugin(self, request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        """A policy pack: its first line of output is its port."""
        pack = subprocess.Popen(
            [sys.executable, "-u", "-m", "pulumi.policy", *request.args, request.info.program_directory],
            cwd=request.pwd or None,
            env=os.environ | dict(pair.split("=", 1) for pair in request.env),
            stdout=subprocess.PIPE,
        )
        assert pack.stdout is not None
        self._packs.append(pack)
        context.add_callback(pack.terminate)
        for line in pack.stdout:
            yield language_pb2.RunPluginResponse(stdout=line)
        yield language_pb2.RunPluginResponse(exitcode=pack.wait())

    def end(self, code: int) -> NoReturn:
        """At once, packs as well: an interrupted program, which nobody waits for, may wait for minutes."""
        for pack in self._packs:
            pack.kill()
        os._exit(code)

    def GetPluginInfo(self, request: Any, context: grpc.ServicerContext) -> Any:
        return plugin_pb2.PluginInfo(version=version("pulumi"))


def main(arguments: list[str]) -> None:
    """Serve until the CLI asks to end, or has gone: kill -9 of it sends no signal."""
    parent, host = os.getppid(), LanguageHost(arguments[-1])
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: host.end(0))
    server = grpc.server(ThreadPoolExecutor(), options=_GRPC_CHANNEL_OPTIONS)
    language_pb2_grpc.add_LanguageRuntimeServicer_to_server(host, server)
    print(server.add_insecure_port("127.0.0.1:0"), flush=True)
    server.start()
    while os.getppid() == parent:
        time.sleep(_PARENT_CHECK)
    host.end(1)


if __name__ == "__main__":
    main(sys.argv[1:])
