"""The small commands and the package manager, run inside a machine under the names that scripts call.

The public internet is a server on the machine's own loopback, in the place of the metadata address.
"""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest

from sandbox.nodes.real.packages import KUBERNETES, VERSIONS, packages
from sandbox.nodes.standins.kernel import MODULES
from sandbox.nodes.standins.packages import locate
from sandbox.nodes.standins.table import HOME
from sandbox.tests.nodes.standins_machine import Machine, needs_namespaces

pytestmark = needs_namespaces

ARCHIVE, DOCKER = "archive.ubuntu.com", "download.docker.com"
PACKAGES = {
    **{name: {"version": "*", "host": ARCHIVE} for name in ("curl", "openssl", "linux-aws-*")},
    "linux-headers": {"version": "*", "host": ARCHIVE, "image": True},
    "containerd.io": {
        "version": "2.3.0-*",
        "host": DOCKER,
        "source": "/linux/ubuntu * stable",
        "links": {"/usr/local/share/ctr": "/opt/kubepark/ctr"},
        "mentions": ["ctr"],
        "text": {"/usr/local/share/run": "#!/bin/sh\necho run\n", "/usr/local/share/conf": "text\n"},
    },
}
# Answers what can be reached as the boot does; /run/closed has a line `HOST PORT words` for what cannot.
INTERNET = """\
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import parse_qs, urlsplit


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        asked = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
        rows = [line.split(" ", 2) for line in Path("/run/closed").read_text().splitlines()]
        words = next((words for host, port, words in rows if asked == {"host": host, "port": port}), "")
        self.send_response(504 if words else 200)
        self.end_headers()
        self.wfile.write(words.encode())
"""
SOURCE = "deb [signed-by={key}] https://{host}/linux/ubuntu noble stable\n"
KEY = "/etc/apt/keyrings/docker.asc"
STATUS = "${db:Status-Status} ${Package}\\n"
AWAY = f"curl: (28) Failed to connect to {DOCKER} port 443: Could not connect to server"


@pytest.fixture(scope="module")
def machine(tmp_path_factory):
    with Machine(tmp_path_factory.mktemp("machine")) as made:
        made.put(f"{HOME}/packages.json", json.dumps(PACKAGES))
        made.put("/run/closed", "")
        yield made.serve(INTERNET, 8080)


@pytest.fixture
def fresh(machine):
    """Nothing installed, one vendor's repository, everything reachable."""
    machine.path("/var/lib/kubepark-sandbox/packages.json").unlink(missing_ok=True)
    machine.put("/run/closed", "")
    repository(machine)
    return machine


def repository(machine, line=SOURCE):
    machine.put(KEY, "a key\n")
    machine.put("/etc/apt/sources.list.d/docker.list", line.format(key=KEY, host=DOCKER))


def apt(machine, *words):
    return ended(machine.run("apt-get", "-y", "-q", "-o", "DPkg::Lock::Timeout=300", *words))


def ended(done):
    return done.returncode, done.stderr.strip()


def installed(machine):
    lines = machine.run("dpkg-query", "-W", "-f", STATUS, "*").stdout.splitlines()
    return [line.removeprefix("installed ") for line in lines]


# -- packages --------------------------------------------------------------------------------------


def test_packages_are_installed_held_and_shown(fresh):
    unknown = (100, "E: Unable to locate package curl")
    assert apt(fresh, "install", "curl") == unknown, "before the first update"
    assert apt(fresh, "update") == (0, "")
    change = ("--allow-downgrades", "--allow-change-held-packages")
    assert apt(fresh, "install", *change, "containerd.io=2.3.0-1", "linux-aws-6.8") == (0, "")
    assert fresh.path("/usr/local/share/ctr").readlink() == Path("/opt/kubepark/ctr")
    assert fresh.run("/usr/local/share/run").stdout == "run\n"
    assert fresh.path("/usr/local/share/conf").stat().st_mode & 0o777 == 0o644
    assert fresh.run("apt-mark", "hold", "containerd.io").stdout == "containerd.io set on hold.\n"
    assert ended(fresh.run("apt-mark", "hold", "curl")) == unknown
    assert ended(fresh.run("apt-mark", "hold", "ctr"))[0] == 100, "a name that another package mentions"
    held = "E: Held packages were changed and -y was used without --allow-change-held-packages."
    assert apt(fresh, "install", "containerd.io=2.3.0-1") == (0, "")
    assert apt(fresh, "install", "containerd.io=2.3.0-2") == (100, held)
    assert installed(fresh) == ["containerd.io", "not-installed ctr", "linux-aws-6.8", "linux-headers"]
    code, words = ended(fresh.run("dpkg-query", "-W", "-f", STATUS, "linux-image*"))
    assert (code, words) == (1, "dpkg-query: no packages found matching linux-image*")


