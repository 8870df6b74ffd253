"""What is done about operations that a killed update left, in a stack of a real account too."""

from __future__ import annotations

import json

import boto3
import pytest
from moto import mock_aws

from cli import main
from cli.errors import CommandError
from cli.lookup import NotOurs
from cli.recovery import plan, resolve_pending

REGION = "eu-central-1"  # of Pulumi.dev.yaml
TAGS = {"kubepark:cluster": "c1"}
PROVIDER = "urn:pulumi:s::p::pulumi:providers:aws::aws"


class Found:
    """A cloud that answers one thing."""

    def __init__(self, ids):
        self.ids = ids
        self.asked = []

    def candidates(self, resource, tags):
        self.asked.append(tags)
        return self.ids


def deployment(*resources, pending):
    provider = {
        "urn": PROVIDER,
        "type": "pulumi:providers:aws",
        "id": "1",
        "inputs": {"defaultTags": '{"tags":{"kubepark:cluster":"c1"}}'},
    }
    return {"resources": [provider, *resources], "pending_operations": list(pending)}


def vpc(name, **more):
    urn = f"urn:pulumi:s::p::aws:ec2/vpc:Vpc::{name}"
    made = {"urn": urn, "type": "aws:ec2/vpc:Vpc", "custom": True, "provider": f"{PROVIDER}::1", "inputs": {}}
    return {**made, **more}


def creating(resource):
    return {"type": "creating", "resource": resource}


def test_what_exists_is_adopted_with_its_id():
    cloud = Found(["vpc-1"])
    after, adopted, unsettled, lines = plan(deployment(pending=[creating(vpc("a"))]), cloud)
    assert cloud.asked == [TAGS]
    assert after["resources"][-1]["id"] == "vpc-1"
    assert "pending_operations" not in after
    assert adopted == {vpc("a")["urn"]: "vpc-1"}
    assert (unsettled, lines) == ([], [])


@pytest.mark.parametrize(
    ("kind", "known"), [("aws:ec2/vpc:Vpc", True), ("kubernetes:core/v1:ConfigMap", False)]
)
def test_the_aws_provider_reads_what_is_adopted_as_its_own_and_not_as_imported(kind: str, known: bool):
    """Else it takes an instance's user data for text, and the next update takes it from the instance."""
    wanted = {"userDataBase64": "H4sI"}
    pending = vpc("a", type=kind, inputs=wanted, outputs={})
    after, *_ = plan(deployment(pending=[creating(pending)]), Found(["vpc-1"]))
    assert after["resources"][-1]["outputs"] == (wanted if known else {})


def test_what_the_state_has_already_is_not_adopted_twice():
    before = deployment(vpc("b", id="vpc-1"), pending=[creating(vpc("a"))])
    after, adopted, _, lines = plan(before, Found(["vpc-1"]))
    assert adopted == {}
    assert len(after["resources"]) == 2
    assert "it will be created" in lines[0]


def test_components_and_providers_are_nowhere_to_be_looked_up():
    component = {"urn": "urn:pulumi:s::p::kubepark:x:X::x", "type": "kubepark:x:X", "inputs": {}}
    provider = {"urn": PROVIDER, "type": "pulumi:providers:aws", "custom": True, "inputs": {}}
    cloud = Found([])
    _, adopted, _, lines = plan(deployment(pending=[creating(component), creating(provider)]), cloud)
    assert (adopted, lines, cloud.asked) == ({}, [], [])


def test_a_later_run_may_have_made_it_good():
    before = deployment(vpc("a", id="vpc-1"), pending=[creating(vpc("a"))])
    _, adopted, _, lines = plan(before, Found(["vpc-1", "vpc-2"]))
    assert adopted == {}
    assert "made good by a later run" in lines[0]


def test_a_replacement_takes_the_place_of_what_was_deleted_for_it():
    """Its id may be the same, as with what is named by its inputs; its inputs, too."""
    old = vpc("a", id="vpc-1", pendingReplacement=True)
    dependent = vpc("b", id="vpc-9", dependencies=[old["urn"]])
    after, adopted, _, lines = plan(
        deployment(old, dependent, pending=[creating(vpc("a"))]), Found(["vpc-1"])
    )
    assert after["resources"][1:] == [vpc("a", id="vpc-1", outputs={}), dependent]
    assert adopted == {old["urn"]: "vpc-1"}
    assert lines == []


def test_what_a_replacement_was_made_before_is_still_to_be_deleted():
    old = vpc("a", id="vpc-1", inputs={"cidrBlock": "10.0.0.0/16"})
    dependent = vpc("b", id="vpc-9", dependencies=[old["urn"]])
    before = deployment(old, dependent, pending=[creating(vpc("a"))])
    after, adopted, _, _ = plan(before, Found(["vpc-1", "vpc-2"]))
    assert after["resources"][1:] == [vpc("a", id="vpc-2", outputs={}), {**old, "delete": True}, dependent]
    assert adopted == {old["urn"]: "vpc-2"}


def test_a_replacement_that_does_not_exist_is_left_to_the_engine():
    old = vpc("a", id="vpc-1", pendingReplacement=True)
    after, adopted, _, lines = plan(deployment(old, pending=[creating(vpc("a"))]), Found([]))
    assert after["resources"][1:] == [old]
    assert adopted == {}
    assert "it will be created" in lines[0]


def test_two_candidates_are_an_error_and_not_a_guess():
    with pytest.raises(CommandError, match=r"several may be the one .*vpc-1.*vpc-2"):
        plan(deployment(pending=[creating(vpc("a"))]), Found(["vpc-1", "vpc-2"]))


