"""Stand-ins at their edges: slow ends, orders and files that make no sense, what is left at power off."""

from __future__ import annotations

import json
import threading
import time

import pytest

from sandbox.nodes.real.packages import KUBERNETES, VERSIONS, packages
from sandbox.standins import timers as timers_module
from sandbox.standins.packages import locate
from sandbox.standins.timers import Timers
from sandbox.standins.units import UnitError, load
from tests.unit.standins_machine import Machine, needs_namespaces, wait_for

UNITS = "/etc/systemd/system/"
ASK = "import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect('/run/kubepark-init.sock'); s.sendall(sys.argv[1].encode() + b'\\n'); print(s.makefile().readline())"

# apt-get update with every host within reach.
UPDATE = (
    "import sys; sys.path.insert(0, '/usr/local/lib/kubepark-sandbox'); "
    "from sandbox.standins import packages; packages.reach = lambda host, port: ''; packages.update()"
)


@pytest.fixture(scope="module")
def machine(tmp_path_factory):
    with Machine(tmp_path_factory.mktemp("ends")) as made:
        yield made.boot()


def put(machine, name, *lines):
    machine.put(f"{UNITS}{name}", "\n".join(lines) + "\n")


def program(machine, name, text):
    machine.put(f"/usr/local/bin/{name}", f"#!/bin/bash\n{text}\n")
    put(machine, f"{name}.service", "[Service]", f"ExecStart=/usr/local/bin/{name}")


def state(machine, name):
    return machine.run("systemctl", "is-active", name).stdout.strip()


def journal(machine, name):
    return machine.text(f"/var/log/kubepark-journal/{name}.service.log")


@needs_namespaces
def test_a_timer_that_was_refused_is_not_active_and_is_refused_again(machine):
    put(machine, "weekly.timer", "[Timer]", "OnCalendar=weekly")
    for _ in range(2):
        assert machine.run("systemctl", "start", "weekly.timer").returncode == 1
        assert state(machine, "weekly.timer") == "inactive"


def test_boots_do_not_put_off_a_persistent_timer(tmp_path, monkeypatch):
    monkeypatch.setattr(timers_module, "STAMPS", tmp_path / "stamps")
    (tmp_path / "x.timer").write_text("[Timer]\nOnCalendar=monthly\nPersistent=true\n")
    unit = load("x.timer", [tmp_path])
    assert unit is not None
    first = Timers(lambda _: None, 0.0)
    first.start(unit)
    later = time.time() + 10 * 86400.0
    monkeypatch.setattr(time, "time", lambda: later)
    second = Timers(lambda _: None, 0.0)
    second.start(unit)
    assert first.next() - second.next() == pytest.approx(10 * 86400.0, abs=5)


@pytest.mark.parametrize(
    "line",
    [
        "[Unit]\nConditionPathExists=|/one/of/several",
        "[Unit]\nConditionPathExists=/etc/%n",
        "[Service]\nEnvironment=NAME=%n",
        "[Service]\nEnvironmentFile=/etc/%n",
        "[Service]\nRemainAfterExit=perhaps",
        "[Timer]\nPersistent=perhaps",
        "[Install]\nWantedBy=graphical.target",
    ],
)
def test_values_that_would_mean_something_else(line, tmp_path):
    (tmp_path / "x.service").write_text(line + "\n")
    with pytest.raises(UnitError, match=r"x\.service:2: .* is not implemented"):
        load("x.service", [tmp_path])


@needs_namespaces
@pytest.mark.parametrize("content", [None, b"NAME=\xff\n"], ids=["a folder", "no text"])
def test_no_file_ends_process_1(machine, content):
    path = machine.path("/etc/odd-environment")
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
    lines = ("[Service]", "EnvironmentFile=/etc/odd-environment", "ExecStart=/bin/true")
    put(machine, "odd.service", *lines)
    refused = machine.run("systemctl", "start", "odd")
    assert (refused.returncode, "/etc/odd-environment: " in refused.stderr) == (1, True)
    assert machine.process.poll() is None
    path.rmdir() if content is None else path.unlink()


@needs_namespaces
@pytest.mark.parametrize("order", ["[]", "7", "{}", '{"verb": "start"}', "no json"])
def test_an_order_that_is_none_is_refused(machine, order):
    asked = machine.run("/usr/bin/python3", "-c", ASK, order)
    assert asked.returncode == 0
    assert "Not an order" in asked.stdout
    assert machine.run("systemctl", "daemon-reload").returncode == 0
    assert state(machine, "nothing") == "inactive"


