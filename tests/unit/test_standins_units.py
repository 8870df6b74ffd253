"""Unit files as the systemd stand-in reads them: what userdata and packages ship, and what is refused."""

from __future__ import annotations

import json
import time

import pytest

from sandbox.nodes.real.packages import VERSIONS, packages
from sandbox.standins import service as service_module
from sandbox.standins import timers as timers_module
from sandbox.standins.service import Service
from sandbox.standins.timers import Timers
from sandbox.standins.units import UnitError, UnitFile, command, environment, load, span
from tests.userdata_sample import ROLES, files

UNITS = "/etc/systemd/system/"


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
    return "[Service]\n" + "\n".join(lines) + "\n"


@pytest.mark.parametrize("role", ROLES)
def test_every_unit_of_the_user_data_is_understood(role, tmp_path):
    shipped = {path.removeprefix(UNITS): text for path, text in files(role).items() if path.startswith(UNITS)}
    assert len(shipped) == (9 if role == "master" else 3)
    for name, text in shipped.items():
        found = unit(tmp_path, text, name)
        assert found.one("Description").startswith("kubepark: ")
        if name.endswith(".service"):
            for line in found.all("ExecStart"):
                (program,), ignored = command(line, {})
                assert program in files(role)
                assert not ignored
        else:
            assert name.removesuffix(".timer") + ".service" in shipped
            timers = Timers(lambda _: None, time.monotonic())
            timers.start(found)
            assert timers.active(name)
            assert timers.next() > time.monotonic() + 60


def test_the_units_of_packages_are_understood(tmp_path):
    write(tmp_path, VERSIONS, json.dumps({"kubernetes": "v1.36.4", "containerd": "v2.3.0"}))
    shipped: dict[str, str] = {}
    for package in packages(tmp_path).values():
        shipped |= {
            path.partition("/units/")[2]: text for path, text in package["text"].items() if "/units/" in path
        }
    assert sorted(shipped) == ["containerd.service", "kubelet.service", "kubelet.service.d/10-kubeadm.conf"]
    for name, text in shipped.items():
        write(tmp_path, name, text)
    containerd, kubelet = (load(f"{name}.service", [tmp_path]) for name in ("containerd", "kubelet"))
    assert containerd is not None
    assert kubelet is not None
    assert (containerd.one("Type"), containerd.one("KillMode")) == ("notify", "process")
    assert len(kubelet.paths) == 2
    # The drop-in takes the program's line away and puts its own in place; files that are not there are fine.
    (line,) = kubelet.all("ExecStart")
    words, _ = command(line, environment(kubelet, {"KUBELET_EXTRA_ARGS": "--v=2 --x"}))
    assert words[0] == "/usr/bin/kubelet"
    assert words[1] == "--bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf"
    assert words[-2:] == ["--v=2", "--x"]
    assert not [word for word in words if "$" in word]


@pytest.mark.parametrize(
    ("text", "where", "what"),
    [
        ("[Unit]\nDescription=x\n\n[Socket]\nListenStream=1\n", 4, "[Socket]"),
        ("[Socket]\n", 1, "[Socket]"),
        ("Description=x\n", 1, "Description"),
        ("[Service]\nType=oneshot\nMemoryMax=1G\n", 3, "[Service] MemoryMax"),
        ("[Unit]\nExecStart=/bin/true\n", 2, "[Unit] ExecStart"),
        ("[Unit]\n# a comment\n; another\nDescription\n", 4, "[Unit] Description"),
        ("[Service]\nType=forking\n", 2, "Type=forking"),
        ("[Service]\nRestart=on-abnormal\n", 2, "Restart=on-abnormal"),
        ("[Service]\nKillMode=mixed\n", 2, "KillMode=mixed"),
        ("[Service]\nStandardOutput=null\n", 2, "StandardOutput=null"),
        ("[Service]\nRestartSec=soon\n", 2, "RestartSec"),
        ("[Service]\nRestartSteps=few\n", 2, "RestartSteps"),
        ("[Service]\nExecStart=/bin/echo \\\n  more\n", 2, "ExecStart"),
    ],
)
def test_what_is_not_known_is_refused_by_file_line_and_directive(text, where, what, tmp_path):
    path = write(tmp_path, "x.service", text)
    with pytest.raises(UnitError) as caught:
        load("x.service", [tmp_path])
    assert str(caught.value).startswith(f"{path}:{where}: ")
    assert what in str(caught.value)
    assert "not implemented" in str(caught.value)


def test_a_mistake_in_a_drop_in_names_the_drop_in(tmp_path):
    write(tmp_path, "x.service", service("ExecStart=/bin/true"))
    dropin = write(tmp_path, "x.service.d/10.conf", service("Nice=5"))
    with pytest.raises(UnitError, match=f"^{dropin}:2: "):
        load("x.service", [tmp_path])


