"""What a node's scripts call is there, by one way or another; and steps go wrong where somebody asks for it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import userdata
from sandbox.nodes import choice
from sandbox.nodes.cloudinit import parse
from sandbox.nodes.faults import Faults
from sandbox.nodes.real import image
from sandbox.nodes.real.packages import VERSIONS, packages
from sandbox.nodes.standins import commands as small_commands
from sandbox.nodes.standins import packages as package_commands
from sandbox.nodes.standins.table import CGROUP_V1, NVIDIA_SMI, STAND_INS
from sandbox.tests.nodes.standins_machine import IDLE, SCRIPTS, Machine, needs_namespaces
from tests.userdata_sample import ROLES, SETTINGS, files, plan

LIB = "/usr/local/lib/kubepark/"
# Packages that Debian and Ubuntu mark essential: every image and every host has them.
ESSENTIAL = {
    "coreutils": "base64 cat chmod cut date head install mv rm sha256sum sleep sort stat tee timeout touch uname",
    "sed, grep, hostname, libc-bin": "sed grep hostname getent",
}
SHELL = (
    "alias break case command continue do done echo elif else esac eval exec exit export false fi for function if "
    "local mapfile printf read return set shift source then trap true umask unset until wait while"
)
ALONG = {"pgrep": "pkill"}  # procps brings both
# Of SELinux, which Ubuntu has not: asked for only where `command -v` finds it.
GUARDED = {"getenforce", "setenforce"}
WRAPPERS = {"retry": 1, "timeout": 1, "expect": 1}  # how many words stand before the command itself
BEGIN = r"(?:^|[|;{!]|&&|[$<]\(|\b(?:then|do|else|if|until|while)\b)\s*"


def shell_commands(text: str) -> set[str]:
    """Words at the place of a command, wrappers and what they wrap."""
    text = text.replace("\\\n", " ")
    text = re.sub(r"<<END\n.*?\nEND\n", "\n", text, flags=re.DOTALL)
    text = re.sub(r"'[^']*'", "", text)
    text = re.sub(
        r'"(?:[^"\\]|\\.)*"', lambda found: " ".join(["_", *re.findall(r"\$\([^)]*\)", found[0])]), text
    )
    found = set()
    for match in re.finditer(BEGIN + r"(?=[a-z])", text, flags=re.MULTILINE):
        words = re.split(r"[ \n);]+", text[match.end() :].partition("\n")[0] + "\n")
        while words:
            name = words.pop(0)
            if re.fullmatch(r"[a-z][a-z0-9_.-]*", name):
                found.add(name)
            if name not in WRAPPERS:
                break
            words = words[WRAPPERS[name] :]
    return found


def calls(role: str) -> set[str]:
    """External commands that the scripts of a role call; functions of the scripts are no commands."""
    scripts = {path: text for path, text in files(role).items() if path.startswith(LIB)}
    found: set[str] = set()
    functions: set[str] = set()
    for text in scripts.values():
        if "python" in text.splitlines()[0]:
            found |= set(re.findall(r'\["([a-z][a-z0-9-]*)", f?["*-]', text))
        else:
            found |= shell_commands(text)
            functions |= set(re.findall(r"^([a-z_]+)\(\) \{", text, flags=re.MULTILINE))
    return found - functions - set(SHELL.split())


@pytest.fixture(scope="module")
def called():
    return {role: calls(role) for role in ROLES}


@pytest.fixture
def brought(tmp_path):
    """Commands that packages put into the machine."""
    (tmp_path / VERSIONS).write_text(json.dumps({"kubernetes": "v1.36.4", "containerd": "v2.3.0"}))
    paths = [path for each in packages(tmp_path).values() for path in (*each["links"], *each["text"])]
    return {Path(path).name for path in paths if path.startswith("/usr/bin/")}


STOOD_IN = {name for each in STAND_INS for name in each.commands}


def test_the_scan_finds_what_scripts_call(called):
    """Else the tests below would have nothing to say."""
    assert {"systemctl", "apt-get", "curl", "kubeadm", "kubectl", "crictl", "journalctl"} <= called["master"]
    assert {"pkill", "flock", "openssl", "sha256sum"} <= called["master"], (
        "in Python, alone on a line, in a pipe"
    )
    assert {"nvidia-smi", "dpkg-query", "modprobe", "apt-mark"} <= called["gpu"]
    assert {"kubelet", "swapon", "sysctl", "containerd", "timedatectl", "stat", "getent"} <= called["worker"]
    assert not {"going", "waiting", "apt", "repository", "off", "fill", "kubepark"} & called["gpu"]


@pytest.mark.parametrize("role", ROLES)
def test_every_command_that_a_node_calls_is_there(role, called, brought):
    of_the_host = {Path(path).name for path in choice.IMAGE} | set(choice.COMMANDS)
    of_the_host |= {name for name, other in ALONG.items() if other in of_the_host}
    essential = set(" ".join(ESSENTIAL.values()).split())
    assert called[role] - STOOD_IN - brought - essential - of_the_host - GUARDED == set()


def test_no_stand_in_is_listed_that_nothing_calls(called, brought):
    somewhere = set().union(*called.values())
    listed = STOOD_IN | set(NVIDIA_SMI.commands) | set(CGROUP_V1.commands)
    assert listed - somewhere == set()
    assert set(NVIDIA_SMI.commands) <= brought


def test_every_listed_command_is_implemented_and_put_in_place_and_no_other(tmp_path):
    every = (*STAND_INS, NVIDIA_SMI, CGROUP_V1)
    assert {(name, each.script) for each in every for name in each.commands} == {
        *((name, "commands.py") for name in small_commands.COMMANDS),
        *((name, "packages.py") for name in package_commands.COMMANDS),
        ("systemctl", "systemctl.py"),
    }
    (tmp_path / "usr/local/sbin").mkdir(parents=True)
    for _ in range(2):
        image.install(tmp_path)
    placed = {path.name: path.readlink().as_posix() for path in (tmp_path / "usr/local/sbin").iterdir()}
    assert placed == {
        name: f"{SCRIPTS}/{each.script}" for each in image.stand_ins() for name in each.commands
    }
    for target in set(placed.values()):
        assert (tmp_path / target.lstrip("/")).stat().st_mode & 0o111


# -- faults ----------------------------------------------------------------------------------------

STEP = f"{LIB}steps/join"
STRICT = '#!/bin/bash\nset -Eeuo pipefail\ntrap \'echo "line $LINENO" >&2\' ERR\nx=$(true)\necho "ran $*${x:+ no}"\n'
FINE = (0, "ran a b\n", "")


@pytest.fixture(scope="module")
def machine(tmp_path_factory):
    with Machine(tmp_path_factory.mktemp("machine")) as made:
        for name in ("join", "verify"):
            made.put(f"{LIB}steps/{name}", STRICT)
        made.put(f"{LIB}renew", f"#!/bin/bash\nset -Eeuo pipefail\n{STEP}\necho after\n")
        yield made.start(*IDLE)


@pytest.fixture
def faulty(machine, tmp_path):
    """Sets what faults.json says of worker01; afterwards there are no faults."""
    path = tmp_path / "faults.json"
    data = parse(userdata.render(plan("worker"), SETTINGS))

    def put(root=machine.root, **entry):
        path.write_text(json.dumps({"worker01": {"step": "join", **entry}} if entry else {}))
        image.put_faults(root, Faults(path), "worker01", data)

    put()
    yield put
    put()


def step(machine, *program):
    done = machine.run("env", f"BASH_ENV={SCRIPTS}/faults.sh", *(program or (STEP, "a", "b")))
    return done.returncode, done.stdout, done.stderr


@needs_namespaces
def test_a_step_that_fails_always_and_no_other(machine, faulty):
    assert step(machine) == FINE, "without a fault a strict script runs undisturbed"
    assert step(machine, "bash", "-Eeuo", "pipefail", STEP, "a", "b") == FINE
    faulty(mode="fail", message="no space left on device\nand more")
    for _ in range(3):
        assert step(machine) == (1, "no space left on device\nand more\n", "")
    assert step(machine, f"{LIB}renew")[:2] == (1, "no space left on device\nand more\n")
    assert step(machine, f"{LIB}steps/verify", "a", "b") == FINE, "another step"
    faulty()
    assert step(machine) == FINE, "healed"
    faulty(mode="silent")
    assert step(machine) == FINE, "its way to AWS is cut, by whoever serves it"
    faulty(root=None, mode="fail")  # a machine that is off


@needs_namespaces
def test_a_step_that_fails_twice_and_another_time_when_asked_anew(machine, faulty):
    for message, times, codes in (("twice", 2, [1, 1, 0, 0]), ("twice", 2, [0]), ("again", 1, [1, 0])):
        faulty(mode="fail", message=message, times=times)
        assert [step(machine)[0] for _ in codes] == codes


@needs_namespaces
def test_a_step_that_hangs_until_it_is_killed(machine, faulty):
    faulty(mode="hang", message="stuck")
    assert step(machine, "timeout", "--signal=KILL", "0.5", STEP, "a", "b") == (-9, "stuck\n", "")


def test_a_power_cut_while_apt_notes_something_leaves_what_was_noted_before(tmp_path, monkeypatch):
    monkeypatch.setattr(package_commands, "STATE", tmp_path / "packages.json")
    package_commands.save({"held": ["kubelet"]})
    real = Path.write_text

    def cut(path, text, *more):
        real(path, text[: len(text) // 2], *more)
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "write_text", cut)
    with pytest.raises(KeyboardInterrupt):
        package_commands.save({"held": ["kubelet", "kubeadm"]})
    assert package_commands.state() == {"held": ["kubelet"]}