@pytest.mark.parametrize(
    ("line", "names", "words"),
    [
        (SOURCE, ("containerd.io=2.2.0-1",), "E: Version '2.2.0-1' for 'containerd.io' was not found"),
        (SOURCE, ("openssl", "unheard-of"), "E: Unable to locate package unheard-of"),
        ("", ("containerd.io",), "E: Unable to locate package containerd.io"),
        (SOURCE.replace("stable", "edge"), ("containerd.io",), "E: Unable to locate package containerd.io"),
    ],
)
def test_what_cannot_be_installed_is_refused_as_apt_does_and_nothing_else_is(fresh, line, names, words):
    repository(fresh, line)
    assert apt(fresh, "update") == (0, "")
    assert apt(fresh, "install", "curl", *names) == (100, words)
    assert installed(fresh) == ["linux-headers"], "what the image has"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (SOURCE.replace("{key}", "/no/key"), f"E: The repository '{DOCKER}' is not signed."),
        ("deb https://{host}/linux stable\n", "E: Malformed entry 1 in list file"),
        (SOURCE + "deb somewhere\n", "E: Malformed entry 2 in list file"),
        ("deb [signed-by={key}] https://{host}/linux\n", "E: Malformed entry 1 in list file"),
    ],
)
def test_a_repository_that_is_not_trusted_by_its_own_key_alone(fresh, line, words):
    repository(fresh, line)
    code, message = apt(fresh, "update")
    assert (code, message.startswith(words)) == (100, True)


def test_hosts_that_are_out_of_reach(fresh):
    fresh.put("/run/closed", f"{DOCKER} 443 {AWAY}\n")
    assert apt(fresh, "update") == (100, f"E: Failed to fetch from {DOCKER}: {AWAY}")
    fresh.put("/run/closed", "")
    apt(fresh, "update")
    fresh.put("/run/closed", f"{DOCKER} 443 {AWAY}\n")
    assert apt(fresh, "install", "curl", "containerd.io")[0] == 100
    assert apt(fresh, "install", "curl") == (0, ""), "its own repository is reachable"


@pytest.mark.parametrize(("minor", "there"), [("1.36", True), ("1.35", False)])
def test_a_minor_of_kubernetes_comes_from_its_own_repository(minor, there, tmp_path):
    (tmp_path / VERSIONS).write_text(json.dumps({"kubernetes": "v1.36.4", "containerd": "v2.3.6"}))
    read = {"hosts": {KUBERNETES: 443}, "sources": {KUBERNETES: f"/core:/stable:/v{minor}/deb/ /"}}
    for name in ("kubelet", "kubeadm", "kubectl", "cri-tools", "kubernetes-cni"):
        assert (locate(packages(tmp_path), name, read) is not None) is there, name


# -- curl ------------------------------------------------------------------------------------------


def test_downloads(fresh):
    url = f"https://{DOCKER}/linux/ubuntu/gpg"
    command = ("curl", "-fsSL", "--connect-timeout", "10", "--max-time", "60", "-o", "/run/key", url)
    fresh.put("/run/closed", f"{DOCKER} 443 {AWAY}\n")
    assert ended(fresh.run(*command)) == (28, AWAY)
    assert not fresh.path("/run/key").exists()
    fresh.put("/run/closed", f"{DOCKER} 80 {AWAY}\n")  # another port
    assert ended(fresh.run(*command)) == (0, "")
    assert "nothing was downloaded" in fresh.text("/run/key")


# -- the kernel's settings -------------------------------------------------------------------------


def host(key):
    return Path("/proc/sys", key.replace(".", "/")).read_text().strip()


def test_settings_of_the_network_are_the_machines_and_others_are_only_seen_there(machine):
    keys = ("net.ipv4.ip_forward", "vm.overcommit_memory", "kernel.panic", "fs.inotify.max_user_watches")
    before = {key: host(key) for key in keys}
    wanted = {key: str(int(value) ^ 1) for key, value in before.items()}
    lines = [f"{key} = {value}" for key, value in wanted.items()]
    machine.put("/etc/sysctl.d/99-x.conf", "# no\n; no\n\n" + "\n".join(lines) + "\n")
    for _ in range(2):
        done = machine.run("sysctl", "--system")
        assert (done.returncode, done.stderr, done.stdout.splitlines()) == (0, "", lines)
        for key, value in wanted.items():
            assert machine.run("sysctl", "-n", key).stdout == f"{value}\n"
    own = machine.run("cat", "/proc/mounts").stdout
    assert " /proc/sys/kernel/panic " in own
    assert " /proc/sys/net/ipv4/ip_forward " not in own, "really written"
    assert {key: host(key) for key in keys} == before
    assert "/proc/sys/kernel/panic" not in Path("/proc/self/mounts").read_text()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("kernel.no_such_key=1", "cannot stat /proc/sys/kernel/no_such_key: No such file or directory"),
        ("kernel.panic", "/etc/sysctl.d/98-bad.conf(1): invalid syntax, continuing..."),
        ("kernel.panic = 1 2", 'setting key "kernel.panic": Invalid argument'),
        ("net.ipv4.ip_forward = maybe", 'setting key "net.ipv4.ip_forward": Invalid argument'),
    ],
)
def test_settings_that_are_refused(machine, line, words):
    bad = machine.put("/etc/sysctl.d/98-bad.conf", line + "\n")
    try:
        assert ended(machine.run("sysctl", "--system")) == (1, f"sysctl: {words}")
    finally:
        bad.unlink()


