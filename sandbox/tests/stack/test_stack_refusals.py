"""What the real command refuses: each time one error that says what is wrong and what fixes it.

'Nothing created' is looked up where it would show: in the requests that reached AWS and in the state.
The exact words of every problem are in tests/unit/test_settings.py.
"""

from __future__ import annotations

import json
import re

import pytest

from sandbox import config
from sandbox.local_cloud import epoch
from sandbox.tests.stack.project import Project
from sandbox.tests.stack.refusals import mutations, problems, refused, resources

pytestmark = pytest.mark.sandbox

BCRYPT = "$2b$12$" + "A" * 53  # the form of a hash, of no password


@pytest.fixture(scope="module")
def project(checkout: Project) -> Project:
    """A stack with a master and one worker, of which no test deploys anything."""
    checkout.set("kubepark:workers", {"nodes": {"worker01": {}}})
    checkout.set("kubepark:gpu", {"power": "absent"})
    return checkout


# -- before anything exists ------------------------------------------------------------------------


def test_a_wrong_type_an_unknown_key_and_a_bad_network_are_one_error_of_three_lines(project: Project) -> None:
    found = problems(
        project, controlPlane__volumeGb="big", network__vpcCdir="10.20.0.0/16", network__podCidr="10.0.0.0/40"
    )
    assert [line.partition(": ")[0] for line in found] == [
        "kubepark:network.podCidr",
        "kubepark:network.vpcCdir",
        "kubepark:controlPlane.volumeGb",
    ]
    assert "is not a known key (did you mean vpcCidr?)" in found[1]
    assert found[2].endswith(
        "fix: pulumi config set --stack sandbox --path kubepark:controlPlane.volumeGb 40"
    )
    assert resources(project) == []


def test_malformed_people_get_the_programs_words_and_no_password(project: Project) -> None:
    """The sandbox makes a hash per person, so it meets them before the program does."""
    found = problems(
        project,
        people=[
            {"name": "dora", "email": "dora@example.org"},
            {"name": "dora", "email": "DORA@example.org"},
            {"name": ["x"], "email": "eve@example.org"},
            {"name": 'a "b]', "email": "nowhere"},
            {"email": "fay@example.org"},
        ],
    )
    assert [line.partition(";")[0] for line in found] == [
        'kubepark:people[2].name: ["x"] is not a DNS-1123 label',
        'kubepark:people[3].email: "nowhere" is not an e-mail address',
        'kubepark:people[3].name: "a \\"b]" is not a DNS-1123 label',
        "kubepark:people[4].name: is missing",
        "kubepark:people[1].name: dora is a duplicate of kubepark:people[0]",
        "kubepark:people[1].email: dora@example.org is a duplicate of kubepark:people[0]",
        "kubepark:people[1].namespace: dora is a duplicate of kubepark:people[0]",
    ]
    passwords = (project.state / "passwords.txt").read_text(encoding="utf-8").splitlines()
    assert {line.split()[1] for line in passwords} <= {"ana", "bo", "chris", "dora"}
    assert resources(project) == []


def test_rows_images_and_instance_types_that_do_not_exist(project: Project) -> None:
    found = problems(
        project,
        platform={"kubernetes": "1.22", "os": "plan9"},
        gpu={"power": "running", "instanceType": "m5.large"},
        network__adminCidrs=["0.0.0.0/0"],
    )
    said = "\n".join(found)
    assert 'kubepark:platform.kubernetes: "1.22" is not one of 1.36' in said
    assert 'kubepark:platform.os: "plan9" is not one of ubuntu-24.04' in said
    assert "kubepark:platform.ami: is missing" in said
    assert 'kubepark:gpu.instanceType: "m5.large" has no GPU' in said
    assert "0.0.0.0/0 is the whole internet" in said
    assert resources(project) == []


def test_secrets_stored_in_plain_are_refused_and_not_repeated(project: Project) -> None:
    plain = "0123456789abcdef" * 3
    hashes = dict.fromkeys(["ana", "bo", "chris"], BCRYPT)
    found = problems(project, oidcClientSecret=plain, passwordHashes=hashes)
    assert [line.partition(";")[0] for line in found] == [
        "kubepark:oidcClientSecret: is stored as plain text",
        "kubepark:passwordHashes: is stored as plain text",
    ]
    assert not any(plain in line or BCRYPT in line for line in found)
    for path in project.state.rglob("*.log"):
        assert plain.encode() not in path.read_bytes()
    assert resources(project) == []


