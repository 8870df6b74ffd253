"""What the image of a real node holds besides the host's own files: stand-ins and their tables."""

from __future__ import annotations

import gzip
import hashlib
import json
import shutil
import uuid
from pathlib import Path

import yaml

from sandbox.build.images.registry import hosts_toml
from sandbox.files import atomic_write
from sandbox.nodes.cloudinit import UserData
from sandbox.nodes.faults import Faults
from sandbox.nodes.real import cgroups
from sandbox.nodes.real.netns import METADATA_ADDRESS
from sandbox.nodes.real.packages import packages
from sandbox.nodes.standins.table import CGROUP_V1, HOME, STAND_INS, StandIn

SCRIPTS = f"{HOME}/sandbox/nodes/standins"
INIT = (
    *("/usr/bin/python3", f"{SCRIPTS}/init.py", "--boot", f"{SCRIPTS}/cloud_init.py"),
    *("--env", f"BASH_ENV={SCRIPTS}/faults.sh"),
)
_SOURCE = Path(__file__).parents[1] / "standins"
FAULTS = "run/kubepark-faults"
REGISTRY_PORT = 5000  # where a machine finds the mirror of all registries


# Of Ubuntu's package unattended-upgrades, which its images have.
# Source: mvo5/unattended-upgrades, debian/unattended-upgrades-logind-maxdelay.conf.
UBUNTU_LOGIND = (
    "/usr/lib/systemd/logind.conf.d/unattended-upgrades-logind-maxdelay.conf",
    "[Login]\n# delay\nInhibitDelayMaxSec=30\n",
)


UPGRADES = ("apt-daily", "apt-daily-upgrade", "unattended-upgrades")  # the first two have timers


def stand_ins() -> tuple[StandIn, ...]:
    """What is put in place on this host."""
    return STAND_INS if cgroups.unified() else (*STAND_INS, CGROUP_V1)


def files(binaries: Path, raw: bytes) -> dict[str, str]:
    """Files of the image by path: tables, units of the image, the registry mirror."""
    text = gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
    parsed = {"sha256": hashlib.sha256(raw).hexdigest(), "config": yaml.safe_load(text)}
    stays = "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart="
    return {
        f"{HOME}/user-data.json": json.dumps(parsed),
        f"{HOME}/packages.json": json.dumps(packages(binaries), indent=1),
        f"{HOME}/units/systemd-networkd.service": f"{stays}/bin/true\n",
        f"{HOME}/units/systemd-logind.service": f"{stays}/usr/bin/python3 {SCRIPTS}/logind.py\n",
        UBUNTU_LOGIND[0]: UBUNTU_LOGIND[1],
        **{f"{HOME}/units/{name}.service": f"{stays}/bin/true\n" for name in UPGRADES},
        **{f"{HOME}/units/{name}.timer": "[Timer]\nOnBootSec=1d\n" for name in UPGRADES[:2]},
        "/etc/containerd/certs.d/_default/hosts.toml": hosts_toml(
            f"http://{METADATA_ADDRESS}:{REGISTRY_PORT}"
        ),
    }


def install(upper: Path) -> None:
    """The stand-ins, under the names that the node's scripts call them by."""
    target = upper / SCRIPTS.lstrip("/")
    shutil.copytree(_SOURCE, target, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
    for package in (target.parent, target.parent.parent):
        (package / "__init__.py").touch()
    folder = upper / "usr/local/sbin"
    for each in stand_ins():
        for name in each.commands:
            (folder / name).unlink(missing_ok=True)
            (folder / name).symlink_to(f"{SCRIPTS}/{each.script}")


def hardware(instance_id: str, gpus: int) -> dict[str, str]:
    """What a machine of this type has, as files below /run: one line for each GPU."""
    if not gpus:
        return {}
    lines = [f"GPU-{uuid.uuid5(uuid.NAMESPACE_DNS, f'{instance_id}-{number}')}" for number in range(gpus)]
    return {"/run/nvidia/gpus": "\n".join(lines) + "\n"}


def put_faults(root: Path | None, faults: Faults, name: str, data: UserData) -> None:
    """Let the steps of a running machine go wrong as faults.json says now."""
    if root is None:
        return
    folder = root / FAULTS
    found = {step.name: faults.present(name, step.name) for step in data.steps if not faults.silent(name)}
    wanted = {step: fault for step, fault in found.items() if fault}
    for path in folder.glob("[!.]*"):
        if path.name not in wanted:
            path.unlink()
    for step, fault in wanted.items():
        times = "always" if fault.times is None else fault.times
        text = f"{fault.mode} {times}\n{fault.message}\n"
        path = folder / step
        if not path.exists() or path.read_text() != text:
            atomic_write(path, text, mode=0o644)
            (folder / f".{step}").unlink(missing_ok=True)
