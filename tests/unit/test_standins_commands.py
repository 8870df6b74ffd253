"""The small commands and the package manager, run inside a machine under the names that scripts call.

The public internet is a server on the machine's own loopback, in the place of the metadata address.
"""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from sandbox.standins.table import HOME
from tests.unit.standins_machine import IDLE, Machine, needs_namespaces, wait_for

pytestmark = needs_namespaces

ARCHIVE, DOCKER = "archive.ubuntu.com", "download.docker.com"
PACKAGES = {
    "curl": {"version": "*", "host": ARCHIVE, "links": {}, "text": {}},
    "openssl": {"version": "*", "host": ARCHIVE, "links": {}, "text": {}},
    "linux-aws-*": {"version": "*", "host": ARCHIVE, "links": {}, "text": {}},
    "containerd.io": {
        "version": "2.3.0-*",
        "host": DOCKER,
        "links": {"/usr/local/share/ctr": "/opt/kubepark/ctr"},
        "text": {"/usr/local/share/run": "#!/bin/sh\necho run\n", "/usr/local/share/conf": "text\n"},
    },
}
# Says what can be reached as the boot does; /run/closed has a line `HOST PORT words` for what cannot.
INTERNET = """\
import subprocess
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        url = urlsplit(self.path)
        with open("/run/asked", "a") as log:
            print(self.path, file=log)
        asked = {name: values[0] for name, values in parse_qs(url.query).items()}
        rows = [line.split(" ", 2) for line in Path("/run/closed").read_text().splitlines()]
        words = next((words for host, port, words in rows if asked == {"host": host, "port": port}), "")
        self.send_response(504 if words else 200)
        self.end_headers()
        self.wfile.write(words.encode())

    def log_message(self, *_):
        pass


subprocess.run(["ip", "addr", "add", "169.254.169.254/32", "dev", "lo"], check=True)
HTTPServer(("169.254.169.254", 8080), Handler).serve_forever()
"""
SOURCE = "deb [signed-by={key}] https://{host}/linux/ubuntu noble stable\n"


@pytest.fixture(scope="module")
def machine(tmp_path_factory):
    with Machine(tmp_path_factory.mktemp("machine")) as made:
        made.put(f"{HOME}/packages.json", json.dumps(PACKAGES))
        made.put("/usr/local/bin/internet", INTERNET)
        made.put("/run/closed", "")
        made.start("/usr/bin/python3", "/usr/local/bin/internet")
        wait_for("its port", lambda: "1F90" in made.run("cat", "/proc/net/tcp").stdout)
        yield made


@pytest.fixture
def fresh(machine):
    """Nothing installed, no repository, everything reachable."""
    for path in machine.path("/etc/apt/sources.list.d").iterdir():
        path.unlink()
    machine.path("/var/lib/kubepark-sandbox/packages.json").unlink(missing_ok=True)
    machine.put("/run/closed", "")
    machine.put("/run/asked", "")
    return machine


def repository(machine, *, key=True, line=SOURCE):
    path = "/etc/apt/keyrings/docker.asc"
    machine.path(path).unlink(missing_ok=True)
    if key:
        machine.put(path, "a key\n")
    machine.put("/etc/apt/sources.list.d/docker.list", line.format(key=path, host=DOCKER))


def apt(machine, *words):
    return machine.run("apt-get", "-y", "-q", "-o", "DPkg::Lock::Timeout=300", *words)


def said(done):
    return done.returncode, done.stderr.strip()


def asked(machine):
    return machine.text("/run/asked").splitlines()


# -- packages --------------------------------------------------------------------------------------


def test_packages_are_installed_from_repositories_that_are_configured(fresh):
    assert said(apt(fresh, "install", "curl")) == (100, "E: Unable to locate package curl"), (
        "before the first update"
    )
    repository(fresh)
    assert said(apt(fresh, "update")) == (0, "")
    assert asked(fresh) == [f"/reach?host={ARCHIVE}&port=80", f"/reach?host={DOCKER}&port=443"]
    done = apt(
        fresh,
        "install",
        "--allow-downgrades",
        "--allow-change-held-packages",
        "containerd.io=2.3.0-1",
        "curl",
    )
    assert said(done) == (0, "")
    assert done.stdout.splitlines()[0] == "Setting up containerd.io (2.3.0-1) ..."
    assert fresh.path("/usr/local/share/ctr").readlink() == Path("/opt/kubepark/ctr")
    assert fresh.run("/usr/local/share/run").stdout == "run\n"
    assert fresh.text("/usr/local/share/conf") == "text\n"
    assert fresh.path("/usr/local/share/conf").stat().st_mode & 0o777 == 0o644
    assert said(apt(fresh, "install", "containerd.io=2.3.0-1")) == (0, ""), "again"


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["containerd.io=2.2.0-1"], "E: Version '2.2.0-1' for 'containerd.io' was not found"),
        (["openssl", "unheard-of"], "E: Unable to locate package unheard-of"),
    ],
)
def test_what_cannot_be_installed_is_refused_as_apt_does_and_nothing_else_is(fresh, names, words):
    repository(fresh)
    apt(fresh, "update")
    assert said(apt(fresh, "install", "curl", *names)) == (100, words)
    assert fresh.run("dpkg-query", "-W", "-f", "${Package}\\n", "*").stdout == ""


