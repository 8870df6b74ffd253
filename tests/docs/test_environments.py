"""The table of environments says what the stack files and the program's defaults say."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from config import settings
from config.model import NodeSettings, Power, Settings
from tests.configuration import HASH, configuration
from tests.program import run

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "environments.md").read_text(encoding="utf-8")
STACKS = ("sandbox", "dev", "prod", "review")
YOURS = "yours"


def table() -> dict[str, dict[str, str]]:
    """By row, then by stack."""
    lines = [line for line in PAGE.splitlines() if line.startswith("|")]
    head, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert tuple(head[1:]) == STACKS
    return {first: dict(zip(STACKS, cells, strict=True)) for first, *cells in rows}


def file(stack: str) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((ROOT / f"Pulumi.{stack}.yaml").read_text(encoding="utf-8"))
    return document


def ours(stack: str) -> dict[str, Any]:
    return {
        key.removeprefix("kubepark:"): value
        for key, value in file(stack)["config"].items()
        if key.startswith("kubepark:")
    }


def parsed(stack: str) -> Settings:
    """The settings of a stack, with stand-ins for what belongs to an account or is secret."""
    config, base = ours(stack), configuration()
    for section in ("aws", "platform", "network"):
        pins = {**base[section], **config.get(section, {})}
        if section == "network":
            region = config["aws"]["region"]
            pins |= {"availabilityZone": f"{region}a", "secondAvailabilityZone": f"{region}b"}
        config[section] = pins
    people = [each["name"] for each in config.get("people", [])]
    config |= {"passwordHashes": dict.fromkeys(people, HASH), "oidcClientSecret": base["oidcClientSecret"]}
    return settings.parse(stack, config)


def pool(nodes: tuple[NodeSettings, ...]) -> str:
    if not nodes:
        return "absent"
    ((kind, disk),) = {(node.instance_type, node.volume_gb) for node in nodes}
    return f"{len(nodes)} {kind}, {disk} GB"


def gpu(found: Settings) -> str:
    if found.gpu.power is Power.ABSENT:
        return "absent"
    return f"{pool(found.gpu.nodes).partition(',')[0]}, {found.gpu.power}"


def row(stack: str) -> dict[str, str]:
    found, config = parsed(stack), ours(stack)
    endpoint = found.control_plane.api_endpoint
    sandbox = found.aws.endpoint is not None
    own = "passphrase, generated" if sandbox else YOURS
    people = ", ".join(each.key for each in found.people)
    return {
        "region": found.aws.region,
        "control plane": pool((found.control_plane.node,)).removeprefix("1 "),
        "workers": pool(found.workers),
        "GPU": gpu(found),
        "protected master": "yes" if found.control_plane.protected else "no",
        "budget, USD a month": str(found.budget.monthly_usd or "none"),
        "GPU schedule in the settings": str(config.get("gpu", {}).get("schedule", "none")),
        "`network.adminCidrs`": ", ".join(config.get("network", {}).get("adminCidrs", [YOURS])),
        "API reached at": str(re.findall(r"//([^:]+)", endpoint)[0]) if endpoint else "the Elastic IP",
        "secrets provider": str(file(stack).get("secretsprovider", own)),
        "people": people or ("none" if stack == "review" else YOURS),
    }


@pytest.mark.parametrize("stack", STACKS)
def test_the_table_is_what_the_stack_files_say(stack: str) -> None:
    told = {name: cells[stack] for name, cells in table().items()}
    assert told.pop("file").startswith(f"`Pulumi.{stack}.yaml`")
    assert told.pop("NAT gateway") == "none"
    assert told == row(stack)


def test_every_committed_stack_file_is_a_column() -> None:
    assert {path.name for path in ROOT.glob("Pulumi.*.yaml")} == {f"Pulumi.{each}.yaml" for each in STACKS}


def test_there_is_no_nat_gateway_at_all() -> None:
    assert not [item for item in run().resources.values() if "nat" in item.type.lower().split("/")[-1]]