def test_drop_ins_of_all_folders_apply_by_name_and_the_first_folder_has_the_unit(tmp_path):
    own, vendor = tmp_path / "own", tmp_path / "vendor"
    write(own, "x.service", service("ExecStart=/own", "RestartSec=1s", "Environment=A=own"))
    write(vendor, "x.service", service("ExecStart=/vendor"))
    write(vendor, "x.service.d/20-late.conf", service("RestartSec=3s"))
    write(own, "x.service.d/10-early.conf", service("RestartSec=2s", "Environment=B=early"))
    write(own, "x.service.d/notes.txt", "not read")
    found = load("x.service", [own, vendor])
    assert found is not None
    assert found.all("ExecStart") == ["/own"]
    assert found.seconds("RestartSec", 0) == 3.0
    assert environment(found, {}) == {"A": "own", "B": "early"}
    assert [path.name for path in found.paths] == ["x.service", "10-early.conf", "20-late.conf"]
    assert f"# {own}/x.service\n[Service]" in found.text()
    assert load("y.service", [own, vendor]) is None


def test_an_empty_assignment_takes_back_what_was_assigned(tmp_path):
    text = service(
        "ExecStart=/one", "Environment=A=1", "EnvironmentFile=/x", "ExecStartPre=/pre", "Restart=always"
    )
    write(tmp_path, "x.service", "[Unit]\nAfter=network.target\nConditionPathExists=/no\n" + text)
    reset = "[Unit]\nAfter=\nConditionPathExists=\n" + service(
        "ExecStart=", "ExecStart=/two", "Environment=", "EnvironmentFile=", "ExecStartPre=", "Restart="
    )
    write(tmp_path, "x.service.d/10.conf", reset)
    found = load("x.service", [tmp_path])
    assert found is not None
    assert found.all("ExecStart") == ["/two"]
    assert found.all("ExecStartPre") == found.all("EnvironmentFile") == found.all("ConditionPathExists") == []
    assert environment(found, {}) == {}
    assert found.one("Restart", "no") == "no"
    assert found.words("After") == ["network.target"], "systemd.unit(5): dependencies can only be added"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("15", 15),
        ("2min", 120),
        ("1h 30min", 5400),
        ("1h30min", 5400),
        ("5 min", 300),
        ("500ms", 0.5),
        ("4h", 14400),
    ],
)
def test_time_spans(text, seconds):
    assert span(text) == seconds


def test_a_time_span_that_never_ends():
    assert span("infinity") == float("inf")


@pytest.mark.parametrize("text", ["", "soon", "-5", "5x", "5 min later", "abc 5s", "5;", "5m"])
def test_what_is_no_time_span(text):
    with pytest.raises(UnitError, match="not a time span"):
        span(text)


def test_environment_files(tmp_path):
    there = write(tmp_path, "env", "# no\n; no\n\nA=one\nB=\"two words\"\nC='x' y\n")
    missing = tmp_path / "missing"
    found = unit(
        tmp_path, service(f"EnvironmentFile=-{missing}", "Environment=A=0 D=4", f"EnvironmentFile={there}")
    )
    assert environment(found, {"D": "base", "E": "5"}) == {
        "A": "one",
        "B": "two words",
        "C": "x y",
        "D": "4",
        "E": "5",
    }
    strict = unit(tmp_path, service(f"EnvironmentFile={missing}"))
    with pytest.raises(UnitError, match=f"x.service: {missing} does not exist"):
        environment(strict, {})


@pytest.mark.parametrize("line", ["Environment=A", "Environment=1A=x", 'Environment="A=open'])
def test_what_is_no_assignment_is_an_error(line, tmp_path):
    with pytest.raises(UnitError, match=r"x\.service"):
        environment(unit(tmp_path, service(line)), {})


def test_a_line_of_an_environment_file_that_is_none_is_an_error(tmp_path):
    write(tmp_path, "env", "A=1\nexport B=2\n")
    with pytest.raises(UnitError, match="export B"):
        environment(unit(tmp_path, service(f"EnvironmentFile={tmp_path}/env")), {})


def test_variables_of_a_command_line():
    variables = {"ONE": "one", "TWO": "two two", "QUOTED": "'two two' too", "lower_1": "x", "EMPTY": ""}
    words, ignored = command("/bin/echo $ONE $TWO ${TWO} $NONE ${NONE} pre${TWO}post $EMPTY", variables)
    assert words == ["/bin/echo", "one", "two", "two", "two two", "", "pretwo twopost"]
    assert not ignored
    assert command("/bin/echo $QUOTED ${QUOTED}", variables)[0] == [
        "/bin/echo",
        "two two",
        "too",
        "'two two' too",
    ]
    assert command("/bin/echo $lower_1 a$ONE $$ONE", variables)[0] == ["/bin/echo", "x", "a$ONE", "$ONE"]
    assert command("-/bin/sh -c 'a b'", {}) == (["/bin/sh", "-c", "a b"], True)


@pytest.mark.parametrize(
    "line",
    [
        "echo x",
        "@/bin/echo x",
        "+/bin/echo",
        "!/bin/echo",
        "${PROGRAM} x",
        "/bin/echo %i",
        "",
        "/bin/echo 'x",
    ],
)
def test_command_lines_that_are_refused(line):
    with pytest.raises(UnitError):
        command(line, {"PROGRAM": "/bin/true"})


