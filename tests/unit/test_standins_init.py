"""The stand-in for systemd as process 1 of a machine of namespaces, asked by its own systemctl."""

from __future__ import annotations

import json
import threading
import time
from itertools import pairwise

import psutil
import pytest

from tests.unit.standins_machine import IDLE, Machine, needs_namespaces, wait_for

pytestmark = needs_namespaces

# sd_notify(3) in one line, as a service in Python would say it.
NOTIFY = "import os, socket; s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); s.connect(os.environ['NOTIFY_SOCKET'])"
UNITS = "/etc/systemd/system/"


def service(machine, name, *lines, unit=(), install=""):
    text = "\n".join(["[Unit]", *unit, "[Service]", *lines, *(["[Install]", install] if install else [])])
    machine.put(f"{UNITS}{name}.service", text + "\n")
    return f"{name}.service"


def systemctl(machine, *words):
    return machine.run("systemctl", *words)


def enable_before_the_boot(machine, name):
    link = machine.path(f"{UNITS}multi-user.target.wants/{name}.service")
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(f"{UNITS}{name}.service")


def state(machine, name):
    return systemctl(machine, "is-active", name).stdout.strip()


def journal(machine, name):
    return machine.text(f"/var/log/kubepark-journal/{name}.service.log")


def count(machine, name, word="run"):
    return journal(machine, name).splitlines().count(word)


@pytest.fixture(scope="module")
def machine(tmp_path_factory):
    """One machine for most tests, with a unit that is enabled before it boots."""
    with Machine(tmp_path_factory.mktemp("machine")) as made:
        service(
            made,
            "early",
            "Type=oneshot",
            "RemainAfterExit=yes",
            "ExecStart=/bin/sh -c 'cat /run/booted; echo $FROM_INIT'",
        )
        service(made, "broken", "Type=oneshot", "Nice=5", "ExecStart=/bin/true")
        for name in ("early", "broken"):
            enable_before_the_boot(made, name)
        made.put("/etc/sysctl.d/90.conf", "net.ipv4.ip_forward = 1\n")
        made.put("/usr/local/bin/boot", "#!/bin/sh\nsleep 0.3\necho yes >/run/booted\n")
        made.boot("--env", "FROM_INIT=variable")
        yield made


@pytest.fixture(scope="module", autouse=True)
def deaf(tmp_path_factory):
    """A machine with a unit that ignores SIGTERM; its power button is pressed while other tests run.

    Gives the thread that waits for its end, the seconds that it took, and what ran there.
    """
    with Machine(tmp_path_factory.mktemp("deaf")) as made:
        made.boot()
        made.put("/usr/local/bin/deaf", "#!/bin/bash\ntrap '' TERM\necho run\nsleep 1000\n")
        service(made, "deaf", "ExecStart=/usr/local/bin/deaf")
        systemctl(made, "start", "deaf")
        wait_for("its trap", lambda: count(made, "deaf") == 1)
        processes, seconds = made.processes(), []
        waiting = threading.Thread(target=lambda: seconds.append(made.power_button(60)))
        waiting.start()
        yield waiting, seconds, processes
        waiting.join()


def test_the_boot_program_runs_first_and_then_what_is_enabled(machine):
    wait_for("the unit", lambda: state(machine, "early") == "active")
    assert journal(machine, "early").splitlines() == ["yes", "variable"]
    wait_for(
        "the complaint",
        lambda: "broken.service:4: [Service] Nice is not implemented" in machine.text("/output"),
    )
    assert machine.run("cat", "/proc/sys/net/ipv4/ip_forward").stdout == "1\n", (
        "settings are made at every boot"
    )
    assert machine.run("cat", "/proc/1/comm").stdout in ("python3\n", "init.py\n")


def test_start_stop_restart(machine):
    name = service(machine, "plain", "ExecStart=/bin/sh -c 'echo run; exec sleep 1000'")
    assert systemctl(machine, "is-active", name).returncode == 3
    assert systemctl(machine, "start", "plain").returncode == 0
    assert state(machine, name) == "active"
    assert systemctl(machine, "start", name).returncode == 0, "again: nothing happens"
    wait_for("its output", lambda: count(machine, "plain") == 1)
    assert systemctl(machine, "restart", name).returncode == 0
    wait_for("its second life", lambda: count(machine, "plain") == 2)
    assert machine.commands().count("sleep 1000") == 1
    assert systemctl(machine, "try-restart", name).returncode == 0
    wait_for("its third life", lambda: count(machine, "plain") == 3)
    assert systemctl(machine, "stop", name).returncode == 0
    assert state(machine, name) == "inactive"
    assert "sleep 1000" not in machine.commands()
    assert systemctl(machine, "try-reload-or-restart", name).returncode == 0
    assert state(machine, name) == "inactive", "it did not run, so it still does not"


