"""`kubepark price --preview`: what the steps of a preview change, with what the program really registers."""

from __future__ import annotations

import functools
import io
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pulumi.runtime.rpc import UNKNOWN

from cli import main, price_preview, stackfile
from cli.errors import CommandError
from cli.price_preview import FREE, PRICED, changes
from config import prices
from config.costs import total
from config.prices import PriceTable
from tests.configuration import HOURS, configuration
from tests.engine import Recording, Resource
from tests.program import run

WORKERS = {f"worker{number:02d}": {} for number in range(1, 5)}


@functools.cache
def before() -> Recording:
    return run(preview=True)


@functools.cache
def after() -> Recording:
    """One worker more, and the GPU gone."""
    return run(preview=True, config=configuration(gpu__power="absent", workers__nodes=WORKERS))


@functools.cache
def by_hours() -> Recording:
    return run(preview=True, config=configuration(gpu__schedule=HOURS, workers__power="running"))


def table() -> PriceTable:
    return prices.load("us-east-1")


def state(item: Resource) -> dict[str, Any]:
    return {"urn": item.urn, "type": item.type, "custom": item.custom, "inputs": item.inputs}


def digest(old: Recording, new: Recording) -> dict[str, Any]:
    """What `pulumi preview --json` would print of the way from one run to the other."""
    steps: list[dict[str, Any]] = []
    for urn, item in new.resources.items():
        was = old.resources.get(urn)
        step = {"op": "create", "urn": urn, "newState": state(item), "detailedDiff": None}
        if was is not None:
            step |= {"op": "same" if was.inputs == item.inputs else "update", "oldState": state(was)}
        steps.append(step)
    for urn in old.urns - new.urns:
        steps.append({"op": "delete", "urn": urn, "oldState": state(old.resources[urn])})
    config = {"kubepark:aws": json.dumps({"region": "us-east-1", "accountId": "123456789012"})}
    return {"config": config, "steps": steps, "changeSummary": {"create": 1}}


def deltas(document: dict[str, Any]) -> dict[str, Decimal | None]:
    return {change.name: change.delta.known for change in changes(document, table())}


def test_a_worker_more_and_the_gpu_parked() -> None:
    """0.2016 * 730 + 100 * 0.08 + 0.005 * 730, and 0.526 * 730 + 100 * 0.08 + 0.005 * 730."""
    found = changes(digest(before(), after()), table())
    assert {change.name: change.delta.known for change in found} == {
        "worker04": Decimal("158.818"),
        "gpu01": Decimal("-395.63"),
    }
    assert {change.name: change.operation for change in found} == {"worker04": "create", "gpu01": "delete"}
    assert total(change.delta for change in found).known == Decimal("-236.812")


def test_a_gpu_that_becomes_a_spot_instance_is_listed_with_the_most_that_it_costs() -> None:
    spot = run(preview=True, config=configuration(gpu__market="spot"))
    (change,) = changes(digest(before(), spot), table())
    assert (change.name, change.spot, change.delta.known) == ("gpu01", True, Decimal(0))
    (gone,) = changes(digest(spot, run(preview=True, config=configuration(gpu__power="absent"))), table())
    assert (gone.operation, gone.spot, gone.delta.known) == ("delete", True, Decimal("-395.63"))


def test_the_whole_stack_is_the_price_of_the_stack() -> None:
    """From nothing: what `kubepark price` says of the settings, by another way."""
    nothing = run(preview=True, config=configuration(budget={"monthlyUsd": 1}))
    found = deltas(digest(nothing, before()))
    assert sum(usd or 0 for usd in found.values()) == Decimal("954.518")
    assert set(found) == {
        *("master1", "control-plane-address", "keys-cluster", "keys-data", "gpu01"),
        *("worker01", "worker02", "worker03"),
    }


def test_another_type_and_disk_are_an_update() -> None:
    other = run(preview=True, config=configuration(controlPlane__instanceType="m5.large"))
    assert deltas(digest(before(), other)) == {"master1": Decimal("-3.504")}  # (0.096 - 0.1008) * 730


def test_every_type_that_the_program_registers_is_priced_or_free() -> None:
    types = {item.type for item in (*before().resources.values(), *by_hours().resources.values())}
    of_aws = {kind for kind in types if kind.startswith("aws:")}
    assert len(of_aws) >= 15
    assert of_aws <= FREE | PRICED.keys()
    assert not FREE & PRICED.keys()


def instance(**changes: Any) -> dict[str, Any]:
    disk = {"volumeType": "gp3", "volumeSize": 100}
    inputs = {"instanceType": "g4dn.xlarge", "rootBlockDevice": disk} | changes
    return {"type": "aws:ec2/instance:Instance", "inputs": inputs}


def one(operation: str, old: Any = None, new: Any = None) -> dict[str, Any]:
    step = {"op": operation, "urn": "urn:pulumi:dev::kubepark::x::it", "oldState": old, "newState": new}
    return {"steps": [step], "changeSummary": {}}


def test_a_replacement_counts_once() -> None:
    larger = instance(instanceType="g4dn.2xlarge")
    steps = [
        one(operation, instance(), larger)["steps"][0]
        for operation in ("delete-replaced", "replace", "create-replacement")
    ]
    assert deltas({"steps": steps}) == {"it": Decimal("164.98")}  # (0.752 - 0.526) * 730