def test_a_masked_unit_has_nothing(tmp_path):
    own, vendor = tmp_path / "own", tmp_path / "vendor"
    write(vendor, "x.service", service("ExecStart=/bin/true"))
    own.mkdir()
    (own / "x.service").symlink_to("/dev/null")
    found = load("x.service", [own, vendor])
    assert found == UnitFile("x.service", [])
    assert found.masked
    assert found.text() == ""


# -- restarts, as the service counts them ---------------------------------------------------------


@pytest.fixture
def clock(tmp_path, monkeypatch):
    """A clock that stands still, and a journal of our own."""
    at = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: at[0])
    monkeypatch.setattr(service_module, "JOURNAL", tmp_path / "journal")
    return at


def failing(tmp_path, clock, monkeypatch, *lines, unit_lines=()):
    """A service whose process fails at once, without one being made."""
    text = "[Unit]\n" + "\n".join(unit_lines) + "\n" + service("ExecStart=/bin/false", *lines)
    made = Service(unit(tmp_path, text), {})
    monkeypatch.setattr(made, "_spawn", lambda arguments: 999_999_999)
    monkeypatch.setattr(made, "processes", list)
    return made


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


def test_pauses_grow_in_steps_to_the_longest(tmp_path, clock, monkeypatch):
    """systemd.service(5): RestartSec=15s, RestartSteps=6, RestartMaxDelaySec=5min, as the bootstrap has it."""
    lines = (
        "Type=oneshot",
        "Restart=on-failure",
        "RestartSec=15s",
        "RestartSteps=6",
        "RestartMaxDelaySec=5min",
    )
    made = failing(tmp_path, clock, monkeypatch, *lines, unit_lines=["StartLimitIntervalSec=0"])
    made.start()
    factor = (300 / 15) ** (1 / 6)
    wanted = [round(15 * factor**number, 2) for number in range(6)] + [300.0, 300.0]
    assert pauses(made, clock, 8) == wanted
    made.ended(999_999_999, 0)  # it worked at last
    assert made.state == "inactive"
    made.start()
    assert pauses(made, clock, 1) == [15.0], "after a success it begins anew"


def test_pauses_do_not_grow_without_steps(tmp_path, clock, monkeypatch):
    made = failing(
        tmp_path,
        clock,
        monkeypatch,
        "Restart=always",
        "RestartSec=10",
        unit_lines=["StartLimitIntervalSec=0"],
    )
    made.start()
    assert pauses(made, clock, 4) == [10.0] * 4


def test_the_start_limit(tmp_path, clock, monkeypatch):
    made = failing(tmp_path, clock, monkeypatch, "Restart=always")
    made.start()
    assert pauses(made, clock, 9) == [0.1] * 5
    assert made.state == "failed"
    assert "Start request repeated too quickly" in (tmp_path / "journal/x.service.log").read_text()
    with pytest.raises(UnitError, match="repeated too quickly"):
        made.start()
    clock[0] += 10.0
    made.start()
    assert made.state == "active"


def test_a_start_limit_of_its_own(tmp_path, clock, monkeypatch):
    made = failing(
        tmp_path, clock, monkeypatch, "Restart=always", "RestartSec=1", unit_lines=["StartLimitIntervalSec=3"]
    )
    made.start()
    assert pauses(made, clock, 9) == [1.0] * 9, "five starts take longer than the interval"


# -- timers ---------------------------------------------------------------------------------------


def timer(*lines):
    return "[Timer]\n" + "\n".join(lines) + "\n"


def test_a_monthly_timer_makes_up_for_what_it_missed(tmp_path, monkeypatch):
    monkeypatch.setattr(timers_module, "STAMPS", tmp_path / "stamps")
    month = 30 * 86400.0
    elapsed: list[str] = []
    monthly = unit(tmp_path, timer("OnCalendar=monthly", "Persistent=true"), "x.timer")

    def due():
        made = Timers(elapsed.append, time.monotonic())
        made.start(monthly)
        return made, made.next() - time.monotonic()

    assert due()[1] == pytest.approx(month, abs=5)
    write(tmp_path, "stamps/x.timer", str(time.time() - month / 2))
    assert due()[1] == pytest.approx(month / 2, abs=5)
    write(tmp_path, "stamps/x.timer", str(time.time() - 2 * month))
    made, missed = due()
    assert missed <= 0
    made.tick()
    assert elapsed == ["x.service"]
    assert made.next() - time.monotonic() == pytest.approx(month, abs=5)
    made.stop("x.timer")
    assert not made.active("x.timer")
    assert made.next() == float("inf")


@pytest.mark.parametrize("lines", [("OnCalendar=weekly",), ("OnUnitActiveSec=1s",), ("Persistent=true",)])
def test_timers_that_are_refused(lines, tmp_path):
    with pytest.raises(UnitError, match=r"x\.timer"):
        Timers(lambda _: None, 0.0).start(unit(tmp_path, timer(*lines), "x.timer"))