def test_status_as_kubeadm_asks_for_it(machine):
    name = service(machine, "asked", "Type=oneshot", "RemainAfterExit=yes", "ExecStart=/bin/true")
    before = systemctl(machine, "status", name)
    assert (before.returncode, before.stdout.split()) == (
        3,
        [name, "Loaded:", "loaded", "(static)", "Active:", "inactive"],
    )
    systemctl(machine, "start", name)
    assert systemctl(machine, "status", name).returncode == 0
    missing = systemctl(machine, "status", "nothing")
    assert (missing.returncode, missing.stderr) == (4, "Unit nothing.service could not be found.\n")


def test_a_oneshot_blocks_unless_told_otherwise(machine):
    name = service(machine, "slow", "Type=oneshot", "ExecStart=/bin/sleep 1")
    began = time.monotonic()
    assert systemctl(machine, "start", "--no-block", name).returncode == 0
    assert time.monotonic() - began < 0.9
    assert state(machine, name) == "activating"
    assert systemctl(machine, "start", name).returncode == 0, "joins the start that is under way"
    assert time.monotonic() - began >= 1.0
    assert state(machine, name) == "inactive"


def test_a_oneshot_runs_its_lines_in_order_and_stops_at_the_first_failure(machine):
    lines = [
        f"ExecStart={line}"
        for line in ("/bin/echo one", "-/bin/false", "/bin/echo two", "/bin/false", "/bin/echo no")
    ]
    name = service(machine, "lines", "Type=oneshot", "ExecStartPre=/bin/echo zero", *lines)
    failed = systemctl(machine, "start", name)
    assert (failed.returncode, failed.stdout) == (1, "")
    assert failed.stderr == "Job for lines.service failed.\n"
    said = journal(machine, "lines").splitlines()
    assert said[:3] == ["zero", "one", "two"]
    assert said[3:] == ["systemd: lines.service: Main process exited, code=exited, status=1"]
    assert state(machine, name) == "failed"


@pytest.mark.parametrize(
    ("lines", "code", "words"),
    [
        (["ExecStart=/nowhere/at/all"], 0, "/nowhere/at/all: No such file or directory"),
        (["Type=oneshot", "ExecStart=/nowhere/at/all"], 1, "/nowhere/at/all: No such file or directory"),
        (["ExecStart=/bin/true", "EnvironmentFile=/nowhere/env"], 1, "/nowhere/env does not exist"),
        (["ExecStart=/bin/true 'open"], 1, "No closing quotation"),
        (["ExecStart=/bin/true", "ExecStart=/bin/false"], 1, "2 ExecStart lines"),
        (["Type=oneshot"], 1, "0 ExecStart lines"),
        (["ExecStart=/bin/true", "Restart=sometimes"], 1, "Restart=sometimes is not implemented"),
    ],
)
def test_starts_that_cannot_work(machine, lines, code, words, request):
    name = service(machine, f"bad-{abs(hash(request.node.name))}", *lines)
    done = systemctl(machine, "start", name)
    assert done.returncode == code
    said = journal(machine, name.removesuffix(".service")) if "nowhere/at" in words else done.stderr
    wait_for(words, lambda: words in (said or journal(machine, name.removesuffix(".service"))))
    assert systemctl(machine, "is-active", "early").returncode == 0, "process 1 bears it"


@pytest.mark.parametrize("verb", ["start", "stop", "restart"])
def test_units_that_are_not_there(machine, verb):
    done = systemctl(machine, verb, "nothing")
    assert (done.returncode, done.stderr) == (5, "Unit nothing.service not found.\n")


