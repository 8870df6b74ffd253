"""logind's stand-in: which file has the last word about the delay of a shutdown, and when it is read."""

from __future__ import annotations

from pathlib import Path

import pytest

from sandbox.nodes.real.image import UBUNTU_LOGIND
from sandbox.nodes.standins.commands import LOGIN1
from sandbox.nodes.standins.logind import delay
from sandbox.nodes.standins.units import UnitError
from sandbox.tests.nodes.standins_machine import SCRIPTS, Machine, needs_namespaces

ETC, RUN, LOCAL, LIB = (
    f"{folder}/systemd/logind.conf.d/" for folder in ("/etc", "/run", "/usr/local/lib", "/usr/lib")
)
UBUNTU = dict([UBUNTU_LOGIND])
NAME = Path(UBUNTU_LOGIND[0]).name


def login(value: str) -> str:
    return f"# a comment\n[Login]\n#InhibitDelayMaxSec=1\nHandlePowerKey=ignore\nInhibitDelayMaxSec={value}\n"


@pytest.mark.parametrize(
    ("files", "seconds"),
    [
        ({}, 5),
        (UBUNTU, 30),
        ({"/etc/systemd/logind.conf": login("7")}, 7),
        ({"/etc/systemd/logind.conf": login("45"), **UBUNTU}, 30),
        ({f"{ETC}kubepark.conf": login("45"), **UBUNTU}, 30),
        ({f"{ETC}99-kubelet.conf": login("45"), **UBUNTU}, 30),
        ({f"{ETC}{NAME}": login("45"), **UBUNTU}, 45),
        ({f"{ETC}{NAME}": login("45"), f"{ETC}99-kubelet.conf": login("20"), **UBUNTU}, 45),
        ({f"{ETC}{NAME}": "", **UBUNTU}, 5),
        ({f"{RUN}a.conf": login("1min 5s"), f"{LIB}b.conf": login("8")}, 8),
        ({f"{RUN}a.conf": login("10"), f"{LOCAL}a.conf": login("9"), f"{LIB}a.conf": login("8")}, 10),
        ({f"{ETC}a.conf": "[Other]\nInhibitDelayMaxSec=9\n"}, 5),
        ({f"{ETC}a": login("9")}, 5),
    ],
)
def test_which_file_counts(files: dict[str, str], seconds: int, tmp_path: Path) -> None:
    for path, text in files.items():
        target = tmp_path / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
    assert delay(tmp_path) == seconds * 1_000_000


def test_a_value_that_is_no_time_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "etc/systemd/logind.conf"
    path.parent.mkdir(parents=True)
    path.write_text(login("long"))
    with pytest.raises(UnitError, match="not a time span: long"):
        delay(tmp_path)


@needs_namespaces
def test_a_file_holds_once_logind_has_read_it(tmp_path: Path) -> None:
    with Machine(tmp_path) as machine:
        execute = f"ExecStart=/usr/bin/python3 {SCRIPTS}/logind.py"
        machine.unit("systemd-logind", "Type=oneshot", "RemainAfterExit=yes", execute)
        machine.put(f"{ETC}10-first.conf", login("20"))
        machine.boot()

        def asked() -> tuple[int, str]:
            done = machine.run("busctl", "get-property", *LOGIN1, "InhibitDelayMaxUSec")
            return done.returncode, done.stdout + done.stderr

        assert machine.systemctl("start", "systemd-logind").returncode == 0
        assert asked() == (0, "t 20000000\n"), "it runs from the boot on"
        machine.put(f"{ETC}20-later.conf", login("45"))
        assert asked() == (0, "t 20000000\n")
        assert machine.systemctl("try-reload-or-restart", "systemd-logind").returncode == 0
        assert asked() == (0, "t 45000000\n")
        machine.path("/run/kubepark-logind").unlink()
        code, words = asked()
        assert (code, "not activated" in words) == (1, True)
