"""Unit files as the systemd stand-in reads them: what userdata and packages ship, and what is refused."""

from __future__ import annotations

import json
import os
import time

import pytest

from sandbox.nodes.real.packages import VERSIONS, packages
from sandbox.nodes.standins import service as service_module
from sandbox.nodes.standins import timers as timers_module
from sandbox.nodes.standins.service import Service
from sandbox.nodes.standins.timers import Timers
from sandbox.nodes.standins.units import UnitError, command, environment, load, span
from tests.userdata_sample import ROLES, files

UNITS = "/etc/systemd/system/"
DAY = 86400.0


def write(folder, name, text):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def unit(folder, text, name="x.service"):
    write(folder, name, text)
    found = load(name, [folder])
    assert found is not None
    return found


def service(*lines):
    return "\n".join(["[Service]", *lines, ""])


@pytest.mark.parametrize("role", ROLES)
def test_every_unit_of_the_user_data_is_understood(role, tmp_path):
    shipped = {path.removeprefix(UNITS): text for path, text in files(role).items() if path.startswith(UNITS)}
    assert "kubepark-bootstrap.service" in shipped
    for name, text in shipped.items():
        found = unit(tmp_path, text, name)
        if name.endswith(".service"):
            for line in found.all("ExecStart"):
                (program,) = command(line, {})
                assert program in files(role)
        else:
            assert name.removesuffix(".timer") + ".service" in shipped
            timers = Timers(lambda _: None, time.monotonic())
            timers.start(found)
            assert timers.next() > time.monotonic() + 60


def test_the_units_of_packages_are_understood(tmp_path):
    write(tmp_path, VERSIONS, json.dumps({"kubernetes": "v1.36.4", "containerd": "v2.3.0"}))
    for package in packages(tmp_path).values():
        for path, text in package["text"].items():
            if "/units/" in path:
                write(tmp_path, path.partition("/units/")[2], text)
    containerd, kubelet = (load(f"{name}.service", [tmp_path]) for name in ("containerd", "kubelet"))
    assert (containerd.one("Type"), containerd.one("KillMode")) == ("notify", "process")
    # The drop-in takes the program's line away and puts its own in place; files that are not there are fine.
    (line,) = kubelet.all("ExecStart")
    words = command(line, environment(kubelet, {"KUBELET_EXTRA_ARGS": "--v=2 --x"}))
    assert words[:2] == ["/usr/bin/kubelet", "--bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf"]
    assert words[-2:] == ["--v=2", "--x"]
    assert not [word for word in words if "$" in word]


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("[Unit]\nDescription=x\n\n[Socket]\nListenStream=1\n", 4, "[Socket]"),
        ("[Service]\nType=oneshot\nMemoryMax=1G\n", 3, "[Service] MemoryMax"),
        ("[Unit]\n# a comment\n; another\nDescription\n", 4, "[Unit] Description"),
        ("[Service]\nType=forking\n", 2, "Type=forking"),
        ("[Service]\nRestart=on-abnormal\n", 2, "Restart=on-abnormal"),
        ("[Service]\nKillMode=mixed\n", 2, "KillMode=mixed"),
        ("[Service]\nRestartSec=soon\n", 2, "RestartSec"),
        ("[Service]\nRestartSteps=few\n", 2, "RestartSteps"),
        ("[Service]\nExecStart=/bin/echo \\\n  more\n", 2, "ExecStart"),
        ("[Service]\nRemainAfterExit=perhaps\n", 2, "RemainAfterExit=perhaps"),
        ("[Service]\nEnvironment=NAME=%n\n", 2, "Environment"),
        ("[Unit]\nConditionPathExists=|/one/of/several\n", 2, "ConditionPathExists"),
        ("[Unit]\nConditionPathExists=!/there\n", 2, "ConditionPathExists"),
        ("[Unit]\nRequires=other.service\n", 2, "Requires"),
        ("[Install]\nWantedBy=graphical.target\n", 2, "WantedBy=graphical.target"),
    ],
)
def test_what_is_not_known_is_refused_by_file_line_and_directive(text, line, what, tmp_path):
    for name in ("x.service", "y.service.d/10.conf"):
        write(tmp_path, "y.service", service("ExecStart=/bin/true"))
        path = write(tmp_path, name, text)
        with pytest.raises(UnitError) as caught:
            load(name.partition(".d/")[0], [tmp_path])
        message = str(caught.value)
        assert message.startswith(f"{path}:{line}: ")
        assert f"{what} is not implemented" in message


