#!/usr/bin/python3
"""The small commands: what they set is set where it can be, and remembered where it cannot."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from sandbox.nodes.standins import kernel
from sandbox.nodes.standins.record import Failed, Usage, hand_over, reach, run
from sandbox.nodes.standins.service import JOURNAL

GPUS = Path("/run/nvidia/gpus")
SETTINGS = Path("/run/kubepark-sysctl")
SYSCTL_FOLDER = Path("/etc/sysctl.d")  # the image's other folders hold the host's settings
PORTS = {"http": 80, "https": 443}
LOGIND = Path("/run/kubepark-logind")  # InhibitDelayMaxUSec as logind.py read it when it started
LOGIN1 = ["org.freedesktop.login1", "/org/freedesktop/login1", "org.freedesktop.login1.Manager"]
CGROUP = ["-fc", "%T", "/sys/fs/cgroup"]


def busctl(_: str, arguments: list[str]) -> int:
    if arguments != ["get-property", *LOGIN1, "InhibitDelayMaxUSec"]:
        raise Usage(" ".join(arguments))
    if not LOGIND.exists():
        raise Failed(f"Failed to get property InhibitDelayMaxUSec on interface {LOGIN1[-1]}: not activated")
    print(f"t {LOGIND.read_text().strip()}")
    return 0


def hostnamectl(_: str, arguments: list[str]) -> int:
    match arguments:
        case ["set-hostname", name]:
            socket.sethostname(name)
            Path("/etc/hostname").write_text(name + "\n")
            return 0
    raise Usage(" ".join(arguments))


def timedatectl(_: str, arguments: list[str]) -> int:
    if arguments != ["show", "-p", "NTPSynchronized", "--value"]:
        raise Usage(" ".join(arguments))
    print("yes")
    return 0


def modprobe(_: str, arguments: list[str]) -> int:
    """Modules of the host's kernel that are there already; NVIDIA's by a package for the running kernel."""
    names = [name for name in arguments if name not in ("-a", "--all")]
    present = {
        "overlay": "overlay" in Path("/proc/filesystems").read_text(),
        "br_netfilter": Path("/proc/sys/net/bridge").is_dir(),
        "nvidia": gpu_answers(),
    }
    unknown = [name for name in names if name not in present]
    if unknown or not names:
        raise Usage(" ".join(arguments))
    for name in names:
        if not present[name]:
            folder = f"/lib/modules/{kernel.running()}"
            raise Failed(f"modprobe: FATAL: Module {name} not found in directory {folder}")
    return 0


def gpu_answers() -> bool:
    """Whether the machine has a GPU, and a module for it that fits the running kernel."""
    return GPUS.exists() and kernel.has_module("nvidia")


def sysctl(_: str, arguments: list[str]) -> int:
    match arguments:
        case ["--system"]:
            for path in sorted(SYSCTL_FOLDER.glob("*.conf")):
                for number, line in enumerate(map(str.strip, path.read_text().splitlines()), start=1):
                    if line and line[0] not in "#;":
                        key, equals, value = line.partition("=")
                        if not equals:
                            raise Failed(f"sysctl: {path}({number}): invalid syntax, continuing...")
                        set_key(key.strip(), value.strip())
            return 0
        case ["-n", key]:
            print(existing(key).read_text().strip())
            return 0
    raise Usage(" ".join(arguments))


def existing(key: str) -> Path:
    path = Path("/proc/sys") / key.replace(".", "/")
    if not path.is_file():
        raise Failed(f"sysctl: cannot stat {path}: No such file or directory")
    return path


def set_key(key: str, value: str) -> None:
    """Network settings are the node's own. Others are the host's: the node gets a file in their place."""
    path = existing(key)
    if key.startswith("net."):
        try:
            path.write_text(value)
        except OSError as error:
            raise Failed(f'sysctl: setting key "{key}": {error.strerror}') from None
    else:
        if numbers(path.read_text()) and numbers(value) != numbers(path.read_text()):
            raise Failed(f'sysctl: setting key "{key}": Invalid argument')
        stand_in = SETTINGS / key
        SETTINGS.mkdir(exist_ok=True)
        fresh = not stand_in.exists()
        stand_in.write_text(value + "\n")
        if fresh:
            subprocess.run(["mount", "--bind", str(stand_in), str(path)], check=True)
    print(f"{key} = {value}")


def numbers(text: str) -> int:
    """How many numbers a setting has; 0 if it is something else. The kernel takes no other value."""
    words = text.split()
    return len(words) if all(re.fullmatch(r"-?\d+", word) for word in words) else 0


def swapoff(_: str, arguments: list[str]) -> int:
    if arguments != ["-a"]:
        raise Usage(" ".join(arguments))
    return 0


def swapon(_: str, arguments: list[str]) -> int:
    if arguments != ["--noheadings", "--show"]:
        raise Usage(" ".join(arguments))
    return 0


def stat(_: str, arguments: list[str]) -> int:
    """Only on a host with cgroup v1, whose nodes the user data would rightly refuse."""
    if arguments != CGROUP:
        hand_over("/usr/bin/stat", arguments)
    print("cgroup2fs")
    return 0


def nvidia_smi(_: str, arguments: list[str]) -> int:
    if arguments != ["-L"]:
        raise Usage(" ".join(arguments))
    if not gpu_answers():
        raise Failed(
            "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. "
            "Make sure that the latest NVIDIA driver is installed and running.",
            9,
        )
    for number, line in enumerate(GPUS.read_text().split()):
        print(f"GPU {number}: Tesla T4 (UUID: {line})")
    return 0


def journalctl(_: str, arguments: list[str]) -> int:
    match arguments:
        case ["-u", name, "--no-pager", "-n", lines, "-o", "cat"] if lines.isdigit():
            log = JOURNAL / f"{name if '.' in name else name + '.service'}.log"
            kept = log.read_text(errors="replace").splitlines() if log.exists() else ["-- No entries --"]
            print("\n".join(kept[max(0, len(kept) - int(lines)) :]))
            return 0
    raise Usage(" ".join(arguments))


def curl(_: str, arguments: list[str]) -> int:
    """A download from a public host, as the node's scripts ask for it."""
    match arguments:
        case ["-fsSL", "--connect-timeout", _, "--max-time", _, "-o", output, source]:
            url = urlsplit(source)
        case _:
            raise Usage(" ".join(arguments))
    if url.scheme not in PORTS or not url.hostname:
        raise Usage(source)
    if problem := reach(url.hostname, url.port or PORTS[url.scheme]):
        number = re.match(r"curl: \((\d+)\)", problem)
        raise Failed(problem, int(number[1]) if number else 28)
    Path(output).write_text(f"key of {source} (a stand-in: nothing was downloaded)\n")
    return 0


COMMANDS = {
    "busctl": busctl,
    "curl": curl,
    "hostnamectl": hostnamectl,
    "journalctl": journalctl,
    "modprobe": modprobe,
    "nvidia-smi": nvidia_smi,
    "stat": stat,
    "swapoff": swapoff,
    "swapon": swapon,
    "sysctl": sysctl,
    "timedatectl": timedatectl,
}

if __name__ == "__main__":
    run(COMMANDS[Path(sys.argv[0]).name])