def test_a_failed_service_is_started_again_with_growing_pauses(machine):
    script = "#!/bin/bash\ndate +%s.%N >>/run/flaky\n[ $(wc -l </run/flaky) -ge 4 ]\n"
    machine.put("/usr/local/bin/flaky", script)
    name = service(
        machine,
        "flaky",
        *(
            "Type=oneshot",
            "Restart=on-failure",
            "RestartSec=100ms",
            "RestartSteps=2",
            "RestartMaxDelaySec=900ms",
        ),
        "ExecStart=/usr/local/bin/flaky",
        unit=("StartLimitIntervalSec=0",),
    )
    failed = systemctl(machine, "start", name)
    assert (failed.returncode, failed.stderr) == (1, "Job for flaky.service failed.\n")
    assert state(machine, name) == "activating"
    wait_for("its success", lambda: len(machine.text("/run/flaky").split()) == 4)
    times = [float(line) for line in machine.text("/run/flaky").split()]
    pauses = [late - early for early, late in pairwise(times)]
    for pause, wanted in zip(pauses, (0.1, 0.3, 0.9), strict=True):
        assert wanted <= pause < wanted + 0.5
    wait_for("its rest", lambda: state(machine, name) == "inactive")


def test_restart_always_also_after_a_success_and_the_start_limit_ends_it(machine):
    name = service(machine, "eager", "ExecStart=/bin/echo run", "Restart=always", "RestartSec=20ms")
    systemctl(machine, "start", name)
    wait_for("the limit", lambda: "Start request repeated too quickly." in journal(machine, "eager"))
    assert count(machine, "eager") == 5
    assert state(machine, name) == "failed"
    again = systemctl(machine, "start", name)
    assert (again.returncode, again.stderr) == (1, "eager.service: Start request repeated too quickly.\n")


def test_a_clean_signal_is_no_failure_of_a_daemon(machine):
    name = service(
        machine, "daemon", "ExecStart=/bin/sh -c 'echo run; kill -TERM $$$$; sleep 9'", "Restart=on-failure"
    )
    systemctl(machine, "start", name)
    wait_for("its end", lambda: state(machine, name) == "inactive")
    name = service(machine, "killed", "ExecStart=/bin/sh -c 'kill -KILL $$$$; sleep 9'")
    systemctl(machine, "start", name)
    wait_for("its failure", lambda: state(machine, name) == "failed")
    assert "code=killed, status=9" in journal(machine, "killed")


def test_stopping_a_unit_ends_its_children_in_other_sessions_too(machine):
    name = service(
        machine,
        "family",
        "ExecStart=/bin/sh -c 'setsid sleep 2001 & setsid setsid sleep 2002 & exec sleep 2003'",
    )
    systemctl(machine, "start", name)
    family = {f"sleep 200{number}" for number in (1, 2, 3)}
    wait_for("the family", lambda: family <= set(machine.commands()))
    assert systemctl(machine, "stop", name).returncode == 0
    assert not family & set(machine.commands())


def test_a_unit_whose_main_process_fails_leaves_nothing_behind(machine):
    name = service(machine, "orphaned", "ExecStart=/bin/sh -c 'setsid sleep 2011 & sleep 0.2; exit 3'")
    systemctl(machine, "start", name)
    wait_for("its failure", lambda: state(machine, name) == "failed")
    wait_for("the end of its child", lambda: "sleep 2011" not in machine.commands())


def test_with_killmode_process_the_children_stay(machine):
    name = service(
        machine, "parent", "ExecStart=/bin/sh -c 'setsid sleep 2021 & exec sleep 2022'", "KillMode=process"
    )
    systemctl(machine, "start", name)
    wait_for("both", lambda: {"sleep 2021", "sleep 2022"} <= set(machine.commands()))
    systemctl(machine, "stop", name)
    assert "sleep 2022" not in machine.commands()
    assert "sleep 2021" in machine.commands()
    machine.run("pkill", "-f", "sleep 2021")


def test_a_notify_service_is_active_once_it_says_so(machine):
    machine.put(
        "/usr/local/bin/ready",
        f"#!/usr/bin/python3\nimport time; {NOTIFY}\ns.send(b'STATUS=x')\ntime.sleep(1)\ns.send(b'READY=1')\ntime.sleep(1000)\n",
    )
    name = service(machine, "ready", "Type=notify", "ExecStart=/usr/local/bin/ready")
    began = time.monotonic()
    assert systemctl(machine, "start", "--no-block", name).returncode == 0
    assert state(machine, name) == "activating"
    assert systemctl(machine, "start", name).returncode == 0
    assert time.monotonic() - began >= 1.0
    assert state(machine, name) == "active"
    systemctl(machine, "stop", name)


