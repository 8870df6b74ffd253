"""The stack configuration: what is accepted, and the exact words for what is not."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from config import ROOT, settings
from config.problems import SettingsError
from tests.configuration import HASH, SECRETS, configuration


def problems(config: dict[str, Any], plain: frozenset[str] = frozenset()) -> list[str]:
    with pytest.raises(SettingsError) as raised:
        settings.parse("dev", config, plain)
    return [str(problem) for problem in raised.value.problems]


def test_defaults_are_the_sizes_of_the_design() -> None:
    found = settings.parse("dev", configuration())
    assert (found.control_plane.node.name, found.control_plane.node.volume_gb) == ("master1", 40)
    assert [node.name for node in found.workers] == ["worker01", "worker02", "worker03"]
    assert {node.volume_gb for node in found.workers} == {100}
    assert [(node.name, node.instance_type) for node in found.gpu.nodes] == [("gpu01", "g4dn.xlarge")]


def test_secrets_are_not_in_the_representation() -> None:
    found = settings.parse("dev", configuration())
    assert HASH not in repr(found)
    assert found.oidc_client_secret not in repr(found)


def test_absent_gpu_has_no_nodes() -> None:
    found = settings.parse("dev", configuration(gpu__power="absent"))
    assert found.gpu.nodes == ()


def test_protection_is_asked_for_and_the_cli_may_store_it_as_text() -> None:
    for raw, found in ((None, False), (True, True), ("true", True), (False, False), ("false", False)):
        assert (
            settings.parse("dev", configuration(controlPlane__protected=raw)).control_plane.protected is found
        )


def test_production_protects_its_master_and_the_other_stacks_do_not() -> None:
    protected = {
        name: yaml.safe_load((ROOT / f"Pulumi.{name}.yaml").read_text())["config"]
        .get("kubepark:controlPlane", {})
        .get("protected", False)
        for name in ("prod", "dev", "sandbox")
    }
    assert protected == {"prod": True, "dev": False, "sandbox": False}


CASES: dict[str, tuple[dict[str, Any], str]] = {
    "unknown key": (
        {"netwrok": {}},
        "kubepark:netwrok: is not a known key (did you mean network?); accepted: aws, budget, clusterName, "
        "connectorSecrets, connectors, controlPlane, gpu, groups, kubeflow, manifests, network, oidcClientId, "
        "oidcClientSecret, oidcIssuer, passwordHashes, people, peopleFile, platform, podSecurity, tags, workers; fix: pulumi config rm --stack dev --path kubepark:netwrok",
    ),
    "unknown nested key": (
        {"gpu__power_": "running"},
        "kubepark:gpu.power_: is not a known key (did you mean power?); accepted: ami, availabilityZone, "
        "idleMinutes, instanceType, instanceTypes, labels, market, nodes, power, schedule, timeSlicing, "
        "volumeGb, "
        "wakeOnDemand; "
        "fix: pulumi config rm --stack dev --path kubepark:gpu.power_",
    ),
    "a third zone for GPU nodes": (
        {"gpu__availabilityZone": "us-east-1c"},
        'kubepark:gpu.availabilityZone: "us-east-1c" is not one of us-east-1a, us-east-1b; accepted: us-east-1a, '
        "or us-east-1b (network.secondAvailabilityZone, which may be changed); "
        "fix: pulumi config set --stack dev --path kubepark:gpu.availabilityZone us-east-1b",
    ),
    "neither yes nor no": (
        {"controlPlane__protected": "yes"},
        'kubepark:controlPlane.protected: "yes" is not one of true, false; accepted: true, false; '
        "fix: pulumi config set --stack dev --path kubepark:controlPlane.protected true",
    ),
    "unknown level of pod security": (
        {"podSecurity": "Baseline"},
        'kubepark:podSecurity: "Baseline" is not one of privileged, baseline, restricted; accepted: privileged, '
        "baseline, restricted; fix: pulumi config set --stack dev --path kubepark:podSecurity baseline",
    ),
    "unknown release": (
        {"platform__kubernetes": "1.22"},
        'kubepark:platform.kubernetes: "1.22" is not one of 1.36; accepted: 1.36; '
        "fix: pulumi config set --stack dev --path kubepark:platform.kubernetes 1.36",
    ),
    "release as a number": (
        {"platform__kubernetes": 1.36},
        "kubepark:platform.kubernetes: 1.36 is a number, not a text: it needs quotes; accepted: "
        "1.36; fix: pulumi config set --stack dev --path kubepark:platform.kubernetes 1.36",
    ),
    "unknown platform": (
        {"platform__os": "plan9"},
        'kubepark:platform.os: "plan9" is not one of ubuntu-24.04; accepted: ubuntu-24.04; '
        "fix: pulumi config set --stack dev --path kubepark:platform.os ubuntu-24.04",
    ),
    "networks overlap": (
        {"network__podCidr": "10.20.0.0/16"},
        "kubepark:network.podCidr: 10.20.0.0/16 overlaps vpcCidr 10.20.0.0/16; accepted: three networks that do "
        "not overlap; fix: pulumi config set --stack dev --path kubepark:network.podCidr 192.168.0.0/16",
    ),
    "service network overlaps the pods'": (
        {"network__serviceCidr": "192.168.0.0/16"},
        "kubepark:network.serviceCidr: 192.168.0.0/16 overlaps podCidr 192.168.0.0/16; accepted: three networks "
        "that do not overlap; fix: pulumi config set --stack dev --path kubepark:network.serviceCidr 10.96.0.0/12",
    ),
    "network too small": (
        {"network__vpcCidr": "10.20.0.0/26"},
        "kubepark:network.vpcCidr: 10.20.0.0/26 is not between /16 and /20; accepted: an IPv4 network from /16 "
        "to /20; fix: pulumi config set --stack dev --path kubepark:network.vpcCidr 10.20.0.0/16",
    ),
    "host bits set": (
        {"network__vpcCidr": "10.20.0.1/16"},
        'kubepark:network.vpcCidr: "10.20.0.1/16" is not an IPv4 network (10.20.0.1/16 has host bits set); '
        "accepted: an IPv4 network from /16 to /20; fix: pulumi config set --stack dev --path "
        "kubepark:network.vpcCidr 10.20.0.0/16",
    ),
    "the whole internet as admin": (
        {"network__adminCidrs": ["0.0.0.0/0"]},
        "kubepark:network.adminCidrs[0]: 0.0.0.0/0 is the whole internet; accepted: IPv4 networks of /8 or "
        "longer that may reach the API; fix: pulumi config set --stack dev --path "
        "'kubepark:network.adminCidrs[0]' 203.0.113.7/32",
    ),
    "malformed admin network": (
        {"network__adminCidrs": ["me"]},
        "kubepark:network.adminCidrs[0]: \"me\" is not an IPv4 network (Expected 4 octets in 'me'); accepted: "
        "IPv4 networks of /8 or longer that may reach the API; fix: pulumi config set --stack dev --path "
        "'kubepark:network.adminCidrs[0]' 203.0.113.7/32",
    ),
    "no admin network": (
        {"network__adminCidrs": []},
        "kubepark:network.adminCidrs[0]: is missing; accepted: IPv4 networks of /8 or longer that may reach the "
        "API; fix: pulumi config set --stack dev --path 'kubepark:network.adminCidrs[0]' 203.0.113.7/32",
    ),
    "no GPU in the GPU pool": (
        {"gpu__instanceType": "m5.large"},
        'kubepark:gpu.instanceType: "m5.large" has no GPU; accepted: g4dn.xlarge, '
        "g4dn.2xlarge, g4dn.4xlarge, g4dn.8xlarge, g4dn.12xlarge, g4dn.16xlarge; fix: pulumi config set --stack "
        "dev --path kubepark:gpu.instanceType g4dn.xlarge",
    ),
    "missing image pin": (
        {"platform__ami": None},
        "kubepark:platform.ami: is missing, and master1, worker01, worker02, worker03, gpu01 have no ami of "
        "their own; accepted: ami- and 8 or 17 hexadecimal digits; fix: pulumi config set --stack dev --path "
        'kubepark:platform.ami "$(aws ssm get-parameter --name /aws/service/canonical/ubuntu/server/24.04/'
        'stable/current/amd64/hvm/ebs-gp3/ami-id --query Parameter.Value --output text)"',
    ),
    "two nodes with one name": (
        {"workers__nodes": {"gpu01": {}}},
        "kubepark:workers.nodes.gpu01: gpu01 is the name of kubepark:gpu.nodes.gpu01 too; accepted: a name of its "
        "own; fix: pulumi config rm --stack dev --path kubepark:workers.nodes.gpu01",
    ),
    "two nodes with one number": (
        {"workers__nodes": {"worker01": {}, "big01": {}}},
        "kubepark:workers.nodes.worker01: worker01 ends in the number of big01, and the number fixes the "
        "address; accepted: a number of its own in the pool; fix: pulumi config rm --stack dev --path "
        "kubepark:workers.nodes.worker01",
    ),
    "node name not DNS-1123": (
        {"workers__nodes": {"Worker_1": {}}},
        'kubepark:workers.nodes.Worker_1: "Worker_1" is not a node name (DNS-1123, ending in a number); '
        "accepted: lower-case letters and a number at the end, like worker01; fix: pulumi config rm --stack dev "
        "--path kubepark:workers.nodes.Worker_1",
    ),
    "cluster name not DNS-1123": (
        {"clusterName": "My Lab"},
        'kubepark:clusterName: "My Lab" is not a DNS-1123 label; accepted: a DNS-1123 label of at most 24 '
        "characters; fix: pulumi config set --stack dev --path kubepark:clusterName kubepark-dev",
    ),
    "malformed e-mail": (
        {
            "people": [{"name": "ana", "email": "ana(at)example.org", "namespace": "ana"}],
            "passwordHashes__bo": None,
        },
        'kubepark:people[0].email: "ana(at)example.org" is not an e-mail address; accepted: local-part@domain; '
        "fix: pulumi config set --stack dev --path 'kubepark:people[0].email' ana@example.org",
    ),
    "reserved namespace": (
        {"people": [{"name": "ana", "email": "kubeflow@example.org"}], "passwordHashes__bo": None},
        'kubepark:people[0].namespace: the e-mail\'s local part gives no namespace: "kubeflow" is reserved; '
        "accepted: a DNS-1123 label that is not reserved; fix: pulumi config set --stack dev --path "
        "'kubepark:people[0].namespace' user-kubeflow",
    ),
    "hash missing": (
        {"passwordHashes__bo": None},
        "kubepark:passwordHashes.bo: is missing; accepted: a bcrypt hash with a cost from 10 to 14; fix: "
        "bin/kubepark people hash | pulumi config set --secret --stack dev --path kubepark:passwordHashes.bo",
    ),
    "hash not bcrypt": (
        {"passwordHashes__bo": "hunter2"},
        "kubepark:passwordHashes.bo: is not a bcrypt hash; accepted: a bcrypt hash with a cost from 10 to 14; fix: "
        "bin/kubepark people hash | pulumi config set --secret --stack dev --path kubepark:passwordHashes.bo",
    ),
    "hash too cheap": (
        {"passwordHashes__bo": HASH.replace("$12$", "$05$")},
        "kubepark:passwordHashes.bo: has cost 5; accepted: a bcrypt hash with a cost from 10 to 14; fix: "
        "bin/kubepark people hash | pulumi config set --secret --stack dev --path kubepark:passwordHashes.bo",
    ),
    "hash too dear": (
        {"passwordHashes__bo": HASH.replace("$12$", "$15$")},
        "kubepark:passwordHashes.bo: has cost 15; accepted: a bcrypt hash with a cost from 10 to 14; fix: "
        "bin/kubepark people hash | pulumi config set --secret --stack dev --path kubepark:passwordHashes.bo",
    ),
    "client secret too short": (
        {"oidcClientSecret": "short"},
        "kubepark:oidcClientSecret: is shorter than 32 characters; accepted: a random text of at least 32 "
        "characters; fix: openssl rand -hex 32 | pulumi config set --secret --stack dev --path "
        "kubepark:oidcClientSecret",
    ),
    "region missing": (
        {
            "aws__region": None,
            "network__availabilityZone": "eu-central-1a",
            "network__secondAvailabilityZone": "eu-central-1b",
        },
        "kubepark:aws.region: is missing; accepted: a region of AWS or of GovCloud; fix: pulumi config set --stack dev --path "
        "kubepark:aws.region eu-central-1",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_bad_input_is_named_with_its_fix(case: str) -> None:
    changes, message = CASES[case]
    assert problems(configuration(**changes)) == [message]


def test_duplicate_people_are_named() -> None:
    twice = [{"name": "ana", "email": "ana@example.org"}, {"name": "ana", "email": "ANA@example.org"}]
    found = problems(configuration(people=twice, passwordHashes__bo=None))
    assert [line.partition(";")[0] for line in found] == [
        "kubepark:people[1].name: ana is a duplicate of kubepark:people[0]",
        "kubepark:people[1].email: ana@example.org is a duplicate of kubepark:people[0]",
        "kubepark:people[1].namespace: ana is a duplicate of kubepark:people[0]",
    ]


def test_wrong_type_unknown_key_and_bad_network_give_one_error_with_three_lines() -> None:
    config = configuration(controlPlane__volumeGb="big", network__vpcCdir="x", network__podCidr="10/8")
    with pytest.raises(SettingsError) as raised:
        settings.parse("dev", config)
    lines = str(raised.value).splitlines()
    assert lines[0] == "the configuration of stack dev has 3 problems; nothing was changed:"
    assert [line.split(":")[0] + ":" + line.split(":")[1] for line in lines[1:]] == [
        "  - kubepark:network.podCidr",
        "  - kubepark:network.vpcCdir",
        "  - kubepark:controlPlane.volumeGb",
    ]


def test_a_secret_in_plain_text_is_refused_and_not_shown() -> None:
    found = problems(configuration(), SECRETS)
    assert found == [
        "kubepark:oidcClientSecret: is stored as plain text; accepted: an encrypted value (--secret); fix: "
        "openssl rand -hex 32 | pulumi config set --secret --stack dev --path kubepark:oidcClientSecret",
        "kubepark:passwordHashes: is stored as plain text; accepted: an encrypted value (--secret); fix: "
        "pulumi config rm --stack dev --path kubepark:passwordHashes",
    ]


@pytest.mark.parametrize("value", [7, "text", ["a"], True])
@pytest.mark.parametrize(
    "key", ["aws", "platform", "network", "controlPlane", "workers", "gpu", "kubeflow", "tags"]
)
def test_any_section_of_a_wrong_type_is_a_problem_and_no_traceback(key: str, value: Any) -> None:
    found = problems(configuration(**{key: value}))
    assert found[0].startswith(f"kubepark:{key}: ") or any(f"kubepark:{key}: " in line for line in found)


def test_a_name_that_no_path_can_hold_is_removed_by_hand() -> None:
    (found,) = problems(configuration(tags={"kubepark:x\\": "1"}))
    assert found.endswith("fix: edit Pulumi.dev.yaml")


def test_of_what_is_no_object_nothing_more_is_said() -> None:
    assert len(problems(configuration(network=["a"]))) == 1
