"""The stand-in for systemd as process 1 of a machine of namespaces: what the nodes' own units rely on."""

from __future__ import annotations

import os
import signal
import time
from itertools import pairwise

import pytest

from sandbox.nodes.standins.kernel import KERNELS, RELEASE
from sandbox.tests.nodes.standins_machine import UNITS, Machine, needs_namespaces, wait_for

pytestmark = needs_namespaces

# sd_notify(3), as a service in Python would call it.
READY = """#!/usr/bin/python3
import os, socket, time
notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
notify.connect(os.environ["NOTIFY_SOCKET"])
notify.send(b"STATUS=x")
time.sleep(1)
notify.send(b"READY=1")
time.sleep(1000)
"""
ONESHOT = ("Type=oneshot", "RemainAfterExit=yes")


def enable_before_the_boot(machine, name):
    link = machine.path(f"{UNITS}multi-user.target.wants/{name}.service")
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(f"{UNITS}{name}.service")


@pytest.fixture(scope="module")
def machine(tmp_path_factory):
    """One machine for most tests, with units that are enabled before it boots."""
    with Machine(tmp_path_factory.mktemp("machine")) as made:
        made.unit("early", *ONESHOT, "ExecStart=/bin/sh -c 'cat /run/booted; echo $FROM_INIT'")
        made.unit("broken", "Type=oneshot", "Nice=5", "ExecStart=/bin/true")
        for name in ("early", "broken"):
            enable_before_the_boot(made, name)
        made.put("/etc/sysctl.d/90.conf", "net.ipv4.ip_forward = 1\n")
        made.put("/usr/local/bin/boot", "#!/bin/sh\nsleep 0.3\necho yes >/run/booted\n")
        made.boot("--env", "FROM_INIT=variable")
        wait_for("the end of the boot", lambda: made.state("early") == "active")
        yield made


def ended(done):
    return done.returncode, done.stderr.strip()


def test_the_boot_program_runs_first_and_then_what_is_enabled(machine):
    assert machine.journal("early") == ["yes", "variable"]
    refused = "broken.service:4: [Service] Nice is not implemented"
    wait_for("the error", lambda: refused in machine.text("/output"))
    assert machine.run("cat", "/proc/sys/net/ipv4/ip_forward").stdout == "1\n", "set at every boot"


def test_start_stop_restart_status(machine):
    name = machine.unit("plain", "ExecStart=/bin/sh -c 'echo run; exec sleep 1000'")
    assert machine.systemctl("status", name).returncode == 3
    for verb, lives in (("start", 1), ("start", 1), ("restart", 2), ("try-restart", 3)):
        assert ended(machine.systemctl(verb, name)) == (0, "")
        wait_for(f"life {lives}", lambda lives=lives: machine.journal("plain").count("run") == lives)
    assert machine.commands().count("sleep 1000") == 1
    assert machine.systemctl("status", name).returncode == 0
    assert machine.systemctl("stop", name).returncode == 0
    assert "sleep 1000" not in machine.commands()
    assert machine.systemctl("try-reload-or-restart", name).returncode == 0
    assert machine.state(name) == "inactive", "it did not run, so it still does not"


def test_a_oneshot_blocks_unless_told_otherwise(machine):
    name = machine.unit("slow", "Type=oneshot", "ExecStart=/bin/sleep 1")
    began = time.monotonic()
    assert machine.systemctl("start", "--no-block", name).returncode == 0
    assert time.monotonic() - began < 0.9
    assert machine.state(name) == "activating"
    assert machine.systemctl("start", name).returncode == 0, "joins the start that is under way"
    assert time.monotonic() - began >= 1.0
    assert machine.state(name) == "inactive"


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (("Type=oneshot", "ExecStart=/nowhere/at/all"), "Job for bad.service failed."),
        (("ExecStart=/bin/true", "EnvironmentFile=/nowhere/env"), "/nowhere/env does not exist"),
        (("ExecStart=/bin/true", "EnvironmentFile=/etc"), "/etc: "),
        (("ExecStart=/bin/true", "ExecStart=/bin/false"), "2 ExecStart lines"),
        (("ExecStart=/bin/true", "Restart=sometimes"), "Restart=sometimes is not implemented"),
    ],
)
def test_starts_that_cannot_work(machine, lines, words):
    code, message = ended(machine.systemctl("start", machine.unit("bad", *lines)))
    assert (code, words in message) == (1, True)
    assert machine.state("early") == "active", "process 1 goes on"


