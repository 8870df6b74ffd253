"""Run a backend as a plugin process: print the port, serve, and end with the engine."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
from collections.abc import Sequence
from typing import NoReturn

import grpc.aio
from pulumi.runtime.proto import provider_pb2_grpc

from sandbox.aws.provider.backend import AwsBackend
from sandbox.aws.provider.servicer import Servicer

# Seconds that calls in flight get to finish after a request to stop.
_GRACE = 10.0
_PARENT_CHECK = 1.0
_OPTIONS = [("grpc.max_receive_message_length", 400 << 20), ("grpc.max_send_message_length", 400 << 20)]


def main(backend: AwsBackend, argv: Sequence[str]) -> NoReturn:
    """Entry point of a plugin. `argv`: the engine's address, then flags of its own (ignored)."""
    parser = argparse.ArgumentParser(
        prog=f"pulumi-resource-{backend.name}",
        description=f"Stand-in for the Pulumi provider {backend.name} {backend.version}; loopback only.",
    )
    parser.add_argument("engine", nargs="?", help="address of the Pulumi engine")
    parser.parse_known_args(argv)
    code = asyncio.run(_serve(backend, os.getppid()))
    # Not a return: the interpreter would first join executor threads, and one that still waits for
    # an API must not keep a plugin alive whose engine has gone.
    os._exit(code)


async def _serve(backend: AwsBackend, parent: int) -> int:
    server = grpc.aio.server(options=_OPTIONS)
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(Servicer(backend), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    try:
        print(port, flush=True)
    except BrokenPipeError:  # the engine died while we started
        return 1
    await _until_alone(parent, stop)
    backend.cancel()
    await server.stop(_GRACE)
    return 0


async def _until_alone(parent: int, stop: asyncio.Event) -> None:
    """Return when asked to stop, or when the process that started us has gone: a plugin without its
    engine would live for ever (kill -9 of the engine sends no signal)."""
    while os.getppid() == parent and not stop.is_set():
        try:
            await asyncio.wait_for(stop.wait(), _PARENT_CHECK)
        except TimeoutError:
            continue
