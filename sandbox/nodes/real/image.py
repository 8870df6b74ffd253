"""What the image of a real node holds besides the root file system: files on the machine's own disk."""

from __future__ import annotations

import ctypes
import ctypes.util
import uuid
from pathlib import Path

import yaml

from sandbox.build.images.registry import hosts_toml
from sandbox.files import atomic_write
from sandbox.nodes.cloudinit import UserData
from sandbox.nodes.faults import Faults
from sandbox.nodes.real import cgroups
from sandbox.nodes.real.netns import METADATA_ADDRESS, OUTSIDE_ADDRESS, RESOLVER_ADDRESS
from sandbox.nodes.real.packages import ARCHIVE, CODENAME
from sandbox.nodes.real.repository import Mirrors
from sandbox.nodes.real.rootfs import RootFs
from sandbox.nodes.standins.table import HOME, script, stand_ins

FAULTS = "run/kubepark-faults"
GPUS = "/run/nvidia/gpus"
REGISTRY_PORT = 5000  # where a machine finds the mirror of all registries
_REGISTRY = f"http://{METADATA_ADDRESS}:{REGISTRY_PORT}"
_CA = "/etc/ssl/certs/ca-certificates.crt"
_KEYRING = "/usr/share/keyrings/ubuntu-archive-keyring.gpg"
_SYSTEM = "/etc/systemd/system"
# As os-release(5) of Ubuntu's images, as far as somebody asks.
_RELEASE = (
    f'PRETTY_NAME="Ubuntu 24.04 LTS"\nNAME="Ubuntu"\nVERSION_CODENAME={CODENAME}\nID=ubuntu\nID_LIKE=debian\n'
)
_HOSTS = "127.0.0.1 localhost\n::1 ip6-localhost ip6-loopback\n"
# An image of a cloud names its data source, on one line, for ds-identify reads no more YAML. Addresses are
# set from outside, as nobody answers DHCP here. Of cloud-init's modules those that would find nothing to do
# are left out, for they take seconds.
_CLOUD_INIT = {
    "datasource_list": ["Ec2"],
    "network": {"config": "disabled"},
    "locale": False,
    "system_info": {
        "default_user": {
            "name": "ubuntu",
            "gecos": "Ubuntu",
            "shell": "/bin/bash",
            "lock_passwd": True,
            "sudo": ["ALL=(ALL) NOPASSWD:ALL"],
        }
    },
    "cloud_init_modules": [
        *("seed_random", "bootcmd", "write-files", "set_hostname", "update_hostname", "update_etc_hosts"),
        "users-groups",
    ],
    "cloud_config_modules": ["set-passwords", "runcmd"],
    "cloud_final_modules": [
        *("write-files-deferred", "scripts-per-once", "scripts-per-boot", "scripts-per-instance"),
        *("scripts-user", "final-message"),
    ],
}
_GUARD = f"""\
[Unit]
Description=Hide what is the host's
DefaultDependencies=no
Before=sysinit.target systemd-sysctl.service systemd-modules-load.service

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart={HOME}/guard

[Install]
WantedBy=sysinit.target
"""
_KUBELET_CONFIG = f"{HOME}/kubelet.conf.d"
_KUBELET_DROPIN = f"""\
[Service]
Environment="KUBELET_CONFIG_ARGS=--config=/var/lib/kubelet/config.yaml --config-dir={_KUBELET_CONFIG}"
"""
# The disk under an overlay is the host's: how full that is says nothing about the machine.
_KUBELET = """\
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
evictionHard:
  memory.available: "0%"
  nodefs.available: "0%"
  nodefs.inodesFree: "0%"
  imagefs.available: "0%"
  imagefs.inodesFree: "0%"
"""
_MANAGER = f"[Manager]\nDefaultEnvironment=BASH_ENV={HOME}/faults.sh\n"
# Only where the host's root may not raise it (CAP_SYS_RESOURCE): containers keep the score that the runtime
# has.
_OOM_SCORE = """\
version = 3

[plugins.'io.containerd.cri.v1.runtime']
restrict_oom_score_adj = true
"""
_CAP_SYS_RESOURCE = 24
# Microseconds: the error that timedated takes for no synchronisation (time-util.c).
_UNSYNCHRONISED = 16_000_000