def test_a_failed_service_is_started_again_with_growing_pauses(machine):
    script = "#!/bin/bash\ndate +%s.%N >>/run/flaky\n[ $(wc -l </run/flaky) -ge 4 ]\n"
    machine.put("/usr/local/bin/flaky", script)
    restart = ("Restart=on-failure", "RestartSec=100ms", "RestartSteps=2", "RestartMaxDelaySec=900ms")
    lines = ("Type=oneshot", *restart, "ExecStart=/usr/local/bin/flaky")
    name = machine.unit("flaky", *lines, unit=("StartLimitIntervalSec=0",))
    assert machine.systemctl("start", name).returncode == 1
    assert machine.state(name) == "activating"
    wait_for("its success", lambda: len(machine.text("/run/flaky").split()) == 4)
    times = [float(line) for line in machine.text("/run/flaky").split()]
    for (early, late), wanted in zip(pairwise(times), (0.1, 0.3, 0.9), strict=True):
        assert wanted <= late - early < wanted + 0.5
    wait_for("its rest", lambda: machine.state(name) == "inactive")


def test_restart_always_also_after_a_success_and_the_start_limit_ends_it(machine):
    name = machine.unit("eager", "ExecStart=/bin/echo run", "Restart=always", "RestartSec=20ms")
    machine.systemctl("start", name)
    wait_for("the limit", lambda: machine.state(name) == "failed")
    assert machine.journal("eager").count("run") == 5


@pytest.mark.parametrize(
    ("lines", "gone", "kept"),
    [
        ((), {"sleep 2001", "sleep 2002"}, set()),
        (("KillMode=process",), {"sleep 2002"}, {"sleep 2001"}),  # as containerd's unit has it
    ],
)
def test_stopping_a_unit_ends_its_children_in_other_sessions_unless_killmode_says_otherwise(
    machine, lines, gone, kept
):
    name = machine.unit("family", "ExecStart=/bin/sh -c 'setsid sleep 2001 & exec sleep 2002'", *lines)
    machine.systemctl("start", name)
    wait_for("the family", lambda: gone | kept <= set(machine.commands()))
    assert machine.systemctl("stop", name).returncode == 0
    assert {"sleep 2001", "sleep 2002"} & set(machine.commands()) == kept
    machine.run("pkill", "-f", "sleep 2001")


def test_a_notify_service_is_active_once_it_says_so(machine):
    machine.put("/usr/local/bin/ready", READY)
    name = machine.unit("ready", "Type=notify", "ExecStart=/usr/local/bin/ready")
    began = time.monotonic()
    assert machine.systemctl("start", "--no-block", name).returncode == 0
    assert machine.state(name) == "activating"
    assert machine.systemctl("start", name).returncode == 0
    assert time.monotonic() - began >= 1.0
    assert machine.state(name) == "active"


@pytest.mark.parametrize(
    ("kind", "lines", "words"),
    [
        ("notify", ("ExecStart=/bin/sleep 0.2",), "before it was ready"),
        ("notify", ("TimeoutStartSec=500ms", "ExecStart=/bin/sleep 2031"), "timed out"),
        ("oneshot", ("TimeoutStartSec=500ms", "ExecStart=/bin/sh -c 'sleep 2031; true'"), "timed out"),
    ],
)
def test_a_start_that_does_not_end_fails_and_leaves_nothing(machine, kind, lines, words):
    name = machine.unit("late", f"Type={kind}", *lines)
    assert machine.systemctl("start", name).returncode == 1
    assert words in " ".join(machine.journal("late")[-2:])
    wait_for("its end", lambda: "sleep 2031" not in machine.commands())


