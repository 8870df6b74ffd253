"""`kubepark price`: what is printed of a stack, for people and for scripts, offline and without colors."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from cli import main, stackfile
from config import ROOT, prices
from tests.configuration import HOURS, configuration

SHOWN = """\
dev, us-east-1             running   GPU parked   all parked
USD an hour
  control plane (1)         0.1102       0.1102       0.0094
  workers (3)               0.6527       0.6527       0.0329
  GPU (1)                   0.5420       0.0110       0.0110
  keys (2)                  0.0027       0.0027       0.0027
  all                       1.3076       0.7766       0.0560
USD a month of 730 hours
  control plane (1)          80.43        80.43         6.85
  workers (3)               476.45       476.45        24.00
  GPU (1)                   395.63         8.00         8.00
  keys (2)                    2.00         2.00         2.00
  all                       954.52       566.89        40.85
USD a month, 8x5
  control plane (1)          80.43        80.43        24.37
  workers (3)               476.45       476.45       131.73
  GPU (1)                   395.63       100.29       100.29
  keys (2)                    2.00         2.00         2.00
  all                       954.52       659.18       258.39

A parked node costs a month   disk   address   together
  master1                     3.20      3.65       6.85
  worker01                    8.00      0.00       8.00
  worker02                    8.00      0.00       8.00
  worker03                    8.00      0.00       8.00
  gpu01                       8.00      0.00       8.00

8x5: running for 8 hours on 5 days a week, and the rest of the time as the column says.
Not counted: traffic, requests, volumes and load balancers of pods, taxes, discounts.
Prices of 2024-07-01 to 2026-08-17; sources: config/price_tables/us-east-1.yaml
"""


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the price needs no network")

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where stack files are."""
    monkeypatch.setattr(stackfile, "ROOT", tmp_path)
    return tmp_path


def write(folder: Path, config: dict[str, Any]) -> None:
    document = {"config": {f"kubepark:{key}": value for key, value in config.items()}}
    (folder / "Pulumi.dev.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")