def test_a_repository_that_is_not_configured(fresh):
    apt(fresh, "update")
    assert said(apt(fresh, "install", "containerd.io")) == (100, "E: Unable to locate package containerd.io")
    assert said(fresh.run("apt-cache", "show", "containerd.io")) == (100, "E: No packages found")


def test_a_repository_without_its_key(fresh):
    repository(fresh, key=False)
    assert said(apt(fresh, "update")) == (100, f"E: The repository '{DOCKER}' is not signed.")


@pytest.mark.parametrize(
    "line",
    [
        "deb https://{host}/linux stable\n",
        SOURCE + "deb somewhere\n",
        "deb [signed-by={key}] https://{host}/linux\n",
    ],
)
def test_a_repository_that_is_not_trusted_by_its_own_key_alone(fresh, line):
    repository(fresh, line=line)
    number = line.count("\n")
    assert said(apt(fresh, "update")) == (
        100,
        f"E: Malformed entry {number} in list file /etc/apt/sources.list.d/docker.list",
    )


def test_hosts_that_are_out_of_reach(fresh):
    repository(fresh)
    words = f"curl: (28) Failed to connect to {DOCKER} port 443: Could not connect to server"
    fresh.put("/run/closed", f"{DOCKER} 443 {words}\n")
    assert said(apt(fresh, "update")) == (100, f"E: Failed to fetch from {DOCKER}: {words}")
    fresh.put("/run/closed", "")
    apt(fresh, "update")
    fresh.put("/run/closed", f"{DOCKER} 443 {words}\n")
    assert said(apt(fresh, "install", "curl", "containerd.io")) == (
        100,
        f"E: Failed to fetch from {DOCKER}: {words}",
    )
    assert said(apt(fresh, "install", "curl")) == (0, ""), "its own repository is reachable"
    fresh.put("/run/closed", f"{ARCHIVE} 80 away\n")
    assert said(apt(fresh, "install", "openssl")) == (100, f"E: Failed to fetch from {ARCHIVE}: away")


def test_holding(fresh):
    apt(fresh, "update")
    apt(fresh, "install", "curl", "openssl")
    done = fresh.run("apt-mark", "hold", "curl", "openssl")
    assert (done.returncode, done.stdout) == (0, "curl set on hold.\nopenssl set on hold.\n")
    assert said(fresh.run("apt-mark", "hold", "curl", "containerd.io")) == (
        100,
        "E: Unable to locate package containerd.io",
    )
    assert json.loads(fresh.text("/var/lib/kubepark-sandbox/packages.json"))["held"] == ["curl", "openssl"]


def test_showing_packages(fresh):
    apt(fresh, "update")
    apt(fresh, "install", "linux-aws-6.8", "curl")
    shown = fresh.run("apt-cache", "show", "linux-aws-6.9")
    assert (shown.returncode, shown.stdout) == (0, "Package: linux-aws-6.9\nVersion: *\n")
    query = ("dpkg-query", "-W", "-f", "${Package}\\n")
    assert fresh.run(*query, "linux-aws*").stdout == "linux-aws-6.8\n"
    assert fresh.run(*query, "*").stdout == "curl\nlinux-aws-6.8\n"
    some = fresh.run(*query, "cur?", "linux-image*", "linux-headers*")
    assert (some.returncode, some.stdout) == (1, "curl\n")
    assert some.stderr.splitlines() == [
        f"dpkg-query: no packages found matching linux-{name}*" for name in ("image", "headers")
    ]


# -- curl ------------------------------------------------------------------------------------------