def test_conditions(machine):
    unit = ("ConditionPathExists=/run/there",)
    name = machine.unit("if", "Type=oneshot", "ExecStart=/bin/echo run", unit=unit)
    assert machine.systemctl("start", name).returncode == 0
    assert "run" not in machine.journal("if")
    machine.put("/run/there", "")
    assert machine.systemctl("start", name).returncode == 0
    assert machine.journal("if").count("run") == 1


def test_dependencies_are_started_and_an_order_that_is_not_kept_is_refused(machine):
    machine.unit("wanted", *ONESHOT, "ExecStart=/bin/true")
    unit = ("Wants=wanted.service missing.service", "After=network-online.target")
    name = machine.unit("top", "Type=oneshot", "ExecStart=/bin/true", unit=unit)
    assert machine.systemctl("start", name).returncode == 0
    wait_for("the other", lambda: machine.state("wanted") == "active")
    assert "missing.service: Unit missing.service not found." in machine.text("/output")
    name = machine.unit("second", "ExecStart=/bin/true", unit=("After=wanted.service",))
    code, message = ended(machine.systemctl("start", name))
    assert (code, "an order with wanted.service is not implemented" in message) == (1, True)


def test_a_unit_that_was_changed_is_read_again(machine):
    name = machine.unit("edited", "Type=oneshot", "ExecStart=/bin/echo before")
    machine.systemctl("start", name)
    machine.put(f"{UNITS}{name}.d/10.conf", "[Service]\nExecStart=\nExecStart=/bin/echo after\n")
    assert machine.systemctl("daemon-reload").returncode == 0
    machine.systemctl("start", name)
    assert machine.journal("edited") == ["before", "after"]
    assert f"# {UNITS}{name}.d/10.conf\n[Service]" in machine.systemctl("cat", name).stdout


def test_timers(machine):
    machine.unit("soon", "Type=oneshot", "ExecStart=/bin/sh -c 'cut -d \" \" -f 1 /proc/uptime'")
    timer = "[Timer]\nOnBootSec=1s\nOnUnitActiveSec=1s\n[Install]\nWantedBy=timers.target\n"
    machine.put(f"{UNITS}soon.timer", timer)
    assert machine.systemctl("enable", "--now", "soon.timer").returncode == 0
    times = wait_for("three runs", lambda: (found := machine.journal("soon"))[2:] and found)
    assert machine.systemctl("disable", "--now", "soon.timer").returncode == 0
    assert machine.state("soon.timer") == "inactive"
    for early, late in pairwise(map(float, times[:3])):
        assert late - early == pytest.approx(1.0, abs=0.5)
    ran = len(machine.journal("soon"))
    time.sleep(1.3)
    assert len(machine.journal("soon")) == ran
    machine.put(f"{UNITS}odd.timer", "[Timer]\nOnCalendar=weekly\n")
    for _ in range(2):
        code, message = ended(machine.systemctl("start", "odd.timer"))
        assert (code, "OnCalendar=weekly is not implemented" in message) == (1, True)
        assert machine.state("odd.timer") == "inactive"