# -- the rest --------------------------------------------------------------------------------------


GPUS, MODULE = "/run/nvidia/gpus", f"{MODULES}/{os.uname().release}/nvidia.ko"


@pytest.mark.parametrize("there", [(GPUS, MODULE), (GPUS,), (MODULE,)])
def test_modules_are_looked_for_and_never_loaded_and_nvidias_needs_a_gpu_and_a_package(machine, there):
    files = [machine.put(path, "GPU-a\nGPU-b\n") for path in there]
    loaded, shown = (machine.run(*line.split()) for line in ("modprobe -a overlay nvidia", "nvidia-smi -L"))
    for file in files:
        file.unlink()
    if len(there) == 2:
        assert ended(loaded) == (0, "")
        cards = ["GPU 0: Tesla T4 (UUID: GPU-a)", "GPU 1: Tesla T4 (UUID: GPU-b)"]
        assert shown.stdout.splitlines() == cards
    else:
        folder = f"/lib/modules/{os.uname().release}"
        assert ended(loaded) == (1, f"modprobe: FATAL: Module nvidia not found in directory {folder}")
        assert shown.returncode == 9


def test_swap_clock_name_and_cgroups(machine):
    before = Path("/proc/swaps").read_text(), socket.gethostname()
    for line, stdout in (
        ("swapoff -a", ""),
        ("swapon --noheadings --show", ""),
        ("systemctl list-units --type swap --all --plain --no-legend", ""),
        ("timedatectl show -p NTPSynchronized --value", "yes\n"),
        ("hostnamectl set-hostname worker01", ""),
        ("hostname", "worker01\n"),
        ("cat /etc/hostname", "worker01\n"),
        ("stat -fc %T /sys/fs/cgroup", "cgroup2fs\n"),
        ("stat -c %F /run", "directory\n"),
    ):
        done = machine.run(*line.split())
        assert (done.returncode, done.stdout, done.stderr) == (0, stdout, ""), line
    assert (Path("/proc/swaps").read_text(), socket.gethostname()) == before


UNKNOWN = """\
apt-get
apt-get --purge install curl
apt-get -o Acquire::Retries=3 update
apt-mark unhold curl
dpkg-query -l
curl -k -o /run/x https://example.org/
curl -o /run/x ftp://example.org/
hostnamectl status
timedatectl set-ntp true
modprobe -r overlay
sysctl -w a=b
swapoff /dev/x
swapon -a
nvidia-smi -q
journalctl -f -u x
busctl get-property org.freedesktop.login1 / x y
systemctl frobnicate x
systemctl start --force x
systemctl daemon-reload x
systemctl list-units --type service --all --plain --no-legend
systemctl --user start x"""


@pytest.mark.parametrize("line", UNKNOWN.splitlines())
def test_what_is_not_known_is_an_error_that_says_so_and_is_recorded(machine, line):
    words = line.split()
    code, message = ended(machine.run(*words))
    assert (code, message.startswith(f"{words[0]}: this stand-in does not know:")) == (64, True)
    assert machine.calls()[-1] == (words, 64)


def test_every_call_is_recorded_with_its_end(machine):
    calls = {
        "swapoff -a": 0,
        "apt-mark hold unheard-of": 100,
        "sysctl -n no.key": 1,
        "systemctl is-active x": 1,
    }
    before = len(machine.calls())
    for line, code in calls.items():
        assert machine.run(*line.split()).returncode == code
    assert machine.calls()[before:] == [(line.split(), code) for line, code in calls.items()]
    table = machine.path(f"{HOME}/packages.json")
    kept = table.rename(table.with_name("away.json"))
    try:
        assert machine.run("apt-get", "install", "curl").returncode == 1
    finally:
        kept.rename(table)
    assert machine.calls()[-1] == (["apt-get", "install", "curl"], 70), "a stand-in that breaks"