def test_downloads(fresh):
    url = f"https://{DOCKER}/linux/ubuntu/gpg"
    command = ("curl", "-fsSL", "--connect-timeout", "10", "--max-time", "60", "-o", "/run/key")
    assert said(fresh.run(*command, url)) == (0, "")
    assert fresh.text("/run/key") == f"key of {url} (a stand-in: nothing was downloaded)\n"
    assert said(fresh.run(*command, f"http://{DOCKER}:8081/x")) == (0, "")
    assert asked(fresh) == [f"/reach?host={DOCKER}&port={port}" for port in (443, 8081)]
    fresh.path("/run/key").unlink()
    for number, words in ((28, "timed out"), (6, "Could not resolve host")):
        fresh.put("/run/closed", f"{DOCKER} 443 curl: ({number}) {words}\n")
        assert said(fresh.run(*command, url)) == (number, f"curl: ({number}) {words}")
    assert not fresh.path("/run/key").exists()
    fresh.put("/run/closed", "")
    assert fresh.run(*command[:-1], "/nowhere/key", url).returncode == 23


def test_a_download_from_this_machine_is_the_real_one(fresh):
    done = fresh.run("curl", "-s", "-w", "%{http_code}", "http://169.254.169.254:8080/reach?host=x&port=1")
    assert (done.returncode, done.stdout) == (0, "200")
    assert last(fresh) == {
        "command": ["curl", "-s", "-w", "%{http_code}", "http://169.254.169.254:8080/reach?host=x&port=1"],
        "code": None,
    }
    assert fresh.run("curl", "-s", "http://localhost:1/").returncode == 7


def test_without_an_answer_no_host_is_reachable(tmp_path):
    with Machine(tmp_path) as made:
        done = made.start(*IDLE).run("curl", "-o", "/run/x", f"https://{DOCKER}/x")
    assert done.returncode == 6
    assert done.stderr.startswith(f"curl: (6) Could not resolve host: {DOCKER}")


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
            assert machine.run("cat", f"/proc/sys/{key.replace('.', '/')}").stdout == f"{value}\n"
    own = machine.run("cat", "/proc/mounts").stdout
    assert " /proc/sys/kernel/panic " in own
    assert " /proc/sys/net/ipv4/ip_forward " not in own, "really written"
    assert {key: host(key) for key in keys} == before
    assert "/proc/sys/kernel/panic" not in Path("/proc/self/mounts").read_text()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (
            "net.ipv4.no_such_key = 1",
            "sysctl: cannot stat /proc/sys/net/ipv4/no_such_key: No such file or directory",
        ),
        (
            "kernel.no_such_key=1",
            "sysctl: cannot stat /proc/sys/kernel/no_such_key: No such file or directory",
        ),
        ("kernel.panic", "sysctl: /etc/sysctl.d/98-bad.conf(1): invalid syntax, continuing..."),
    ],
)
def test_settings_that_are_refused(machine, line, words):
    machine.put("/etc/sysctl.d/98-bad.conf", line + "\n")
    try:
        assert said(machine.run("sysctl", "--system")) == (1, words)
    finally:
        machine.path("/etc/sysctl.d/98-bad.conf").unlink()


def test_a_setting_that_is_not_there(machine):
    words = "sysctl: cannot stat /proc/sys/net/no/key: No such file or directory"
    assert said(machine.run("sysctl", "-n", "net.no.key")) == (1, words)


# -- the rest --------------------------------------------------------------------------------------


def test_modules_are_looked_for_and_never_loaded(machine):
    loaded = Path("/proc/modules").read_text() if Path("/proc/modules").exists() else ""
    overlay = "overlay" in Path("/proc/filesystems").read_text()
    done = machine.run("modprobe", "-a", "overlay")
    assert done.returncode == (0 if overlay else 1)
    machine.path("/run/nvidia").mkdir(exist_ok=True)
    machine.path("/run/nvidia/gpus").unlink(missing_ok=True)
    code, words = said(machine.run("modprobe", "nvidia"))
    assert code == 1
    assert words.startswith("modprobe: FATAL: Module nvidia not found in directory /lib/modules/")
    machine.put("/run/nvidia/gpus", "GPU-1\n")
    assert said(machine.run("modprobe", "nvidia")) == (0, "")
    assert (Path("/proc/modules").read_text() if loaded else "") == loaded