def test_drop_ins_of_all_folders_apply_by_name_and_the_first_folder_has_the_unit(tmp_path):
    own, vendor = tmp_path / "own", tmp_path / "vendor"
    write(own, "x.service", service("ExecStart=/own", "RestartSec=1s", "Environment=A=own"))
    write(vendor, "x.service", service("ExecStart=/vendor"))
    write(vendor, "x.service.d/20-late.conf", service("RestartSec=3s"))
    write(own, "x.service.d/10-early.conf", service("RestartSec=2s", "Environment=B=early"))
    found = load("x.service", [own, vendor])
    assert found.all("ExecStart") == ["/own"]
    assert found.seconds("RestartSec", 0) == 3.0
    assert environment(found, {}) == {"A": "own", "B": "early"}
    assert load("y.service", [own, vendor]) is None


def test_an_empty_assignment_takes_back_what_was_assigned_and_dependencies_can_only_be_added(tmp_path):
    write(tmp_path, "x.service", "[Unit]\nAfter=network.target\nConditionPathExists=/no\n" + service(
        "ExecStart=/one", "Environment=A=1", "Restart=always"
    ))  # fmt: skip
    write(tmp_path, "x.service.d/10.conf", "[Unit]\nAfter=\nConditionPathExists=\n" + service(
        "ExecStart=", "ExecStart=/two", "Environment=", "Restart="
    ))  # fmt: skip
    found = load("x.service", [tmp_path])
    assert found.all("ExecStart") == ["/two"]
    assert (found.all("ConditionPathExists"), environment(found, {}), found.one("Restart")) == ([], {}, "")
    assert found.words("After") == ["network.target"]


SPANS = {"15": 15, "2min": 120, "1h 30min": 5400, "1h30min": 5400, "500ms": 0.5}


@pytest.mark.parametrize(("text", "seconds"), SPANS.items())
def test_time_spans(text, seconds):
    assert span(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "-5", "5x", "5 min later", "5m"])
def test_what_is_no_time_span(text):
    with pytest.raises(UnitError, match="not a time span"):
        span(text)


def test_environment_files(tmp_path):
    there = write(tmp_path, "env", "# no\n; no\n\nA=one\nB=\"two words\"\nC='x' y\n")
    lines = (f"EnvironmentFile=-{tmp_path}/missing", "Environment=A=0 D=4", f"EnvironmentFile={there}")
    assert environment(unit(tmp_path, service(*lines)), {"D": "base", "E": "5"}) == {
        "A": "one", "B": "two words", "C": "x y", "D": "4", "E": "5",
    }  # fmt: skip


@pytest.mark.parametrize(
    "line",
    ["Environment=A", "Environment=1A=x", 'Environment="A=open', "EnvironmentFile=/no", "EnvironmentFile={}"],
)
def test_variables_that_are_refused(line, tmp_path):
    for content in (b"A=1\nexport B=2\n", b"NAME=\xff\n"):
        (tmp_path / "env").write_bytes(content)
        with pytest.raises(UnitError):
            environment(unit(tmp_path, service(line.format(tmp_path / "env"))), {})


VARIABLES = {"ONE": "one", "TWO": "two two", "QUOTED": "'two two' too", "EMPTY": ""}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("/bin/echo $ONE $TWO ${TWO}", ["/bin/echo", "one", "two", "two", "two two"]),
        ("/bin/echo $QUOTED pre${NONE}post", ["/bin/echo", "two two", "too", "prepost"]),
        ("/bin/echo a$ONE $$ONE", ["/bin/echo", "a$ONE", "$ONE"]),
    ],
)
def test_command_lines(line, words):
    assert command(line, VARIABLES) == words


@pytest.mark.parametrize("line", ["echo", "-/bin/echo x", "${ONE} x", "/bin/echo %i", "", "/bin/echo 'x"])
def test_command_lines_that_are_refused(line):
    with pytest.raises(UnitError):
        command(line, VARIABLES)