@pytest.mark.parametrize(
    ("new", "monthly"),
    [
        ({"type": "aws:ec2/natGateway:NatGateway"}, "32.85"),  # 0.045 * 730
        ({"type": "aws:lb/loadBalancer:LoadBalancer", "inputs": {"loadBalancerType": "network"}}, "16.425"),
        ({"type": "aws:ebs/volume:Volume", "inputs": {"type": "gp3", "size": 50}}, "4"),
        (instance(associatePublicIpAddress=False), "391.98"),
        ({"type": "aws:kms/key:Key"}, "1"),
    ],
)
def test_what_else_has_a_price(new: dict[str, Any], monthly: str) -> None:
    assert deltas(one("create", new=new)) == {"it": Decimal(monthly)}


@pytest.mark.parametrize(
    ("new", "unknown"),
    [
        (instance(instanceType="p5.48xlarge"), "p5.48xlarge"),
        (instance(rootBlockDevice={"volumeType": "io2", "volumeSize": 1}), "a disk of type io2 and 1 GB"),
        (instance(rootBlockDevice=None), "a disk of type None and None GB"),
        ({"type": "aws:lb/loadBalancer:LoadBalancer"}, "application load balancer"),
        ({"type": "aws:rds/instance:Instance"}, "aws:rds/instance:Instance"),
        ({"type": "gcp:compute/instance:Instance"}, "gcp:compute/instance:Instance"),
        (
            {"type": "kubernetes:core/v1:Service", "inputs": {"spec": {"type": "LoadBalancer"}}},
            "kubernetes:core/v1:Service of type LoadBalancer",
        ),
        ({"type": "aws:ssm/parameter:Parameter", "inputs": {"tier": "Advanced"}}, "Advanced parameter"),
    ],
)
def test_what_has_no_price_is_unknown_and_named(new: dict[str, Any], unknown: str) -> None:
    (change,) = changes(one("create", new=new), table())
    assert (change.delta.known, change.delta.unknown) == (None, {unknown})


def test_what_aws_keeps_is_paid_for_still() -> None:
    key = {"type": "aws:kms/key:Key", "inputs": {}}
    assert deltas(one("delete", key)) == {"it": Decimal("-1")}
    assert deltas(one("delete", key | {"retainOnDelete": True})) == {}


@pytest.mark.parametrize("operation", ["same", "refresh", "read", "discard", "remove-pending-replace"])
def test_what_makes_and_removes_nothing_costs_nothing(operation: str) -> None:
    assert deltas(one(operation, instance(), instance())) == {}


def test_a_preview_that_failed_and_an_operation_of_tomorrow_are_errors() -> None:
    failed = {"steps": [], "diagnostics": [{"severity": "error", "message": "error: no such zone\n"}]}
    with pytest.raises(CommandError, match="the preview failed, so its price is not known: error: no such"):
        changes(failed, table())
    with pytest.raises(CommandError, match="teleport is no operation of pulumi that kubepark knows"):
        changes(one("teleport"), table())


# -- the command -----------------------------------------------------------------------------------


def price(capsys: pytest.CaptureFixture[str], file: Path | str, *words: str) -> tuple[int, str, str]:
    code = main.main(["price", "--preview", str(file), *words])
    said = capsys.readouterr()
    return code, "".join(f"{line.rstrip()}\n" for line in said.out.splitlines()), said.err


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "preview.json"
    text = json.dumps(digest(before(), after()), default=lambda _: UNKNOWN)
    path.write_text(text, encoding="utf-8")
    return path


def test_the_table(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = price(capsys, file)
    assert (code, err) == (0, "")
    assert out.splitlines()[:5] == [
        "Changes in us-east-1   USD a month",
        "  create worker04          +158.82",
        "  delete gpu01             -395.63",
        "  all                      -236.81",
        "",
    ]


def test_as_json_and_elsewhere(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(price(capsys, file, "--json")[1])
    assert found["usdMonthly"] == -236.81
    assert found["changes"][0] == {
        "operation": "create",
        "type": "aws:ec2/instance:Instance",
        "name": "worker04",
        "usdMonthly": 158.82,
        "spot": False,
    }
    seoul = json.loads(price(capsys, file, "--json", "--region", "ap-northeast-2")[1])
    assert seoul["usdMonthly"] == -291.42  # 193.664 - 485.08
    nowhere = json.loads(price(capsys, file, "--json", "--region", "mars-1")[1])
    assert (nowhere["usdMonthly"], nowhere["changes"][0]["usdMonthly"]) == (None, None)
    assert nowhere["unknown"] == ["g4dn.xlarge", "gp3", "m7i.xlarge", "publicIpv4"]


def test_from_a_pipe_and_by_the_region_of_the_stack(
    file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    document = json.loads(file.read_text())
    document["config"]["kubepark:aws"] = "[secret]"
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps(document)))
    monkeypatch.setattr(stackfile, "ROOT", tmp_path)
    (tmp_path / "Pulumi.dev.yaml").write_text("config: {kubepark:aws: {region: ap-northeast-2}}")
    out = price(capsys, price_preview.STDIN, "--stack", "dev")[1]
    assert "all                           -291.42" in out


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Previewing update", "preview.json is not JSON ("),
        ("[]", "preview.json is no preview; accepted: what `bin/kubepark preview --json` prints"),
        ("{}", "preview.json is no preview"),
        (None, "preview.json cannot be read: No such file or directory"),
    ],
)
def test_what_is_no_preview_is_one_error(
    file: Path, capsys: pytest.CaptureFixture[str], text: str | None, words: str
) -> None:
    file.unlink()
    if text is not None:
        file.write_text(text, encoding="utf-8")
    code, out, err = price(capsys, file)
    assert (code, out) == (1, "")
    assert err.startswith(f"error: {words}")
