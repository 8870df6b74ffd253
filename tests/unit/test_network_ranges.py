"""Networks and regions that have the right form and cannot work."""

from __future__ import annotations

import json
import shlex
from importlib.resources import files
from typing import Any

import pytest

from config import settings
from config.naming import partition
from config.problems import Problem, SettingsError
from tests.configuration import configuration


def refused(config: dict[str, Any]) -> list[Problem]:
    with pytest.raises(SettingsError) as raised:
        settings.parse("dev", config)
    return list(raised.value.problems)


@pytest.mark.parametrize(
    ("network", "what"),
    [
        ("0.16.0.0/16", '0.0.0.0/8, which are "this network"'),
        ("127.0.0.0/16", "127.0.0.0/8, which are loopback"),
        ("169.254.0.0/16", "169.254.0.0/16, which are link-local"),
        ("224.0.0.0/16", "224.0.0.0/4, which are multicast"),
        ("239.255.0.0/16", "224.0.0.0/4, which are multicast"),
        ("240.0.0.0/16", "240.0.0.0/4, which are reserved"),
        ("255.255.0.0/16", "240.0.0.0/4, which are reserved"),
    ],
)
@pytest.mark.parametrize("key", ["vpcCidr", "podCidr", "serviceCidr", "adminCidrs"])
def test_addresses_that_no_machine_has_are_refused_for_any_network(key: str, network: str, what: str) -> None:
    value: Any = [network] if key == "adminCidrs" else network
    (problem,) = refused(configuration(**{f"network__{key}": value}))
    assert problem.key.startswith(f"kubepark:network.{key}")
    assert problem.wrong == f"{network} has addresses of {what}"


def test_a_wider_network_that_has_such_addresses_is_refused_too() -> None:
    (problem,) = refused(configuration(network__adminCidrs=["169.0.0.0/8"]))
    assert problem.wrong == "169.0.0.0/8 has addresses of 169.254.0.0/16, which are link-local"


@pytest.mark.parametrize("network", ["192.168.3.0/24", "192.168.0.0/16", "10.100.0.0/16", "10.96.0.1/32"])
def test_operators_are_not_among_pods_and_services(network: str) -> None:
    (problem,) = refused(configuration(network__adminCidrs=["203.0.113.7/32", network]))
    assert problem.key == "kubepark:network.adminCidrs[1]"
    inside = "podCidr 192.168.0.0/16" if network.startswith("192") else "serviceCidr 10.96.0.0/12"
    assert problem.wrong == f"{network} is inside {inside}, where nobody outside the cluster is"


@pytest.mark.parametrize("network", ["10.0.0.0/8", "10.20.3.0/24", "172.16.0.0/12", "100.64.0.0/10"])
def test_operators_may_be_in_any_other_network(network: str) -> None:
    """In the VPC too, or in a company's network that has these addresses among others."""
    assert settings.parse("dev", configuration(network__adminCidrs=[network]))


@pytest.mark.parametrize("size", [8, 12, 15, 21, 24, 28, 29])
def test_a_vpc_of_a_size_that_aws_or_the_subnets_refuse(size: int) -> None:
    """AWS takes /16 to /28 (VPC user guide, "VPC CIDR blocks"); two subnets of /22 need /20."""
    (problem,) = refused(
        configuration(network__vpcCidr=f"10.0.0.0/{size}", network__serviceCidr="172.16.0.0/16")
    )
    assert problem.wrong == f"10.0.0.0/{size} is not between /16 and /20"


@pytest.mark.parametrize(
    "networks",
    [
        {"vpcCidr": "192.168.0.0/16"},
        {"vpcCidr": "10.96.0.0/16"},
        {"podCidr": "10.16.0.0/12"},
        {"serviceCidr": "192.168.0.0/16"},
        {"vpcCidr": "10.96.0.0/16", "podCidr": "10.20.0.0/16", "serviceCidr": "10.20.0.0/16"},
        {"vpcCidr": "10.0.0.0/16", "podCidr": "10.0.0.0/12", "serviceCidr": "10.0.0.0/12"},
    ],
)
def test_what_is_proposed_for_a_network_that_overlaps_is_free(networks: dict[str, str]) -> None:
    config = configuration(**{f"network__{key}": value for key, value in networks.items()})
    first = refused(config)
    for problem in first:
        config["network"][problem.key.rpartition(".")[2]] = shlex.split(problem.fix)[-1]
    assert settings.parse("dev", config)
    assert first


def partitions() -> list[dict[str, Any]]:
    packed = files("botocore").joinpath("data/partitions.json").read_text(encoding="utf-8")
    found: list[dict[str, Any]] = json.loads(packed)["partitions"]
    return found


REGIONS = [
    (each["id"], region) for each in partitions() for region in each["regions"] if "global" not in region
]


@pytest.mark.parametrize(("of", "region"), REGIONS)
def test_regions_whose_services_are_in_another_domain_are_refused(of: str, region: str) -> None:
    suffix = {each["id"]: each["outputs"]["dnsSuffix"] for each in partitions()}[of]
    config = configuration(
        aws__region=region,
        network__availabilityZone=f"{region}a",
        network__secondAvailabilityZone=f"{region}b",
    )
    if suffix == "amazonaws.com":
        assert partition(settings.parse("dev", config).aws.region) == of
        return
    problem = refused(config)[0]
    assert problem.key == "kubepark:aws.region"
    assert problem.wrong == f'"{region}" has services outside amazonaws.com, where nodes look for them'


@pytest.mark.parametrize(
    "raw", ["eu", "eu-central", "EU-central-1", "eu-central-1a", "aws-global", 7, ["us-east-1"]]
)
def test_what_is_no_region(raw: Any) -> None:
    assert refused(configuration(aws__region=raw))[0].wrong.endswith("is not a region")