@needs_namespaces
@pytest.mark.parametrize(
    "line", ["kernel.panic = ten", "kernel.panic = 1 2", "kernel.panic =", "net.ipv4.ip_forward = maybe"]
)
def test_a_setting_that_the_kernel_would_not_take(machine, line):
    machine.put("/etc/sysctl.d/98-odd.conf", line + "\n")
    try:
        key = line.partition(" ")[0]
        before = machine.run("sysctl", "-n", key).stdout
        done = machine.run("sysctl", "--system")
        assert (done.returncode, done.stderr) == (1, f'sysctl: setting key "{key}": Invalid argument\n')
        assert machine.run("sysctl", "-n", key).stdout == before
    finally:
        machine.path("/etc/sysctl.d/98-odd.conf").unlink()


@needs_namespaces
def test_while_a_unit_takes_its_time_to_stop_the_others_are_looked_after(machine):
    program(machine, "slow", "trap 'sleep 2; exit 0' TERM\necho run\nwhile :; do sleep 0.05; done")
    assert machine.run("systemctl", "start", "slow").returncode == 0
    wait_for("its trap", lambda: "run" in journal(machine, "slow"))
    codes = []
    stop = threading.Thread(target=lambda: codes.append(machine.run("systemctl", "stop", "slow").returncode))
    stop.start()
    wait_for("the stop", lambda: state(machine, "slow") == "deactivating")
    began = time.monotonic()
    put(machine, "quick.service", "[Service]", "Type=oneshot", "ExecStart=/bin/echo quick")
    assert machine.run("systemctl", "start", "quick").returncode == 0
    again = machine.run("systemctl", "start", "slow")
    assert (again.returncode, again.stderr) == (1, "slow.service is being stopped.\n")
    assert time.monotonic() - began < 1.5
    stop.join()
    assert codes == [0]
    assert state(machine, "slow") == "inactive"


@needs_namespaces
def test_a_unit_that_is_stopped_in_its_first_moment_hears_of_it(machine):
    """Also while it is still a copy of process 1, whose own way with SIGTERM is another."""
    unit = ("[Unit]", "StartLimitIntervalSec=0", "[Service]", "ExecStart=/bin/sleep 1000")
    put(machine, "brief.service", *unit)
    orders = [{"verb": verb, "unit": "brief.service", "block": True} for verb in ("start", "stop") * 5]
    asked = ASK.replace("; ", "\n    ").replace("sys.argv[1]", "json.dumps(order)")
    hasty = f"import json\nfor order in {orders!r}:\n    {asked}"
    began = time.monotonic()
    done = machine.run("/usr/bin/python3", "-c", hasty)
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - began < 9
    assert state(machine, "brief") == "inactive"


@needs_namespaces
def test_what_services_leave_behind_hears_of_the_end_and_does_not_delay_it(tmp_path):
    with Machine(tmp_path) as machine:
        machine.boot()
        child = "trap 'echo heard; exit 0' TERM; echo run; while :; do sleep 0.05; done"
        program(machine, "shim", f'setsid env -u INVOCATION_ID bash -c "{child}" &\nexec sleep 1000')
        put(machine, "shim.service.d/10.conf", "[Service]", "KillMode=process")
        assert machine.run("systemctl", "start", "shim").returncode == 0
        wait_for("its trap", lambda: "run" in journal(machine, "shim"))
        assert machine.power_button(10) < 3
        assert "heard" in journal(machine, "shim").splitlines()
        assert machine.process is not None
        assert machine.process.returncode == 0


@needs_namespaces
def test_where_a_repository_lies_is_remembered_and_asked_for(machine):
    table = {"kubelet": {"version": "1.36.4-*", "host": KUBERNETES, "source": "/core:/stable:/v1.36/deb/ /"}}
    machine.put("/usr/local/lib/kubepark-sandbox/packages.json", json.dumps(table))
    machine.put("/etc/apt/keyrings/kubernetes.asc", "key")
    sources = {}
    for minor in ("1.35", "1.36"):
        line = f"deb [signed-by=/etc/apt/keyrings/kubernetes.asc] https://{KUBERNETES}/core:/stable:/v{minor}/deb/ /"
        machine.put("/etc/apt/sources.list.d/kubernetes.list", line + "\n")
        assert machine.run("/usr/bin/python3", "-c", UPDATE).returncode == 0
        sources[minor] = machine.run("apt-cache", "show", "kubelet").returncode
    assert sources == {"1.35": 100, "1.36": 0}


@pytest.mark.parametrize(("minor", "there"), [("1.36", True), ("1.35", False)])
def test_a_minor_of_kubernetes_comes_from_its_own_repository(minor, there, tmp_path):
    (tmp_path / VERSIONS).write_text(json.dumps({"kubernetes": "v1.36.4", "containerd": "v2.3.6"}))
    read = {"hosts": {KUBERNETES: 443}, "sources": {KUBERNETES: f"/core:/stable:/v{minor}/deb/ /"}}
    for name in ("kubelet", "kubeadm", "kubectl", "cri-tools", "kubernetes-cni"):
        assert (locate(packages(tmp_path), name, read) is not None) is there, name
