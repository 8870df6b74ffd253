#!/usr/bin/python3
"""The small commands: what they set is set where it can be, and remembered where it cannot."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from sandbox.standins.record import Failed, Usage, hand_over, reach, run
from sandbox.standins.service import JOURNAL

GPUS = Path("/run/nvidia/gpus")
SETTINGS = Path("/run/kubepark-sysctl")
SYSCTL_FOLDER = Path("/etc/sysctl.d")  # the image's other folders hold the host's settings
LOCAL = ("localhost", "127.", "169.254.")  # asked for by the real curl
CGROUP = ["-fc", "%T", "/sys/fs/cgroup"]


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
    """Modules of the host's kernel that are there already; NVIDIA's where the machine has a GPU."""
    names = [name for name in arguments if name not in ("-a", "--all")]
    present = {
        "overlay": "overlay" in Path("/proc/filesystems").read_text(),
        "br_netfilter": Path("/proc/sys/net/bridge").is_dir(),
        "nvidia": GPUS.exists(),
    }
    unknown = [name for name in names if name not in present]
    if unknown or not names:
        raise Usage(" ".join(arguments))
    for name in names:
        if not present[name]:
            folder = f"/lib/modules/{os.uname().release}"
            raise Failed(f"modprobe: FATAL: Module {name} not found in directory {folder}")
    return 0


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
    if not GPUS.exists():
        raise Failed(
            "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. "
            "Make sure that the latest NVIDIA driver is installed and running.",
            9,
        )
    for number, line in enumerate(GPUS.read_text().split()):
        print(f"GPU {number}: Tesla T4 (UUID: {line})")
    return 0


def journalctl(_: str, arguments: list[str]) -> int:
    """`-u UNIT --no-pager -n LINES -o cat`, in any order."""
    rest = [word for word in arguments if word != "--no-pager"]
    options = dict(zip(rest[::2], rest[1::2], strict=False))
    lines = options.get("-n", "1000")
    known = {"-u", "-n", "-o"} >= set(options) >= {"-u"} and len(rest) == 2 * len(options)
    if not known or options.get("-o", "cat") != "cat" or not lines.isdigit():
        raise Usage(" ".join(arguments))
    unit = options["-u"] if "." in options["-u"] else options["-u"] + ".service"
    log = JOURNAL / f"{unit}.log"
    said = log.read_text(errors="replace").splitlines() if log.exists() else ["-- No entries --"]
    print("\n".join(said[max(0, len(said) - int(lines)) :]))
    return 0


def curl(_: str, arguments: list[str]) -> int:
    """Downloads from public hosts; what is on this machine is asked for by the real curl."""
    url = urlsplit(arguments[-1] if arguments else "")
    if url.scheme not in ("http", "https") or not url.hostname:
        raise Usage(" ".join(arguments))
    if url.hostname.startswith(LOCAL):
        hand_over("/usr/bin/curl", arguments)
    output = Path(download_to(arguments[:-1]))
    if problem := reach(url.hostname, url.port or (443 if url.scheme == "https" else 80)):
        number = re.match(r"curl: \((\d+)\)", problem)
        raise Failed(problem, int(number[1]) if number else 28)
    if not output.parent.is_dir():
        raise Failed("curl: (23) client returned ERROR on writing", 23)
    output.write_text(f"key of {arguments[-1]} (a stand-in: nothing was downloaded)\n")
    return 0


def download_to(options: list[str]) -> str:
    """The value of `-o`; everything else that is known changes nothing here."""
    output, rest = "", iter(options)
    for option in rest:
        if option in ("-o", "--connect-timeout", "--max-time"):
            value = next(rest, "")
            if not value:
                raise Usage(option)
            output = value if option == "-o" else output
        elif option != "-fsSL":
            raise Usage(option)
    if not output:
        raise Usage("a download without -o")
    return output


COMMANDS = {
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