def test_a_notify_service_that_never_says_so_fails(machine):
    name = service(machine, "mute", "Type=notify", "ExecStart=/bin/sleep 0.2")
    done = systemctl(machine, "start", name)
    assert (done.returncode, state(machine, name)) == (1, "failed")
    assert "before it was ready" in journal(machine, "mute")
    name = service(
        machine,
        "late",
        "Type=notify",
        "KillMode=process",
        "TimeoutStartSec=500ms",
        "ExecStart=/bin/sleep 2031",
    )
    assert systemctl(machine, "start", name).returncode == 1
    assert "start operation timed out" in journal(machine, "late")
    assert "sleep 2031" not in machine.commands()


def test_a_oneshot_that_takes_too_long_is_ended(machine):
    name = service(
        machine, "endless", "Type=oneshot", "TimeoutStartSec=500ms", "ExecStart=/bin/sh -c 'sleep 2041; true'"
    )
    assert systemctl(machine, "start", name).returncode == 1
    wait_for("its end", lambda: "sleep 2041" not in machine.commands())


def test_conditions(machine):
    name = service(
        machine, "if", "Type=oneshot", "ExecStart=/bin/echo run", unit=("ConditionPathExists=/run/there",)
    )
    assert systemctl(machine, "start", name).returncode == 0
    assert (
        journal(machine, "if")
        == "systemd: if.service: Condition check resulted in if.service being skipped: /run/there\n"
    )
    machine.put("/run/there", "")
    systemctl(machine, "start", name)
    assert count(machine, "if") == 1
    name = service(
        machine,
        "unless",
        "Type=oneshot",
        "ExecStart=/bin/echo run",
        unit=("ConditionPathExists=!/run/there",),
    )
    systemctl(machine, "start", name)
    assert count(machine, "unless") == 0


def test_dependencies_are_started(machine):
    for name in ("wanted", "needed"):
        service(machine, name, "Type=oneshot", "RemainAfterExit=yes", "ExecStart=/bin/true")
    order = "After=network-online.target"
    name = service(
        machine,
        "top",
        "Type=oneshot",
        "ExecStart=/bin/true",
        unit=("Wants=wanted.service missing.service", "Requires=needed.service", order),
    )
    assert systemctl(machine, "start", name).returncode == 0
    wait_for("both", lambda: [state(machine, each) for each in ("wanted", "needed")] == ["active"] * 2)
    assert "missing.service: Unit missing.service not found." in machine.text("/output")
    name = service(machine, "second", "ExecStart=/bin/true", unit=("After=needed.service",))
    refused = systemctl(machine, "start", name)
    assert (refused.returncode, refused.stderr) == (
        1,
        "second.service: an order with needed.service is not implemented\n",
    )


def test_a_unit_that_was_changed_is_read_again(machine):
    name = service(machine, "edited", "Type=oneshot", "ExecStart=/bin/echo before")
    systemctl(machine, "start", name)
    machine.put(f"{UNITS}{name}.d/10.conf", "[Service]\nExecStart=\nExecStart=/bin/echo after\n")
    assert systemctl(machine, "daemon-reload").returncode == 0
    systemctl(machine, "start", name)
    assert journal(machine, "edited").split() == ["before", "after"]
    shown = systemctl(machine, "cat", name)
    assert shown.returncode == 0
    assert f"# {UNITS}{name}\n[Unit]" in shown.stdout
    assert f"# {UNITS}{name}.d/10.conf\n[Service]" in shown.stdout


def test_timers(machine):
    service(machine, "soon", "Type=oneshot", "ExecStart=/bin/sh -c 'cut -d \" \" -f 1 /proc/uptime'")
    timer = "[Timer]\nOnBootSec=1s\nOnUnitActiveSec=1s\n[Install]\nWantedBy=timers.target\n"
    machine.put(f"{UNITS}soon.timer", timer)
    assert systemctl(machine, "enable", "--now", "soon.timer").returncode == 0
    assert systemctl(machine, "is-active", "soon.timer").returncode == 0
    times = wait_for("three runs", lambda: (found := journal(machine, "soon").split())[2:] and found)
    assert systemctl(machine, "disable", "--now", "soon.timer").returncode == 0
    assert systemctl(machine, "is-active", "soon.timer").returncode == 3
    assert float(times[1]) - float(times[0]) == pytest.approx(1.0, abs=0.5)
    assert float(times[2]) - float(times[1]) == pytest.approx(1.0, abs=0.5)
    ran = len(journal(machine, "soon").split())
    time.sleep(1.3)
    assert len(journal(machine, "soon").split()) == ran
    machine.put(f"{UNITS}odd.timer", "[Timer]\nOnCalendar=weekly\n")
    refused = systemctl(machine, "start", "odd.timer")
    assert (refused.returncode, refused.stderr) == (1, "odd.timer: OnCalendar=weekly is not implemented\n")


