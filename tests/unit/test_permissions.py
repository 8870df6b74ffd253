"""The policy of who deploys a stack: what is in it, and how it is printed."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from cli import main, stackfile
from cli.permissions import RESOURCES, policy
from tests.configuration import HOURS, configuration
from tests.program import run

GOLDEN = Path(__file__).parents[1] / "golden" / "permissions" / "deploy.json"
# Characters of a managed policy, white space not counted: "IAM and AWS STS quotas" in the IAM guide.
LONGEST = 6144
ACCOUNT = "123456789012"


def test_the_policy_is_as_reviewed() -> None:
    text = json.dumps(policy("lab", "us-east-1", ACCOUNT), indent=2) + "\n"
    if os.environ.get("UPDATE_GOLDEN"):
        GOLDEN.parent.mkdir(parents=True, exist_ok=True)
        GOLDEN.write_text(text, encoding="utf-8")
    assert text == GOLDEN.read_text(encoding="utf-8"), "deploy.json differs; `make golden` takes the new one"


def test_every_type_of_the_program_has_a_row_and_no_other_has() -> None:
    program = run(config=configuration(workers__power="running", gpu__schedule=HOURS))
    used = {item.type for item in program.resources.values() if item.type.startswith("aws:")}
    assert set(RESOURCES) == used


@pytest.mark.parametrize(("cluster", "region"), [("c" * 24, "us-gov-west-1"), ("lab", "us-east-1")])
def test_it_fits_a_managed_policy_whatever_the_names(cluster: str, region: str) -> None:
    document = policy(cluster, region, ACCOUNT)
    assert len(re.sub(r"\s", "", json.dumps(document))) <= LONGEST
    sids = [statement["Sid"] for statement in document["Statement"]]
    assert len(set(sids)) == len(sids)
    assert not re.search(r"\{[a-z]+\}", json.dumps(document)), "every template is filled"


def test_no_statement_is_about_everything_but_reads_new_things_and_lists() -> None:
    document = policy("lab", "us-east-1", ACCOUNT)
    wide = {each["Sid"] for each in document["Statement"] if each["Resource"] == ["*"]}
    assert wide == {"Read", "TagNew", "Make", "Own", "NewKeys", "Lists", "Left", "LeftBalancers"}
    unconditional = {each["Sid"] for each in document["Statement"] if "Condition" not in each}
    assert wide & unconditional == {"Lists"}
    (lists,) = [each["Action"] for each in document["Statement"] if each["Sid"] == "Lists"]
    assert all(re.search(":(List|Describe|Get)", action) for action in lists)


def test_the_command_prints_it_for_the_stacks_own_cluster_and_account(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(stackfile, "ROOT", tmp_path)
    file = tmp_path / "Pulumi.dev.yaml"
    file.write_text('config: {"kubepark:aws": {region: eu-central-1, accountId: "999999999999"}}\n')
    assert main.main(["permissions", "--stack", "dev"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown == policy("kubepark-dev", "eu-central-1", "999999999999")
    file.write_text('config: {"kubepark:aws": {region: eu-central-1}}\n')
    assert main.main(["permissions", "--stack", "dev"]) == 1
    assert capsys.readouterr().err == (
        "error: kubepark:aws.region and kubepark:aws.accountId are needed; fix: bin/kubepark init --stack dev "
        "--write\n"
    )