def test_a_wrong_type_of_a_whole_key_is_one_problem_among_the_others(project: Project) -> None:
    """The CLI's own check ends at the first of them, so it is left out."""
    found = problems(project, network=[1, 2], people={"ana": 1}, clusterName={})
    said = "\n".join(found)
    assert "kubepark:network: [1, 2] is not an object" in said
    assert 'kubepark:people: {"ana": 1} is not a list' in said
    assert "kubepark:clusterName: {} is not a DNS-1123 label" in said
    assert resources(project) == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("config: {a: [", "is not valid YAML: line 1, column 14"),
        ("config:\n\tkubepark:gpu: {}\n", "is not valid YAML: line 2, column 1: found character '\\t'"),
        ("config: [kubepark]\n", "`config` must be a map of keys to values"),
        ("just words\n", "`config` must be a map of keys to values"),
    ],
)
def test_a_stack_file_that_cannot_be_read_is_one_line(project: Project, text: str, words: str) -> None:
    with project.edited(project.stack_file, text):
        (line,) = refused(project, "preview")
    assert line.startswith("error: Pulumi.sandbox.yaml")
    assert words in line


def test_a_key_that_is_there_twice_is_one_line(project: Project) -> None:
    text = project.stack_file.read_text(encoding="utf-8")
    with project.edited(project.stack_file, text + "  kubepark:kubeflow: {}\n"):
        (line,) = refused(project)
    assert "is not valid YAML: line " in line
    assert 'found duplicate key "kubepark:kubeflow"' in line


def test_addresses_outside_this_machine_are_refused_before_anything_starts(project: Project) -> None:
    with project.changed("kubepark:aws.endpoint", "http://192.0.2.1:4566"):
        project.set("kubepark:controlPlane.apiEndpoint", "https://api.example.org:6443")
        first, *lines = refused(project)
    assert first == "error: Pulumi.sandbox.yaml does not describe a sandbox: 2 problems"
    assert [line.partition("; accepted: ")[0] for line in lines] == [
        'kubepark:aws.endpoint: "http://192.0.2.1:4566" is not a loopback address',
        'kubepark:controlPlane.apiEndpoint: "https://api.example.org:6443" is not a loopback address',
    ]
    assert all("; fix: pulumi config set --stack sandbox --path kubepark:" in line for line in lines)


def test_another_account_than_the_pinned_one_is_refused(project: Project) -> None:
    with project.changed("kubepark:aws.accountId", "999999999999"):
        _, line = refused(project)
    assert line.endswith("AWS account ID not allowed: 123456789012")
    assert resources(project) == []


# -- what the provider does not know -----------------------------------------------------------------

STRANGE = """
import pulumi
import pulumi_aws as aws

config = pulumi.Config("kubepark").require_object("aws")
url = config["endpoint"]
everywhere = aws.ProviderEndpointArgs(ec2=url, iam=url, kms=url, ssm=url, sts=url)
in_aws = pulumi.ResourceOptions(provider=aws.Provider(
    "aws", region=config["region"], allowed_account_ids=[config["accountId"]], endpoints=[everywhere]))

match config["case"]:
    case "type":
        pulumi.CustomResource("aws:ec2/nothing:Nothing", "odd", {}, in_aws)
    case "property":
        pulumi.CustomResource("aws:ec2/vpc:Vpc", "odd", {"cidrBlock": "10.0.0.0/16", "colour": "red"}, in_aws)
    case "function":
        pulumi.runtime.invoke("aws:ec2/getNothing:getNothing", {},
            pulumi.InvokeOptions(provider=in_aws.provider))
"""


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("type", "Resource type 'aws:ec2/nothing:Nothing' not found"),
        ("property", r"unknown key\. Examine values at 'odd\.colour'"),
        ("function", "Invoke 'aws:ec2/getNothing:getNothing' not found"),
    ],
)
def test_what_is_not_known_is_refused(project: Project, case: str, words: str) -> None:
    program = project.root / "__main__.py"
    with project.edited(program, STRANGE), project.changed("kubepark:aws.case", case):
        requested = mutations(project)
        done = project.run("up")
    assert done.returncode == 1
    assert re.search(rf"^ +error: .*{words}", done.stdout, re.MULTILINE), done.stdout
    assert mutations(project) == requested
    assert resources(project) == []


# -- and what none of it may hinder ------------------------------------------------------------------


def test_nothing_that_was_refused_hinders_what_is_right(project: Project) -> None:
    assert resources(project) == []
    steps = project.steps()
    assert set(steps) == {"create"}
    assert "worker01" in steps["create"]


def test_a_second_checkout_with_the_same_ports_takes_others_and_leaves_the_first_alone(
    project: Project,
) -> None:
    project.ok("preview")
    emulator = epoch(config.load(project.root))
    second = Project(project.root.parent / "second")
    second.stack_file.write_text(project.stack_file.read_text(encoding="utf-8"), encoding="utf-8")
    try:
        second.ok("preview")
        ports = json.loads((second.state / "ports.json").read_text(encoding="utf-8"))
        assert not {project.aws_port, project.api_port} & set(ports.values())
        assert epoch(config.load(second.root)) not in (None, emulator)
        project.ok("preview")
        assert epoch(config.load(project.root)) == emulator
    finally:
        second.stop()
    assert epoch(config.load(project.root)) == emulator