def test_enable_disable_mask(machine):
    name = machine.unit("mine", *ONESHOT, "ExecStart=/bin/true", install="WantedBy=multi-user.target")
    link = machine.path(f"{UNITS}multi-user.target.wants/{name}")
    assert machine.systemctl("is-enabled", name).stdout == "disabled\n"
    assert machine.systemctl("enable", name).returncode == 0
    assert link.is_symlink()
    assert machine.systemctl("is-enabled", "--quiet", name).returncode == 0
    assert machine.state(name) == "inactive"
    assert machine.systemctl("enable", "--now", "--no-block", name).returncode == 0
    wait_for("its start", lambda: machine.state(name) == "active")
    assert machine.systemctl("disable", "--now", name).returncode == 0
    assert (link.is_symlink(), machine.state(name)) == (False, "inactive")
    machine.put(
        "/usr/local/lib/kubepark-sandbox/units/packaged.service", "[Service]\nExecStart=/bin/sleep 2051\n"
    )
    machine.systemctl("start", "packaged")
    assert machine.systemctl("mask", "--now", "packaged").returncode == 0
    assert "sleep 2051" not in machine.commands()
    assert ended(machine.systemctl("start", "packaged")) == (1, "Unit packaged.service is masked.")
    assert machine.systemctl("is-enabled", "packaged").stdout == "masked\n"
    for verb, code in (("start", 5), ("stop", 5), ("status", 4), ("enable", 1), ("cat", 1), ("is-active", 3)):
        assert machine.systemctl(verb, "nothing").returncode == code, verb


def test_console_and_journal_both_get_the_output_and_the_exit_code_is_the_commands(machine):
    script = "ExecStart=/bin/sh -c 'echo out; echo err >&2; exit 7'"
    name = machine.unit("loud", "Type=oneshot", "StandardOutput=journal+console", script)
    assert machine.systemctl("start", name).returncode == 1
    assert machine.text("/console").split() == ["out", "err"]
    assert machine.journal("loud")[:2] == ["out", "err"]
    assert "status=7" in machine.journal("loud")[2]
    shown = machine.run("journalctl", "-u", "loud", "--no-pager", "-n", "2", "-o", "cat")
    assert shown.stdout.splitlines() == machine.journal("loud")[-2:]


# -- the end of a machine --------------------------------------------------------------------------


def test_the_power_button_stops_units_and_what_they_left_behind(tmp_path):
    with Machine(tmp_path) as machine:
        machine.boot()
        trap = "trap 'echo {}; exit 0' TERM; echo run; while :; do sleep 0.05; done"
        orphan = f'setsid env -u INVOCATION_ID bash -c "{trap.format("heard")}" &\n'
        machine.put("/usr/local/bin/polite", f"#!/bin/bash\n{orphan}{trap.format('stopped')}\n")
        name = machine.unit("polite", "KillMode=process", "ExecStart=/usr/local/bin/polite")
        machine.systemctl("start", name)
        wait_for("both traps", lambda: machine.journal("polite").count("run") == 2)
        os.kill(machine.pid, signal.SIGTERM)
        assert machine.off(5) == 0
        assert {"stopped", "heard"} <= set(machine.journal("polite"))


def test_a_reboot_ends_init_and_the_next_boot_starts_what_is_enabled(tmp_path):
    with Machine(tmp_path) as machine:
        machine.unit("first", *ONESHOT, "ExecStart=/bin/echo run")
        enable_before_the_boot(machine, "first")
        machine.boot()
        wait_for("the end of the boot", lambda: machine.journal("first") == ["run"])
        install = "WantedBy=multi-user.target"
        name = machine.unit("kept", *ONESHOT, "ExecStart=/bin/echo run", install=install)
        assert machine.systemctl("enable", name).returncode == 0
        assert machine.state(name) == "inactive", "without --now it waits for the next boot"
        machine.systemctl("reboot")  # the machine may end before the command does
        assert machine.off(12) == 0
        machine.path("/run/kubepark-init.sock").unlink()  # /run is empty at a real boot
        machine.boot()
        wait_for("its start", lambda: machine.journal("kept") == ["run"])


def test_a_boot_takes_the_newest_kernel_that_was_installed(tmp_path):
    before = RELEASE.read_text()
    with Machine(tmp_path) as machine:
        for release in ("98.0.0-1009-aws", "98.0.0-1010-aws", "9.10-aws"):
            machine.put(f"{KERNELS}/{release}", "")
        machine.boot()
        assert machine.run("cat", str(RELEASE)).stdout == "98.0.0-1010-aws\n"
    assert RELEASE.read_text() == before
