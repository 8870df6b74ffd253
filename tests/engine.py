"""The recording engine: runs a Pulumi program without an engine and keeps what it registered.

    recording = deploy(program, config={"cluster": "lab"}, secrets=set())
    assert recording.one("aws:ec2/vpc:Vpc").inputs["cidrBlock"] == "10.20.0.0/16"

Tests assert on the recorded plain data, never inside `apply`. A duplicate URN, an unknown type or
invoke, a missing or foreign provider, or an output that nobody answers is `Refused`.
"""

from __future__ import annotations

import asyncio
import contextvars
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from pulumi.runtime import mocks
from pulumi.runtime.config import set_all_config
from pulumi.runtime.settings import SETTINGS, set_root_resource
from pulumi.runtime.stack import run_in_stack, wait_for_rpcs

from tests.engine_monitor import Answer, InvokeFailed, NoMocks, RecordingLog, RecordingMonitor, Refused
from tests.engine_recording import Recording, Resource
from tests.engine_wire import UNKNOWN, Secret

__all__ = [
    "UNKNOWN",
    "Answer",
    "InvokeFailed",
    "Recording",
    "Refused",
    "Resource",
    "Secret",
    "attempt",
    "deploy",
]


def deploy(
    program: Callable[[], Any],
    *,
    config: Mapping[str, Any],
    secrets: Iterable[str] = (),
    stack: str = "sandbox",
    preview: bool = False,
    answers: Mapping[str, Answer] | None = None,
) -> Recording:
    """Runs the program and returns what it registered; its exception (a `RunError`, too) is raised.

    `config`: values by key, `kubepark:` unless the key has a namespace; objects become JSON.
    `secrets`: the keys whose values are secret. `answers`: invokes by token
    (`aws:ssm/getParametersByPath:getParametersByPath`) or `pulumi:pulumi:StackReference`, as plain data
    or as a function of the arguments and the recording so far; a part wrapped in `Secret` is secret.
    """
    recording = attempt(
        program, config=config, secrets=secrets, stack=stack, preview=preview, answers=answers
    )
    if recording.error is not None:
        raise recording.error
    return recording


def attempt(
    program: Callable[[], Any],
    *,
    config: Mapping[str, Any],
    secrets: Iterable[str] = (),
    stack: str = "sandbox",
    preview: bool = False,
    answers: Mapping[str, Answer] | None = None,
) -> Recording:
    """Like `deploy`, but a failing program's recording is returned, its exception in `error`."""
    recording = Recording(preview=preview)
    monitor = RecordingMonitor(recording, answers or {})
    values = {_namespaced(key): _config_text(value) for key, value in config.items()}
    secret_keys = [_namespaced(key) for key in secrets]
    unknown = sorted(set(secret_keys) - values.keys())
    if unknown:
        raise ValueError(f"secrets names keys that config lacks: {', '.join(unknown)}")

    async def run() -> None:
        # Background failures surface through wait_for_rpcs; the loop's own report would be a second copy.
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
        # A program that failed leaves tasks of its own loop behind, in objects that contexts share.
        SETTINGS.rpc_manager.clear()
        SETTINGS.outputs.clear()
        set_all_config(values, secret_keys)
        set_root_resource(None)  # type: ignore[arg-type]
        mocks.set_mocks(NoMocks(), project="kubepark", stack=stack, preview=preview, monitor=monitor)
        SETTINGS.engine = RecordingLog(recording)
        await wait_for_rpcs()  # set_mocks registers a stack of its own and finishes it
        set_root_resource(None)  # type: ignore[arg-type]
        await run_in_stack(program)

    try:
        # The SDK keeps its state in context variables: a copied context is a clean one for each run.
        contextvars.copy_context().run(asyncio.run, run())
    except Exception as error:  # noqa: BLE001 whatever the program raises is the result
        recording.error = error
    recording.error = monitor.refusal or recording.error
    return recording


def _namespaced(key: str) -> str:
    return key if ":" in key else f"kubepark:{key}"


def _config_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