def test_nvidia_smi(machine):
    machine.path("/run/nvidia/gpus").unlink(missing_ok=True)
    code, words = said(machine.run("nvidia-smi", "-L"))
    assert code == 9
    assert words.startswith("NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.")
    machine.put("/run/nvidia/gpus", "GPU-a\nGPU-b\n")
    done = machine.run("nvidia-smi", "-L")
    assert (done.returncode, done.stdout) == (
        0,
        "GPU 0: Tesla T4 (UUID: GPU-a)\nGPU 1: Tesla T4 (UUID: GPU-b)\n",
    )


def test_swap_clock_and_name(machine):
    swaps = Path("/proc/swaps").read_text()
    assert said(machine.run("swapoff", "-a")) == (0, "")
    assert Path("/proc/swaps").read_text() == swaps
    done = machine.run("swapon", "--noheadings", "--show")
    assert (done.returncode, done.stdout) == (0, "")
    assert machine.run("timedatectl", "show", "-p", "NTPSynchronized", "--value").stdout == "yes\n"
    before = socket.gethostname()
    assert said(machine.run("hostnamectl", "set-hostname", "worker01")) == (0, "")
    assert machine.run("hostname").stdout == "worker01\n"
    assert machine.text("/etc/hostname") == "worker01\n"
    assert socket.gethostname() == before


def test_stat_answers_for_cgroups_alone(machine):
    assert machine.run("stat", "-fc", "%T", "/sys/fs/cgroup").stdout == "cgroup2fs\n"
    assert machine.run("stat", "-c", "%F", "/run").stdout == "directory\n"
    assert machine.run("stat", "/nowhere").returncode == 1


def last(machine):
    record = json.loads(machine.text("/var/log/kubepark-sandbox.jsonl").splitlines()[-1])
    assert record.pop("at") > 1_700_000_000
    return record


@pytest.mark.parametrize(
    "line",
    [
        *(
            "apt-get",
            "apt-get autoremove",
            "apt-get --purge install curl",
            "apt-get update curl",
            "apt-get install",
        ),
        *(
            "apt-get -o Acquire::Retries=3 update",
            "apt-get update -o",
            "apt-mark",
            "apt-mark hold",
            "apt-mark unhold curl",
        ),
        *(
            "apt-mark hold -x",
            "apt-cache search x",
            "apt-cache show",
            "dpkg-query -l",
            "dpkg-query -W -f ${Package}\\n",
        ),
        *(
            "curl",
            "curl -o /run/x",
            "curl https://example.org/",
            "curl -k -o /run/x https://example.org/",
            "curl -o",
        ),
        *(
            "curl --max-time https://example.org/",
            "curl -o /run/x ftp://example.org/",
            "hostnamectl",
            "hostnamectl status",
        ),
        *(
            "timedatectl",
            "timedatectl set-ntp true",
            "modprobe",
            "modprobe -r overlay",
            "modprobe xfs",
            "sysctl -a",
        ),
        *(
            "sysctl -w a=b",
            "sysctl",
            "swapoff",
            "swapoff /dev/x",
            "swapon -a",
            "nvidia-smi",
            "nvidia-smi -q",
            "journalctl",
        ),
        *("journalctl -f -u x", "journalctl -u x -n", "journalctl -u x -n many", "journalctl -u x -o json"),
        *("journalctl -n 5", "systemctl frobnicate x"),
    ],
)
def test_what_is_not_known_is_an_error_that_says_so_and_is_recorded(machine, line):
    words = line.split()
    done = machine.run(*words)
    assert done.returncode == 64
    assert done.stdout == ""
    (complaint,) = done.stderr.splitlines()
    assert complaint.startswith(f"{words[0]}: this stand-in does not know: ")
    assert last(machine) == {"command": words, "code": 64}


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("swapoff -a", 0),
        ("apt-cache show unheard-of", 100),
        ("sysctl -n no.key", 1),
        ("systemctl is-active x", 1),
    ],
)
def test_every_call_is_recorded_with_its_end(machine, line, code):
    before = len(machine.text("/var/log/kubepark-sandbox.jsonl").splitlines())
    assert machine.run(*line.split()).returncode == code
    assert last(machine) == {"command": line.split(), "code": code}
    assert len(machine.text("/var/log/kubepark-sandbox.jsonl").splitlines()) == before + 1


def test_a_stand_in_that_breaks_is_recorded_too(machine):
    machine.path(f"{HOME}/packages.json").rename(machine.path(f"{HOME}/away.json"))
    try:
        assert machine.run("apt-cache", "show", "curl").returncode == 1
    finally:
        machine.path(f"{HOME}/away.json").rename(machine.path(f"{HOME}/packages.json"))
    assert last(machine) == {"command": ["apt-cache", "show", "curl"], "code": 70}