def test_enable_disable_mask(machine):
    name = service(
        machine,
        "mine",
        "Type=oneshot",
        "RemainAfterExit=yes",
        "ExecStart=/bin/true",
        install="WantedBy=multi-user.target",
    )
    link = machine.path(f"{UNITS}multi-user.target.wants/{name}")
    first = systemctl(machine, "is-enabled", name)
    assert (first.returncode, first.stdout) == (1, "disabled\n")
    assert systemctl(machine, "enable", name).returncode == 0
    assert link.is_symlink()
    enabled = systemctl(machine, "is-enabled", "--quiet", name)
    assert (enabled.returncode, enabled.stdout) == (0, "")
    assert state(machine, name) == "inactive"
    assert systemctl(machine, "enable", "--now", "--no-block", name).returncode == 0
    wait_for("its start", lambda: state(machine, name) == "active")
    assert systemctl(machine, "disable", "--now", name).returncode == 0
    assert not link.is_symlink()
    assert state(machine, name) == "inactive"
    in_the_way = systemctl(machine, "mask", name)
    assert (in_the_way.returncode, in_the_way.stderr) == (
        1,
        f"Failed to mask unit: File '{UNITS}{name}' already exists.\n",
    )
    for verb in ("enable", "disable", "cat", "is-enabled"):
        missing = systemctl(machine, verb, "nothing")
        assert (missing.returncode, missing.stderr) == (1, "Unit file nothing.service does not exist.\n")
    assert systemctl(machine, "is-active", "nothing").returncode == 3


def test_a_unit_of_a_package_is_masked_by_a_link(machine):
    units = "/usr/local/lib/kubepark-sandbox/units/"
    machine.put(f"{units}packaged.service", "[Service]\nExecStart=/bin/sleep 2051\n")
    systemctl(machine, "start", "packaged")
    assert systemctl(machine, "is-enabled", "packaged").stdout == "static\n"
    assert systemctl(machine, "mask", "--now", "packaged").returncode == 0
    assert "sleep 2051" not in machine.commands()
    assert machine.path(f"{UNITS}packaged.service").readlink().as_posix() == "/dev/null"
    refused = systemctl(machine, "start", "packaged")
    assert (refused.returncode, refused.stderr) == (1, "Unit packaged.service is masked.\n")
    refused = systemctl(machine, "enable", "packaged")
    assert (refused.returncode, refused.stderr) == (
        1,
        "Failed to enable unit: Unit file packaged.service is masked.\n",
    )
    asked = systemctl(machine, "is-enabled", "packaged")
    assert (asked.returncode, asked.stdout) == (1, "masked\n")


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["kill", "early"],
        ["start"],
        ["start", "--force", "early"],
        ["start", "--now", "early"],
        ["daemon-reload", "early"],
        ["list-units"],
        ["list-units", "--type", "service", "--all", "--plain", "--no-legend"],
        ["is-active", "--type", "swap", "early"],
        ["--user", "start", "early"],
    ],
)
def test_what_systemctl_does_not_know_is_an_error_and_recorded(machine, words):
    done = systemctl(machine, *words)
    assert done.returncode == 64
    assert done.stderr.startswith("systemctl: this stand-in does not know: ")
    record = json.loads(machine.text("/var/log/kubepark-sandbox.jsonl").splitlines()[-1])
    assert (record["command"], record["code"]) == (["systemctl", *words], 64)


def test_there_are_no_swap_units(machine):
    done = systemctl(machine, "list-units", "--type", "swap", "--all", "--plain", "--no-legend")
    assert (done.returncode, done.stdout) == (0, "")


