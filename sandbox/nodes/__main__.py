"""`python -m sandbox.nodes --state-dir DIR --endpoint URL`: runs until SIGTERM or SIGINT."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from sandbox.aws.account import Account
from sandbox.aws.cloud import Cloud
from sandbox.config import REGION
from sandbox.log import log
from sandbox.nodes.backend import NodeBackend
from sandbox.nodes.faults import Faults
from sandbox.nodes.simulated.backend import SimulatedBackend
from sandbox.nodes.watcher import Watcher
from sandbox.processes import Supervisor


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m sandbox.nodes", description=__doc__)
    parser.add_argument("--state-dir", type=Path, required=True, help="the sandbox's state folder")
    parser.add_argument("--endpoint", required=True, help="URL of the AWS emulator")
    parser.add_argument("--tools", type=Path, help="folder with kubeadm, etcd, kwok... (default: DIR/bin)")
    parser.add_argument("--region", default=REGION)
    parser.add_argument("--nodes", choices=("real", "simulated"), default="simulated")
    for what in ("--images", "--packages"):
        parser.add_argument(what, choices=("standins", "upstream"), default="standins")
    given = parser.parse_args()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    cloud = Cloud(given.endpoint, given.region)
    backend = node_backend(given, cloud)
    log("boot", f"watching {given.endpoint}")
    try:
        Watcher(cloud, backend, stop).run()
    finally:
        backend.close()
        log("boot", "stopped")
    return 0


def node_backend(given: argparse.Namespace, cloud: Cloud) -> NodeBackend[Any]:
    state_dir = given.state_dir.resolve()
    supervisor = Supervisor(state_dir / "state.json", state_dir / "logs")
    shared = (state_dir, Account(cloud), supervisor, Faults(state_dir / "faults.json"))
    if given.nodes == "simulated":
        tools = (given.tools or state_dir / "bin").resolve()
        return SimulatedBackend(*shared, tools=tools)
    # Not every machine can run them, and none needs what they load unless it does.
    from sandbox.nodes.real import tools as real_tools
    from sandbox.nodes.real.backend import RealBackend

    return RealBackend(*shared, real_tools.ensure(given.images, given.packages))


if __name__ == "__main__":
    sys.exit(main())