def test_what_is_not_ours_is_told_and_left_to_the_engine():
    class Foreign:
        def candidates(self, resource, tags):
            raise NotOurs("the role r exists")

    after, adopted, _, lines = plan(deployment(pending=[creating(vpc("a"))]), Foreign())
    assert (adopted, len(after["resources"])) == ({}, 1)
    assert lines == ["aws:ec2:Vpc a: its creation was interrupted, and the role r exists; not adopted"]


def test_each_operation_has_one_line(monkeypatch):
    """What is adopted is told after the provider has read it: only then it is known to exist."""
    pending = [creating(vpc("a")), creating(vpc("b")), {"type": "updating", "resource": vpc("c")}]
    exported = {"deployment": deployment(vpc("c", id="vpc-9"), pending=pending)}

    class Cli:
        stack, variables = "s", {}

        def read(self, *words, given=None):
            if words[:2] == ("stack", "import"):
                exported.update(json.loads(given))
            if words[0] == "refresh":
                kept = [each for each in exported["deployment"]["resources"] if each.get("id") != "vpc-b"]
                exported["deployment"]["resources"] = kept
            return json.dumps(exported)

    class Ids:
        def candidates(self, resource, tags):
            return [f"vpc-{resource['urn'][-1]}"]

    assert sorted(resolve_pending(Cli(), Ids())) == [
        "aws:ec2:Vpc a: its creation was interrupted but it exists (vpc-a); adopted",
        "aws:ec2:Vpc b: its creation was interrupted before it existed; it will be created",
        "aws:ec2:Vpc c: an earlier run was killed while updating it; read again",
    ]
    assert "pending_operations" not in exported["deployment"]


def test_other_operations_are_read_again_if_the_state_has_the_resource():
    pending = [{"type": "updating", "resource": vpc("a")}, {"type": "deleting", "resource": vpc("gone")}]
    _, _, unsettled, lines = plan(deployment(vpc("a", id="vpc-1"), pending=pending), Found([]))
    assert unsettled == [vpc("a")["urn"]]
    assert len(lines) == 2


# -- a stack in a real account -----------------------------------------------------------------------

PULUMI = """#!/bin/sh
echo "$1 $2" >>{folder}/calls
case "$1 $2" in
    "stack export") cat {folder}/state ;;
    "stack output") echo '{{}}' ;;
    "stack import") cat >{folder}/state ;;
esac
"""


@pytest.fixture
def account(tmp_path, monkeypatch):
    """An account in moto, and a `pulumi` on PATH whose state is a file."""
    script = tmp_path / "pulumi"
    script.write_text(PULUMI.format(folder=tmp_path))
    script.chmod(0o755)
    for name, value in {
        "PATH": f"{tmp_path}:/usr/bin:/bin",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
    }.items():
        monkeypatch.setenv(name, value)
    with mock_aws():
        yield tmp_path


def test_up_of_a_real_stack_takes_over_what_carries_the_clusters_tag_and_nothing_else(account, capsys):
    ec2 = boto3.client("ec2", region_name=REGION)
    named = {"Key": "Name", "Value": "master1"}
    for tags in ([named], [named, {"Key": "kubepark:cluster", "Value": "other"}]):
        ec2.allocate_address(Domain="vpc", TagSpecifications=[{"ResourceType": "elastic-ip", "Tags": tags}])
    ours = [named, {"Key": "kubepark:cluster", "Value": "c1"}]
    made = ec2.allocate_address(
        Domain="vpc", TagSpecifications=[{"ResourceType": "elastic-ip", "Tags": ours}]
    )["AllocationId"]
    boto3.client("iam").create_role(RoleName="c1-master1", AssumeRolePolicyDocument="{}")

    def pending(kind, name, inputs):
        urn = f"urn:pulumi:s::p::{kind}::{name}"
        return creating(vpc(name, urn=urn, type=kind, inputs=inputs))

    address = pending("aws:ec2/eip:Eip", "address", {"tags": {"Name": "master1"}})
    role = pending("aws:iam/role:Role", "role", {"name": "c1-master1"})
    state = {"version": 3, "deployment": deployment(pending=[address, role])}
    (account / "state").write_text(json.dumps(state))

    assert main.main(["up", "--stack", "dev", "--yes"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "aws:iam:Role role: its creation was interrupted, and the role c1-master1 exists without the tag "
        "kubepark:cluster=c1: it is somebody else's; not adopted",
        f"aws:ec2:Eip address: its creation was interrupted but it exists ({made}); adopted",
    ]
    after = json.loads((account / "state").read_text())["deployment"]
    assert [each["id"] for each in after["resources"]] == ["1", made]
    assert "pending_operations" not in after
    calls = (account / "calls").read_text().splitlines()
    assert calls.index("stack import") < calls.index("refresh --yes") < calls.index("up --policy-pack")


def test_an_account_that_cannot_be_asked_is_one_clean_error_and_the_state_is_as_it_was(
    account, monkeypatch, capsys
):
    address = vpc("address", type="aws:ec2/eip:Eip", urn="urn:pulumi:s::p::aws:ec2/eip:Eip::address")
    state = json.dumps({"version": 3, "deployment": deployment(pending=[creating(address)])})
    (account / "state").write_text(state)
    monkeypatch.setenv("AWS_PROFILE", "nosuch")
    assert main.main(["up", "--stack", "dev", "--yes"]) == 1
    assert capsys.readouterr().err == (
        "error: AWS cannot be asked: The config profile (nosuch) could not be found\n"
    )
    assert (account / "state").read_text() == state
    assert "up --policy-pack" not in (account / "calls").read_text()
