"""The local cloud as one thing: tools, emulator and boot process, started, stopped and looked at.

`start` may be called at any time: it starts what is missing and leaves the rest alone. Callers that
change anything hold the sandbox's `sandbox_lock`.
"""

from __future__ import annotations

import json
import os
import re
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from sandbox import plugins
from sandbox.build.gomodules import ENGINE_MODULES, SANDBOX_MODULES
from sandbox.build.images.catalogue import Kind
from sandbox.build.toolchain import ensure_tools
from sandbox.config import (
    EPOCH_PATH,
    HEALTH_PATH,
    IMAGES_PATH,
    Endpoint,
    SandboxConfig,
    read_stack_config,
)
from sandbox.errors import SandboxError
from sandbox.files import atomic_write
from sandbox.nodes import choice
from sandbox.ports import free_port, holder_of
from sandbox.processes import Supervisor

EMULATOR = "emulator"
BOOT = "boot"
_AMI = re.compile(r"ami-[0-9a-f]{8}(?:[0-9a-f]{9})?")
# Loopback never goes through a proxy, whatever the environment says.
_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True)
class Status:
    """What runs. `processes` maps a name to its pid, None for what was started and has died."""

    processes: dict[str, int | None]
    epoch: str | None  # of the emulator's memory; None when it does not answer
    nodes: str  # real or simulated, as of the last `prepare`
    why_nodes: str  # why they are of that kind, "" when nothing stood in the way of real ones
    images: str  # standins or upstream, as of the last `prepare`
    packages: str  # likewise


def supervisor(config: SandboxConfig) -> Supervisor:
    """The one that knows every process of this sandbox."""
    return Supervisor(config.state_file, config.log_dir)


def prepare(config: SandboxConfig) -> None:
    """Tools and plugins into `.sandbox/bin`, without starting anything."""
    config.state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    nodes, why = _choose_nodes(config)
    contents = {what: _choose_contents(config, what, nodes, why) for what in choice.CONTENTS}
    if nodes == "real":
        from sandbox.nodes.real import tools as real_tools

        real_tools.ensure(**contents)  # the engine's programs as well, all at the same time
    tools = ensure_tools(SANDBOX_MODULES if nodes == "simulated" else ENGINE_MODULES)
    plugins.install(config, tools)
    with supervisor(config).edit() as state:
        state["nodes"], state["why_nodes"] = nodes, why
        state.update(contents)


def _choose_nodes(config: SandboxConfig) -> tuple[choice.Backend, str]:
    """The kind of nodes: while a sandbox runs, the one that it was started with."""
    settings = read_stack_config(config.stack_file)
    choice.check(settings, config.stack_file.name)
    wanted, why = choice.choose(settings, config.state_dir)
    running = _running(config, "nodes", wanted, asked=choice.NODES.asked(settings) == wanted)
    if running is None:
        return wanted, why
    return running, str(supervisor(config).load().get("why_nodes", ""))


def _choose_contents(config: SandboxConfig, what: str, nodes: choice.Backend, why: str) -> Kind:
    """The kind of images or packages, likewise."""
    settings = read_stack_config(config.stack_file)
    wanted = choice.choose_contents(what, settings, nodes, why)
    asked = choice.CONTENTS[what].asked(settings) is not None
    return _running(config, what, wanted, asked=asked) or wanted


def _running(config: SandboxConfig, what: str, wanted: str, *, asked: bool) -> Any:
    """The kind that a sandbox runs with, if it is another one; `SandboxError` if `wanted` was `asked` for."""
    processes = supervisor(config)
    running = processes.load().get(what)
    if not processes.alive(BOOT) or running in (None, wanted):
        return None
    if asked:
        raise SandboxError(
            f"this sandbox runs with {running} {what}, and {wanted} ones are asked for: "
            "run `bin/kubepark down` first, or ask for the kind that is there"
        )
    return running


def start(config: SandboxConfig) -> SandboxConfig:
    """Bring the local cloud up: idempotent, restarts what died. Gives it with the ports that it has.

    When the emulator is gone its memory is gone, so everything that was made from it is stopped
    first. Raises `SandboxError` for a part that does not get ready.
    """
    prepare(config)
    processes = supervisor(config)
    if processes.load()["nodes"] == "real" and not processes.alive(BOOT):
        from sandbox.nodes.real import limits
        from sandbox.nodes.real import tools as real_tools

        real_tools.require_upstream(**{what: processes.load()[what] for what in choice.CONTENTS})
        limits.lift()
    config = _start_emulator(config, processes)
    _register_images(config)
    _start_boot(config, processes)
    return config


def stop(config: SandboxConfig) -> list[str]:
    """End every process of this sandbox and give their names. Safe when nothing runs.

    Without grace: the account lives in the emulator's memory, so there is nothing to end in good order.
    """
    processes = supervisor(config)
    # The boot process first: it would start again what it sees ending.
    stopped = [BOOT] if processes.stop(BOOT, grace=0) else []
    stopped += processes.stop_all(grace=0)
    if processes.load().get("nodes") == "real":
        from sandbox.nodes.real.backend import clear

        clear(config.state_dir)
    return stopped


