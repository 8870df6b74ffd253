"""`python -m sandbox.boot --state-dir DIR --endpoint URL`: runs until SIGTERM or SIGINT."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from pathlib import Path

from sandbox.boot.cloud import Cloud
from sandbox.boot.faults import Faults
from sandbox.boot.log import say
from sandbox.boot.machine import Surroundings
from sandbox.boot.watcher import Watcher
from sandbox.config import REGION
from sandbox.nodes.kind import NodeKind
from sandbox.nodes.simulated import SimulatedNodes
from sandbox.nodes.site import Site
from sandbox.processes import Supervisor


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m sandbox.boot", description=__doc__)
    parser.add_argument("--state-dir", type=Path, required=True, help="the sandbox's state folder")
    parser.add_argument("--endpoint", required=True, help="URL of the AWS emulator")
    parser.add_argument("--tools", type=Path, help="folder with kubeadm, etcd, kwok... (default: DIR/bin)")
    parser.add_argument("--region", default=REGION)
    parser.add_argument("--nodes", choices=("real", "simulated"), default="simulated")
    parser.add_argument("--patience", type=float, default=30.0, help="seconds with an unusable join record")
    given = parser.parse_args()
    state_dir = given.state_dir.resolve()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    cloud = Cloud(given.endpoint, given.region)
    real = given.nodes == "real"
    nodes = real_nodes(state_dir, cloud) if real else simulated_nodes(state_dir, cloud, given)
    say("boot", f"watching {given.endpoint}")
    try:
        Watcher(cloud, nodes, stop).run()
    finally:
        nodes.close()
        say("boot", "stopped")
    return 0


def simulated_nodes(state_dir: Path, cloud: Cloud, given: argparse.Namespace) -> NodeKind:
    site = Site(
        state_dir=state_dir,
        around=Surroundings(cloud),
        tools=(given.tools or state_dir / "bin").resolve(),
        supervisor=Supervisor(state_dir / "state.json", state_dir / "logs"),
        faults=Faults(state_dir / "faults.json"),
        patience=given.patience,
    )
    return SimulatedNodes(site)


def real_nodes(state_dir: Path, cloud: Cloud) -> NodeKind:
    # Not every machine can run them, and none needs what they load unless it does.
    from sandbox.images.registry import Registry
    from sandbox.nodes.real import tools
    from sandbox.nodes.real.kind import RealNodes
    from sandbox.nodes.real.site import RealSite

    made = tools.ensure()
    site = RealSite(
        state_dir=state_dir,
        around=Surroundings(cloud),
        endpoint=cloud.endpoint,
        supervisor=Supervisor(state_dir / "state.json", state_dir / "logs"),
        faults=Faults(state_dir / "faults.json"),
        binaries=made.binaries,
        nft=made.nft,
        registry=Registry(made.catalogue, state_dir / "logs" / "registry.jsonl"),
    )
    return RealNodes(site)


if __name__ == "__main__":
    sys.exit(main())