def price(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main.main(["price", "--stack", "dev", *words])
    said = capsys.readouterr()
    return code, "".join(f"{line.rstrip()}\n" for line in said.out.splitlines()), said.err


def test_the_table(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(folder, configuration())
    assert price(capsys) == (0, SHOWN, "")


def test_only_region_and_nodes_need_to_be_known(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(folder, {"aws": {"region": "us-east-1"}, "clusterName": "Not Right", "gpu": {"power": "running"}})
    assert price(capsys) == (0, SHOWN, "")


def test_as_json(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(folder, configuration())
    code, out, _ = price(capsys, "--json")
    found = json.loads(out)
    assert (code, found["stack"], found["region"], found["unknown"]) == (0, "dev", "us-east-1", [])
    assert found["usd"]["month"]["gpu"] == {"running": 395.63, "gpuParked": 8.0, "allParked": 8.0}
    assert found["usd"]["hour"]["controlPlane"]["running"] == 0.1102
    assert found["usd"]["month8x5"]["all"] == {"running": 954.52, "gpuParked": 659.18, "allParked": 258.39}
    assert found["parked"]["master1"] == {"disk": 3.2, "address": 3.65}
    assert found["priceDates"][0] == "2024-07-01"


def test_the_hours_of_a_schedule_are_priced(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Eleven hours on five days: 55 of 168. 0.526 USD an hour and 0.005 of the address, for 730 hours, are 387.63
    a month, of which 55/168 are 126.90; and 8.00 of the disk."""
    write(folder, configuration(gpu__schedule=HOURS))
    _, out, _ = price(capsys)
    table = out.partition("USD a month, GPU 55 h a week\n")[2].splitlines()
    assert [line.split() for line in table[:5]] == [
        ["control", "plane", "(1)", "80.43", "80.43", "6.85"],
        ["workers", "(3)", "476.45", "476.45", "24.00"],
        ["GPU", "(1)", "395.63", "134.90", "134.90"],
        ["keys", "(2)", "2.00", "2.00", "2.00"],
        ["all", "954.52", "693.79", "167.75"],
    ]
    assert "h a week: GPU nodes by gpu.schedule, and the rest of the time as the column says.\n" in out
    document = json.loads(price(capsys, "--json")[1])
    assert document["usd"]["monthBySchedule"]["gpu"] == {
        "running": 395.63,
        "gpuParked": 134.9,
        "allParked": 134.9,
    }
    assert document["gpuHoursAWeek"] == 55


def test_a_spot_instance_costs_at_most_what_is_counted(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(folder, configuration(gpu__market="spot"))
    code, out, _ = price(capsys)
    assert code == 0
    assert out.count("  GPU (1, spot: at most) ") == 3
    assert "\nSpot: at most the on-demand price, which is counted. AWS sets the price of the day.\n" in out
    found = json.loads(price(capsys, "--json")[1])
    assert (found["spot"], found["usd"]["month"]["gpu"]["running"]) == (["gpu01"], 395.63)


def test_a_sandbox_costs_nothing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(folder, configuration(aws__endpoint="http://127.0.0.1:4566"))
    assert "This stack is a sandbox and costs nothing" in price(capsys)[1]


def test_an_unknown_region_is_unknown_and_never_zero(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(folder, {"aws": {"region": "eu-central-1"}})
    code, out, _ = price(capsys)
    assert code == 0
    assert out.splitlines()[-1] == (
        "No price is known in eu-central-1 of: g4dn.xlarge, gp3, kmsKey, m7i.large, m7i.xlarge, publicIpv4; "
        "to ask AWS: bin/kubepark price --refresh --region eu-central-1"
    )
    assert out.count("unknown") >= 45
    assert "0.00\n" not in out.partition("A parked node")[0]
    found = json.loads(price(capsys, "--json")[1])
    figures = [usd for period in found["usd"].values() for pool in period.values() for usd in pool.values()]
    assert figures == [None] * 45
    assert "m7i.large" in found["unknown"]


def test_what_is_wrong_with_the_nodes_is_said_with_the_fix(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(folder, {"aws": {}, "workers": {"instanceType": "m9.huge"}})
    code, out, err = price(capsys)
    assert (code, out) == (1, "")
    assert "error: the configuration of stack dev has 2 problems" in err
    assert "kubepark:aws.region: is missing" in err
    assert '"m9.huge" is not a type that kubepark knows' in err


SECURE = {"secure": "v1:c29tZXRoaW5nIGVuY3J5cHRlZA==:AAAA"}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"workers__instanceType": SECURE}, "encrypted values in workers"),
        ({"aws__region": SECURE}, "encrypted values in aws.region"),
        ({"gpu": SECURE}, "encrypted values in gpu"),
        ({"aws": SECURE}, "kubepark:aws: is encrypted as a whole"),
    ],
)
def test_what_cannot_be_read_is_not_guessed(
    folder: Path, capsys: pytest.CaptureFixture[str], changes: dict[str, Any], words: str
) -> None:
    write(folder, configuration(**changes))
    code, out, err = price(capsys)
    assert (code, out) == (1, "")
    assert words in err
    write(folder, configuration(aws__accountId=SECURE))
    assert price(capsys)[0] == 0


def test_a_table_that_cannot_be_read_is_one_error(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "us-east-1.yaml").write_text("prices: [", encoding="utf-8")
    monkeypatch.setattr(prices.load, "__defaults__", (folder,))
    write(folder, configuration())
    _, out, err = price(capsys)
    assert (out, err.splitlines()[0]) == (
        "",
        "error: us-east-1.yaml cannot be used; fix: bin/kubepark price --refresh --region us-east-1",
    )
    assert main.main(["check", "--stack", "dev"]) == 1


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("--refresh",), "--refresh needs the region: --region ap-northeast-2"),
        (("--refresh", "--preview", "f"), "--refresh, --preview and --chart are asked for one at a time"),
        (("--chart", "f", "--preview", "f"), "--refresh, --preview and --chart are asked for one at a time"),
        (
            ("--chart", "no/such/folder.svg"),
            "no/such/folder.svg cannot be written: No such file or directory",
        ),
        (("--region", "us-east-1"), "--region is for --refresh and --preview: a stack's own is in its file"),
    ],
)
def test_words_that_do_not_go_together_are_refused(
    folder: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], error: str
) -> None:
    write(folder, configuration())
    assert price(capsys, *words) == (1, "", f"error: {error}\n")


def test_there_are_no_colors_in_a_pipe() -> None:
    environment = {
        name: value for name, value in os.environ.items() if name not in ("FORCE_COLOR", "COLUMNS")
    }
    words = [sys.executable, "-m", "cli", "price", "--stack", "sandbox"]
    done = subprocess.run(
        words, cwd=ROOT, env=environment | {"TERM": "xterm"}, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "control plane (1)" in done.stdout
    assert "\x1b" not in done.stdout