def status(config: SandboxConfig) -> Status:
    processes = supervisor(config)
    defaults = {"nodes": "simulated", "why_nodes": "", **dict.fromkeys(choice.CONTENTS, "standins")}
    state = processes.load()
    return Status(
        processes={name: processes.pid(name) for name in processes.records()},
        epoch=epoch(config),
        **{what: str(state.get(what, default)) for what, default in defaults.items()},
    )


def epoch(config: SandboxConfig) -> str | None:
    """The emulator's identity: a new one each time it starts, empty. None if nothing answers."""
    return _request(config.aws, EPOCH_PATH)


def pinned_images(config: SandboxConfig) -> list[str]:
    """Every AMI id that the stack file names, wherever it does."""

    def strings(value: Any) -> Iterator[str]:
        if isinstance(value, str):
            yield value
        for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            yield from strings(item)

    return sorted({text for text in strings(read_stack_config(config.stack_file)) if _AMI.fullmatch(text)})


def environment(config: SandboxConfig) -> dict[str, str]:
    """For the processes of the local cloud: our tools first on PATH, our modules importable."""
    path = f"{config.bin_dir}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return {**kept, "PATH": path, "PYTHONPATH": str(config.root), "PYTHONUNBUFFERED": "1"}


def _start_emulator(config: SandboxConfig, processes: Supervisor) -> SandboxConfig:
    if processes.alive(EMULATOR) and processes.load().get("aws") == config.aws.url and healthy(config.aws):
        return config
    stop(config)
    config = _with_free_ports(config)
    command = ["sandbox.aws.emulator", "--host", config.aws.host, "--port", str(config.aws.port)]
    command += ["--region", config.region, "--log", str(config.requests_log)]
    with processes.edit() as state:
        state["aws"] = config.aws.url
    _start_module(config, processes, EMULATOR, command, lambda: healthy(config.aws))
    return config


def _start_module(
    config: SandboxConfig, processes: Supervisor, name: str, command: list[str], ready: Callable[[], bool]
) -> None:
    python = [sys.executable, "-m", *command]
    processes.start(name, python, env=environment(config), cwd=config.root, ready=ready)


def _with_free_ports(config: SandboxConfig) -> SandboxConfig:
    """The same, with other ports if another program has one of these. They are remembered.

    Both are taken anew: where another checkout has the first, its API server may not be there yet.
    """
    both = (config.aws, config.api)
    held = {each.port: who for each in both if (who := holder_of(each.host, each.port))}
    if not held:
        return config
    aws, api = (replace(each, port=free_port(each.host)) for each in both)
    for port, who in held.items():
        print(f"port {port} is held by {who}; {aws.port} and {api.port} are taken", file=sys.stderr)
    atomic_write(config.ports_file, json.dumps({"aws": aws.port, "api": api.port}) + "\n")
    return replace(config, aws=aws, api=api)


def _register_images(config: SandboxConfig) -> None:
    if _request(config.aws, IMAGES_PATH, "PUT", json.dumps(pinned_images(config)).encode()) is None:
        raise SandboxError(f"the emulator at {config.aws.url} does not take AMI ids: see {config.log_dir}")


def _start_boot(config: SandboxConfig, processes: Supervisor) -> None:
    if processes.alive(BOOT):
        return
    # Control plane processes outlive a boot process that was killed; the next one takes them over.
    ours = any(processes.alive(name) for name in processes.records() if name != EMULATOR)
    if not ours and (holder := holder_of(config.api.host, config.api.port)):
        raise SandboxError(
            f"port {config.api.port} of this sandbox's API server is held by {holder} meanwhile: "
            "end that program, or `kubepark reset` and begin anew"
        )
    log = processes.log(BOOT)
    offset = log.stat().st_size if log.exists() else 0
    command = ["sandbox.nodes", "--state-dir", str(config.state_dir)]
    command += ["--endpoint", config.aws.url, "--region", config.region]
    for what in ("nodes", *choice.CONTENTS):
        command += [f"--{what}", str(processes.load()[what])]
    first_words = b"watching"  # once it can work
    _start_module(config, processes, BOOT, command, lambda: first_words in log.read_bytes()[offset:])


def healthy(endpoint: Endpoint) -> bool:
    """Whether our emulator, and not some other server, answers there."""
    return _request(endpoint, HEALTH_PATH) == "ok"


def _request(endpoint: Endpoint, path: str, method: str = "GET", body: bytes | None = None) -> str | None:
    """The answer as text; None if nothing answers or with an error."""
    request = urllib.request.Request(endpoint.url + path, data=body, method=method)
    try:
        with _direct.open(request, timeout=5) as response:
            text: str = response.read().decode()
            return text
    except (urllib.error.URLError, OSError):
        return None