def files(rootfs: RootFs, mirrors: Mirrors, instance_id: str) -> dict[str, str | bytes]:
    """Files of the image by path. What begins with `#!` may be run."""
    names, unified = " ".join(mirrors.hosts), cgroups.unified()
    authorities = (rootfs.root / _CA.lstrip("/")).read_text(encoding="utf-8")
    authority = mirrors.authority.read_text(encoding="utf-8")
    source = f"[signed-by={_KEYRING}] http://{ARCHIVE.host}{ARCHIVE.path} {ARCHIVE.suite} {ARCHIVE.component}"
    cloud_init = yaml.safe_dump(_CLOUD_INIT, default_flow_style=None, width=1000)
    found: dict[str, str | bytes] = {
        "/etc/hostname": "ubuntu\n",
        "/etc/hosts": f"{_HOSTS}{OUTSIDE_ADDRESS} {names}\n",
        "/etc/fstab": "/dev/root / ext4 defaults 0 1\n",
        "/etc/machine-id": f"{uuid.uuid5(uuid.NAMESPACE_DNS, instance_id).hex}\n",
        "/etc/resolv.conf": f"nameserver {RESOLVER_ADDRESS}\n",
        "/etc/apt/sources.list": f"deb {source}\n",
        "/usr/local/share/ca-certificates/sandbox.crt": authority,
        _CA: authorities + authority,
        _KEYRING: mirrors.key.read_bytes(),
        "/etc/cloud/cloud.cfg.d/99-sandbox.cfg": cloud_init,
        "/etc/systemd/journald.conf.d/sandbox.conf": "[Journal]\nReadKMsg=no\n",
        "/etc/systemd/system.conf.d/sandbox.conf": _MANAGER,
        f"{_SYSTEM}/sandbox-guard.service": _GUARD,
        f"{_SYSTEM}/kubelet.service.d/20-sandbox.conf": _KUBELET_DROPIN,
        f"{_KUBELET_CONFIG}/10-sandbox.conf": _KUBELET + ("" if unified else "failCgroupV1: false\n"),
        "/etc/containerd/certs.d/_default/hosts.toml": hosts_toml(_REGISTRY),
    }
    if not rootfs.is_ubuntu:
        found["/etc/os-release"] = _RELEASE
    for each in stand_ins(unified=unified, synchronised=synchronised()):
        if each.path:
            found[each.path] = script(each.script)
    if not _capable(_CAP_SYS_RESOURCE):
        found["/etc/containerd/conf.d/sandbox.toml"] = _OOM_SCORE
    return found


def install(upper: Path, image: dict[str, str | bytes]) -> None:
    """Write the files of the image to a machine's disk."""
    for path, data in image.items():
        file = upper / path.lstrip("/")
        _folders(upper, file.parent)
        atomic_write(file, data, mode=0o755 if data[:2] in ("#!", b"#!") else 0o644)
    wants = upper / _SYSTEM.lstrip("/") / "sysinit.target.wants"
    _folders(upper, wants)
    (wants / "sandbox-guard.service").symlink_to("../sandbox-guard.service")


def _folders(upper: Path, folder: Path) -> None:
    """Folders that everybody in the machine may read, whatever the umask here is."""
    for each in reversed([folder, *folder.parents]):
        if upper in each.parents and not each.exists():
            each.mkdir()
            each.chmod(0o755)


def _capable(capability: int) -> bool:
    """Whether this process, and so what it starts, has a capability."""
    lines = Path("/proc/self/status").read_text().splitlines()
    effective = next(line.split()[1] for line in lines if line.startswith("CapEff:"))
    return bool(int(effective, 16) >> capability & 1)


def synchronised() -> bool:
    """Whether the kernel says that the clock is synchronised, as timedated asks it. Source: adjtimex(2)."""
    timex = (ctypes.c_char * 208)()  # struct timex; no mode is set, so that it only tells
    known = ctypes.CDLL(ctypes.util.find_library("c")).adjtimex(ctypes.byref(timex)) != -1
    error = int.from_bytes(bytes(timex)[24:32], "little")  # after modes (padded), offset and freq
    return known and error < _UNSYNCHRONISED


def hardware(instance_id: str, gpus: int) -> str:
    """What a machine of this type has: one line for each GPU."""
    lines = [f"GPU-{uuid.uuid5(uuid.NAMESPACE_DNS, f'{instance_id}-{number}')}\n" for number in range(gpus)]
    return "".join(lines)


def put_faults(root: Path | None, faults: Faults, name: str, data: UserData) -> None:
    """Let the steps of a running machine go wrong as faults.json says now."""
    if root is None:
        return
    folder = root / FAULTS
    found = {step: faults.present(name, step) for step in data.steps if not faults.silent(name)}
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