def test_console_and_journal_both_get_the_output_and_the_exit_code_is_the_commands(machine):
    name = service(
        machine,
        "loud",
        "Type=oneshot",
        "StandardOutput=journal+console",
        "ExecStart=/bin/sh -c 'echo out; echo err >&2; exit 7'",
    )
    assert systemctl(machine, "start", name).returncode == 1
    assert machine.text("/console").split() == ["out", "err"]
    assert journal(machine, "loud").splitlines()[:2] == ["out", "err"]
    assert "status=7" in journal(machine, "loud")


def test_journalctl_shows_the_last_lines(machine):
    name = service(machine, "talk", "Type=oneshot", "ExecStart=/bin/seq 1 50")
    systemctl(machine, "start", name)
    shown = machine.run("journalctl", "-u", "talk", "--no-pager", "-n", "3", "-o", "cat")
    assert (shown.returncode, shown.stdout) == (0, "48\n49\n50\n")
    assert machine.run("journalctl", "-u", name).stdout.split() == [str(number) for number in range(1, 51)]
    assert machine.run("journalctl", "-u", "silent", "-n", "5").stdout == "-- No entries --\n"


def test_orphans_are_reaped(machine):
    name = service(
        machine,
        "litter",
        "Type=oneshot",
        "RemainAfterExit=yes",
        "ExecStart=/bin/sh -c 'for i in 1 2 3 4 5; do (sleep 0.3 &); done'",
    )
    systemctl(machine, "start", name)
    wait_for("the orphans' end", lambda: "sleep 0.3" not in machine.commands())
    wait_for(
        "no zombie",
        lambda: not [each for each in machine.processes() if each.status() == psutil.STATUS_ZOMBIE],
    )


def test_a_client_that_goes_away_does_no_harm(machine):
    name = service(machine, "patience", "Type=oneshot", "ExecStart=/bin/sleep 0.6")
    gone = machine.run("timeout", "0.3", "systemctl", "start", name)
    assert gone.returncode == 124
    wait_for("its end", lambda: state(machine, name) == "inactive")


# -- the end of a machine --------------------------------------------------------------------------


@pytest.fixture
def other(tmp_path):
    with Machine(tmp_path) as made:
        yield made


def test_the_power_button_stops_units_and_ends_the_machine(other):
    other.boot()
    trap = "trap 'echo stopped; exit 0' TERM; echo run; while :; do sleep 0.1; done"
    other.put("/usr/local/bin/polite", f"#!/bin/bash\n{trap}\n")
    service(other, "polite", "ExecStart=/usr/local/bin/polite")
    service(other, "idle", "ExecStart=/bin/sleep 1000", "Restart=always", "RestartSec=50ms")
    for name in ("polite", "idle"):
        assert systemctl(other, "start", name).returncode == 0
    wait_for("its trap", lambda: count(other, "polite") == 1)
    assert other.power_button(12) < 5
    assert count(other, "polite", "stopped") == 1
    assert other.off(0) == 0


def test_a_unit_that_does_not_hear_delays_the_end_by_ten_seconds_only(deaf):
    waiting, seconds, processes = deaf
    waiting.join()
    assert 9 < seconds[0] < 12
    assert not [each for each in processes if each.is_running()]


def test_a_reboot_ends_init_and_the_next_boot_starts_what_is_enabled(other):
    service(other, "first", "Type=oneshot", "RemainAfterExit=yes", "ExecStart=/bin/echo run")
    enable_before_the_boot(other, "first")
    other.boot()
    wait_for("the end of the boot", lambda: count(other, "first") == 1)
    service(
        other,
        "kept",
        "Type=oneshot",
        "RemainAfterExit=yes",
        "ExecStart=/bin/echo run",
        install="WantedBy=multi-user.target",
    )
    assert systemctl(other, "enable", "kept").returncode == 0
    assert state(other, "kept") == "inactive", "without --now it waits for the next boot"
    assert systemctl(other, "reboot").returncode in (0, -9, -15), (
        "the machine may end before the command does"
    )
    assert other.off(12) == 0
    other.path("/run/kubepark-init.sock").unlink()  # /run is empty at a real boot
    other.boot()
    wait_for("its start", lambda: count(other, "kept") == 1)


def test_without_init_systemctl_says_so(tmp_path):
    with Machine(tmp_path) as made:
        lonely = systemctl(made.start(*IDLE), "start", "kept")
    assert lonely.returncode == 1
    assert lonely.stderr.startswith("Failed to connect to bus: ")