# -- restarts, as the service counts them ---------------------------------------------------------


@pytest.fixture
def clock(tmp_path, monkeypatch):
    """A clock that stands still, and a journal of our own."""
    at = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: at[0])
    monkeypatch.setattr(service_module, "JOURNAL", tmp_path / "journal")
    return at


@pytest.fixture
def failing(tmp_path, monkeypatch, clock):
    """Makes a started service whose process fails at once, without one being made."""

    def make(*lines, interval="0"):
        section = f"[Unit]\nStartLimitIntervalSec={interval}\n"
        made = Service(unit(tmp_path, section + service("ExecStart=/bin/false", *lines)), {})
        monkeypatch.setattr(made, "_spawn", lambda arguments: 999_999_999)
        monkeypatch.setattr(made, "processes", list)
        made.start()
        return made

    return make


def pauses(made, clock, count):
    """Seconds before each of the next starts."""
    found = []
    for _ in range(count):
        made.ended(999_999_999, 1)
        if made.due is None:
            break
        found.append(round(made.due - clock[0], 2))
        clock[0] = made.due
        made.tick()
    return found


def test_pauses_grow_in_steps_to_the_longest(failing, clock):
    """systemd.service(5): RestartSec=15s, RestartSteps=6, RestartMaxDelaySec=5min, as the bootstrap has it."""
    growing = ("RestartSec=15s", "RestartSteps=6", "RestartMaxDelaySec=5min")
    made = failing("Type=oneshot", "Restart=on-failure", *growing)
    factor = (300 / 15) ** (1 / 6)
    assert pauses(made, clock, 8) == [round(15 * factor**number, 2) for number in range(6)] + [300.0, 300.0]
    made.ended(999_999_999, 0)  # it worked at last
    made.start()
    assert pauses(made, clock, 1) == [15.0], "after a success it begins anew"


@pytest.mark.parametrize(
    ("pause", "interval", "wanted"),
    [("10", "0", [10.0] * 9), ("1", "3", [1.0] * 9), ("100ms", "10", [0.1] * 5)],
)
def test_the_start_limit(pause, interval, wanted, failing, clock):
    """Five starts within the interval; 0 is no limit."""
    made = failing("Restart=always", f"RestartSec={pause}", interval=interval)
    assert pauses(made, clock, 9) == wanted
    if len(wanted) == 5:
        assert made.state == "failed"
        with pytest.raises(UnitError, match="repeated too quickly"):
            made.start()
        clock[0] += 10.0
        made.start()
        assert made.state == "active"


# -- timers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("stamped", "left"), [(None, 30), (0, 30), (10, 20), (15, 15), (60, 0)])
def test_a_persistent_monthly_timer_makes_up_for_what_it_missed(stamped, left, tmp_path, monkeypatch):
    """`stamped`: days since its last run. A boot, which starts it anew, does not put it off."""
    monkeypatch.setattr(timers_module, "STAMPS", tmp_path / "stamps")
    if stamped is not None:
        write(tmp_path, "stamps/x.timer", "")
        ran = time.time() - stamped * DAY
        os.utime(tmp_path / "stamps" / "x.timer", (ran, ran))
    monthly = unit(tmp_path, "[Timer]\nOnCalendar=monthly\nPersistent=true\n", "x.timer")
    elapsed: list[str] = []
    timers = Timers(elapsed.append, time.monotonic())
    timers.start(monthly)
    assert timers.next() - time.monotonic() == pytest.approx(left * DAY, abs=5)
    timers.tick()
    assert elapsed == ([] if left else ["x.service"])
    assert timers.next() - time.monotonic() == pytest.approx((left or 30) * DAY, abs=5)
    timers.stop("x.timer")
    assert timers.next() == float("inf")


@pytest.mark.parametrize("line", ["OnCalendar=weekly", "OnUnitActiveSec=1s", "Persistent=true"])
def test_timers_that_are_refused(line, tmp_path):
    with pytest.raises(UnitError, match=r"x\.timer"):
        Timers(lambda _: None, 0.0).start(unit(tmp_path, f"[Timer]\n{line}\n", "x.timer"))
