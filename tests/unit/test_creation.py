"""Without capacity for a new node: the next type, node by node, until none is left or somebody ends it."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from cli.creation import update
from cli.engine_events import without_capacity
from cli.pulumi import Pulumi, Updated
from config import creation, settings
from config.nodes import plan_nodes
from config.problems import SettingsError
from config.subnets import plan_subnets
from tests.configuration import configuration
from tests.program import run
from tests.unit.test_engine_events import SENDER
from tests.unit.test_power_settings import INSTANCE, SEVERAL

NONE_LEFT = "InsufficientInstanceCapacity: none left"
TYPES = {"gpu01": ("g4dn.xlarge", "g4dn.2xlarge", "g4dn.4xlarge"), "gpu02": ("g4dn.xlarge", "g4dn.2xlarge")}
URN = "urn:pulumi:dev::kubepark::kubepark:index:NodePool$aws:ec2/instance:Instance::gpu01"


class Cloud:
    """Has capacity for some types; each update is an entry of `log`: its arguments, and as what nodes are made."""

    def __init__(self, *available: str, code: int = 1, ended: bool = False) -> None:
        self.available, self.code, self.ended = available, code, ended
        self.log: list[tuple[tuple[str, ...], Mapping[str, str]]] = []

    def update(self, *arguments: str, **variables: str) -> Updated:
        chosen = json.loads(variables.get(creation.VARIABLE, "{}"))
        self.log.append((arguments, chosen))
        wanted = {node: chosen.get(node, types[0]) for node, types in TYPES.items()}
        lacking = {node: NONE_LEFT for node, kind in wanted.items() if kind not in self.available}
        return Updated(self.code if lacking else 0, self.ended, lacking)

    @property
    def chosen(self) -> list[Mapping[str, str]]:
        return [chosen for _, chosen in self.log]


def test_with_capacity_there_is_one_update() -> None:
    cloud = Cloud("g4dn.xlarge")
    assert update(cloud, ["--diff"], lambda: pytest.fail("the stack file was read")) == 0
    assert cloud.log == [(("--diff",), {})]


def test_each_node_becomes_its_next_type_until_there_is_one(capsys: pytest.CaptureFixture[str]) -> None:
    cloud = Cloud("g4dn.2xlarge")
    assert update(cloud, ["--diff"], lambda: TYPES) == 0
    assert cloud.log == [
        (("--diff",), {}),
        (("--diff", "--yes", "--skip-preview"), {"gpu01": "g4dn.2xlarge", "gpu02": "g4dn.2xlarge"}),
    ]
    captured = capsys.readouterr()
    assert captured.out.splitlines() == [
        "gpu01: AWS has no capacity for g4dn.xlarge now; it is made as g4dn.2xlarge",
        "gpu02: AWS has no capacity for g4dn.xlarge now; it is made as g4dn.2xlarge",
    ]
    assert captured.err == ""


def test_a_node_without_a_further_type_is_named_with_all_that_was_refused(capsys) -> None:
    cloud = Cloud("g4dn.4xlarge")
    assert update(cloud, [], lambda: TYPES) == 1
    assert cloud.chosen == [
        {},
        {"gpu01": "g4dn.2xlarge", "gpu02": "g4dn.2xlarge"},
        {"gpu01": "g4dn.4xlarge", "gpu02": "g4dn.2xlarge"},
    ]
    assert capsys.readouterr().err == (
        f"error: gpu02 was not made, because AWS has no capacity: g4dn.xlarge: {NONE_LEFT}; g4dn.2xlarge: {NONE_LEFT}. "
        "Everything else goes on. Try again later, or name more types (kubepark:gpu.instanceTypes)\n"
    )


def test_an_update_that_was_ended_is_not_begun_again() -> None:
    cloud = Cloud(code=130, ended=True)
    assert update(cloud, [], lambda: TYPES) == 130
    assert len(cloud.log) == 1


def test_a_node_of_one_type_is_left_to_the_engine_to_name(capsys) -> None:
    cloud = Cloud()
    assert update(cloud, [], dict) == 1
    assert (len(cloud.log), capsys.readouterr().err) == (1, "")


def diagnostic(message: str, urn: str = URN, severity: str = "error") -> dict[str, Any]:
    return {"diagnosticEvent": {"urn": urn, "message": message, "severity": severity}}


@pytest.mark.parametrize(
    ("event", "found"),
    [
        (
            diagnostic("creating EC2 Instance: api error InsufficientInstanceCapacity: We have none.\n\n"),
            ("gpu01", "InsufficientInstanceCapacity: We have none"),
        ),
        (diagnostic("api error Unsupported: not in this zone."), ("gpu01", "Unsupported: not in this zone")),
        (diagnostic("api error UnsupportedOperation: no"), None),
        (diagnostic("api error VcpuLimitExceeded: 0"), None),
        (diagnostic(NONE_LEFT, severity="warning"), None),
        (diagnostic(NONE_LEFT, urn=URN.replace("instance:Instance", "volume:Volume")), None),
        (diagnostic(NONE_LEFT, urn=""), None),
        ({"diagnosticEvent": {"message": NONE_LEFT, "severity": "error"}}, None),
        ({"sequence": 1, "cancelEvent": {}}, None),
    ],
)
def test_what_is_read_from_the_engines_events(event: dict[str, Any], found: tuple[str, str] | None) -> None:
    assert without_capacity(event) == found


# -- the program ---------------------------------------------------------------------------------------


def test_a_node_is_made_as_the_type_that_the_command_says_and_nothing_else_of_it_changes(monkeypatch) -> None:
    config = configuration(gpu__instanceTypes=SEVERAL)
    first = run(config=config).one(INSTANCE, "gpu01")
    monkeypatch.setenv(creation.VARIABLE, creation.dump({"gpu01": "g4dn.2xlarge"}))
    made = run(config=config).one(INSTANCE, "gpu01")
    assert made.inputs == first.inputs | {"instanceType": "g4dn.2xlarge"}
    assert made.ignore_changes == first.ignore_changes
    assert "instanceType" in made.ignore_changes, "the next update, which is told nothing, leaves it"


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        (
            '{"gpu01": "g4dn.12xlarge"}',
            "KUBEPARK_CREATE_AS.gpu01: g4dn.12xlarge is not one of its further types",
        ),
        (
            '{"gpu09": "g4dn.2xlarge"}',
            "KUBEPARK_CREATE_AS.gpu09: g4dn.2xlarge is not one of its further types",
        ),
        ("g4dn.2xlarge", "KUBEPARK_CREATE_AS: is no map of node names to types"),
        ("[]", "KUBEPARK_CREATE_AS: is no map of node names to types"),
    ],
)
def test_anything_else_is_refused(text: str, wrong: str) -> None:
    loaded = settings.parse("dev", configuration(gpu__instanceTypes=SEVERAL))
    nodes = plan_nodes(loaded, plan_subnets(loaded.network)[0].cidr)
    with pytest.raises(SettingsError) as refused:
        creation.made_as("dev", nodes, text)
    (problem,) = refused.value.problems
    assert str(problem) == f"{wrong}; accepted: what `kubepark up` says there; fix: unset KUBEPARK_CREATE_AS"


# -- the CLI -------------------------------------------------------------------------------------------

SCRIPT = """\
#!/bin/sh
echo "$KUBEPARK_CREATE_AS" >> {folder}/chosen
while [ "$1" != --event-log ]; do shift; done
case "$KUBEPARK_CREATE_AS" in
*4xlarge*) ;;
*) {python} {folder}/sender {folder}/event "$1" "$2"; exit 1;;
esac
"""


def test_the_cli_is_run_again_with_what_its_events_said(tmp_path: Path) -> None:
    (tmp_path / "event").write_text(json.dumps(diagnostic(NONE_LEFT)) + "\n", encoding="utf-8")
    (tmp_path / "sender").write_text(SENDER, encoding="utf-8")
    script = SCRIPT.format(folder=tmp_path, python=sys.executable)
    (tmp_path / "pulumi").write_text(script, encoding="utf-8")
    (tmp_path / "pulumi").chmod(0o755)
    cli = Pulumi("dev", {"PATH": f"{tmp_path}:/usr/bin:/bin"}, cwd=tmp_path)
    assert update(cli, [], lambda: TYPES) == 0
    assert (tmp_path / "chosen").read_text(encoding="utf-8").splitlines() == [
        "",
        '{"gpu01": "g4dn.2xlarge"}',
        '{"gpu01": "g4dn.4xlarge"}',
    ]
