"""The policy of `kubepark permissions` against what deploying, changing and destroying the program asks of AWS.

Every resource that the program registers is made, read, changed and deleted by the AWS provider, and
what `kubepark` asks by itself is asked; the emulator's log is then replayed against the policy.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from ipaddress import IPv4Network, ip_address
from typing import Any

import pytest

from cli.aws import client, schedule_key_deletion
from cli.destroy_cluster import Claimed, mark_volumes
from cli.inventory import Account
from cli.leftovers import Wanted, plan
from cli.lookup import Cloud as Lookup
from cli.permissions import policy
from cli.preflight import warnings
from cli.preflight_checks import Plan
from cli.schedules import Hold, Schedules, stops_of
from cli.sweep import Deleter, sweep
from cli.tunnel import DOCUMENT
from cli.volume_policy import VolumePolicy
from config.model import NodeSettings
from config.naming import Naming
from config.prices import load
from config.versions import AMI_PARAMETERS
from sandbox.tests.aws import aws_provider as types
from sandbox.tests.aws.aws_provider import ACCOUNT, SERVICES, Cloud, Resource, settings
from sandbox.tests.aws.emulator_server import IMAGE, REGION, Emulator
from sandbox.tests.program.operator_calls import TAG, judge, operators
from tests.configuration import HOURS, configuration
from tests.program import run

CLUSTER = "lab"  # of the configuration that tests run the program with
USER = "kubepark"  # whom sessions of the emulator belong to
_PROFILE = "a node has lost its profile, or is to have none (service/ec2/ec2_instance.go)"
_ANEW = "what it names was made anew, after somebody deleted it by hand"
# Why an action is allowed that nothing here used.
REASONS: dict[tuple[str, str], str] = {
    ("KeyUse", "kms:ReEncrypt*"): "EC2 may, for an encrypted root disk (EBS guide)",
    ("Make", "ec2:ReplaceRoute"): _ANEW,
    ("Make", "ec2:ReplaceRouteTableAssociation"): _ANEW,
    ("Own", "ec2:AssociateIamInstanceProfile"): _PROFILE,
    ("Own", "ec2:DisassociateIamInstanceProfile"): _PROFILE,
    ("OwnSessions", "ssm:ResumeSession"): "session-manager-plugin, when its connection breaks",
    ("OwnSessions", "ssmmessages:OpenDataChannel"): "session-manager-plugin (Systems Manager guide)",
}


class Deployment:
    """The AWS resources of the program in an emulator."""

    def __init__(self, emulator: Emulator) -> None:
        endpoints = [dict.fromkeys(SERVICES, emulator.url)]
        self.cloud = Cloud(settings(endpoints=endpoints, defaultTags={"tags": {TAG: CLUSTER}}))
        self._ids: dict[str, str] = {}  # as the recording engine gave them out -> as AWS did
        self.made: list[Resource] = []

    def up(self) -> None:
        for item in run(config=configuration(gpu__schedule=HOURS)).resources.values():
            if item.type.startswith("aws:"):
                made = self.cloud.make(item.type, self._real(copy.deepcopy(item.inputs)))
                self._ids[item.id] = made.id
                self.made.append(made)
        invoke = self.cloud.invoke
        invoke("aws:ssm/getParametersByPath:getParametersByPath", path=f"/{CLUSTER}/status")
        invoke("aws:ssm/getParameter:getParameter", name=f"/{CLUSTER}/kubeconfig", withDecryption=True)

    def spot(self) -> None:
        """One more GPU node, a Spot Instance, made and deleted."""
        (gpu,) = [item for item in run().resources.values() if item.name == "gpu01" and item.custom]
        inputs = self._real(copy.deepcopy(gpu.inputs))
        options = {"spotInstanceType": "persistent", "instanceInterruptionBehavior": "stop"}
        inputs["instanceMarketOptions"] = {"marketType": "spot", "spotOptions": options}
        inputs["privateIp"] = str(ip_address(inputs["privateIp"]) + 1)
        self.cloud.delete(self.cloud.make(types.INSTANCE, inputs))

    def change(self) -> None:
        for place, each in enumerate(self.made):
            assert self.cloud.read(each) is not None
            tags = each.inputs.get("tags") or {}
            wanted = [{"tags": {**tags, "team": "ml"}}, {"tags": tags}] if "tagsAll" in each.outputs else []
            for change in [*wanted, *self._changes(each)]:
                each = self.cloud.change(each, **change)
            self.made[place] = each

    def _changes(self, old: Resource) -> list[dict[str, Any]]:
        """What a person or a new release may change in place, beside tags."""
        described = [{"description": "changed"}]
        trust = json.loads(old.inputs.get("assumeRolePolicy", types.TRUST))["Statement"][0]
        options = {"httpEndpoint": "enabled", "httpTokens": "required", "httpPutResponseHopLimit": 3}
        if old.typ == types.INSTANCE:
            profiles = [each.id for each in self.made if each.typ == types.PROFILE]
            (other, *_) = [each for each in profiles if each != old.inputs["iamInstanceProfile"]]
            return [
                {"instanceType": "m7i.2xlarge"},
                {"metadataOptions": options},
                {"rootBlockDevice": {**old.inputs["rootBlockDevice"], "volumeSize": 200}},
                {"iamInstanceProfile": other},
            ]
        if old.typ == types.ALIAS:
            return [{"targetKeyId": self.id(types.KEY)}]
        if old.typ == types.SCHEDULE:
            return [{"state": "DISABLED"}]
        return {
            types.INGRESS: described,
            types.EGRESS: described,
            types.INTERFACE: described,
            types.ROLE: [*described, {"assumeRolePolicy": types.document({**trust, "Sid": "Changed"})}],
            types.KEY: [*described, {"policy": types.ROOT_ONLY}],
            types.PARAMETER: [
                {"valueWo": "changed", "valueWoVersion": 2}
                if "valueWo" in old.inputs
                else {"value": "changed"}
            ],
        }.get(old.typ, [])

    def destroy(self) -> None:
        for each in reversed(self.made):
            self.cloud.delete(each)

    def id(self, typ: str) -> str:
        """Of the first one of this type; the master comes before the other instances."""
        return next(each.id for each in self.made if each.typ == typ)

    def _real(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {key: self._real(each) for key, each in value.items()}
        if isinstance(value, list):
            return [self._real(each) for each in value]
        if isinstance(value, str):
            for recorded, real in self._ids.items():
                value = value.replace(recorded, real)
        return value


def asks(emulator: Emulator, deployment: Deployment) -> None:
    """What `kubepark` asks by itself, with its own clients."""
    variables = {"AWS_ENDPOINT_URL": emulator.url, "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
    asked = partial(client, stack="sandbox", variables=variables)
    node = NodeSettings(name="n1", instance_type="m7i.large", ami=IMAGE, volume_gb=40, generation=1)
    cidrs = (IPv4Network("203.0.113.7/32"),)
    plan = Plan(stack="s", region=REGION, cluster=CLUSTER, zone="us-east-1a", nodes=[node], admin_cidrs=cidrs)
    assert warnings(plan, asked, lambda: "203.0.113.7") == []
    lookup = Lookup(asked, ACCOUNT)
    for each in deployment.made:
        assert lookup.candidates({"type": each.typ, "inputs": each.inputs}, {TAG: CLUSTER}), each.typ
    ssm = asked("ssm")
    ssm.get_parameter(Name=AMI_PARAMETERS["ubuntu-24.04"])
    ports = {"portNumber": ["6443"], "localPortNumber": ["6443"]}
    master = deployment.id(types.INSTANCE)
    keeps_on(asked("scheduler"))
    destroys(emulator, deployment, asked)
    session = ssm.start_session(Target=master, DocumentName=DOCUMENT, Parameters=ports)
    ssm.terminate_session(SessionId=session["SessionId"])
    schedule_key_deletion(asked("kms"), deployment.id(types.KEY))


def keeps_on(scheduler: Any) -> None:
    """What `kubepark keep-on` does to schedules: twice, and then a park."""
    schedules, end = Schedules(scheduler, Naming(CLUSTER)), datetime.now(UTC) + timedelta(hours=3)
    for _ in range(2):
        for node, stop in stops_of(schedules, ["gpu01"], "dev").items():
            schedules.hold(node, stop, Hold(end, end, end))
    schedules.release(["gpu01"])


def destroys(emulator: Emulator, deployment: Deployment, asked: Any) -> None:
    """What `kubepark destroy` asks and deletes beside the stack: leftovers of each controller."""
    ec2, kms = emulator.client("ec2"), emulator.client("kms")
    network = {"VpcId": deployment.id(types.VPC), "SubnetId": deployment.id(types.SUBNET)}
    plant(emulator, "kubernetes.io/cluster/lab", "owned", **network)
    plant(emulator, "elbv2.k8s.aws/cluster", "lab", **network)
    vpc = ec2.create_vpc(CidrBlock="10.99.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.99.0.0/24")["Subnet"]["SubnetId"]
    plant(emulator, "kubernetes.io/cluster/other", "owned", VpcId=vpc, SubnetId=subnet)
    kms.create_key(Tags=[{"TagKey": TAG, "TagValue": "other"}])
    claimed = ec2.create_volume(AvailabilityZone="us-east-1a", Size=1)["VolumeId"]
    assert mark_volumes(asked("ec2"), CLUSTER, [Claimed(claimed, "ana", "data")]) == [claimed]
    account = Account(cache(asked), CLUSTER, load(REGION))
    ids = {each.id for each in deployment.made}
    for wanted in (Wanted(volumes=VolumePolicy.SNAPSHOT), Wanted(volumes=VolumePolicy.DELETE, purge=True)):
        found = account.inventory()
        assert found.unanswered == {}
        going = plan(found.found, ids, wanted).delete
        one = Deleter(cache(asked), CLUSTER, wanted.volumes, lambda line: None)
        done, reasons = sweep(going, one.delete, lambda line: None, seconds=5)
        assert (len(done), dict(reasons)) == (len(going), {})
    assert plan(account.inventory().found, ids, wanted).delete == ()


def plant(emulator: Emulator, key: str, value: str, *, VpcId: str, SubnetId: str) -> None:
    ec2, elbv2, elb = (emulator.client(name) for name in ("ec2", "elbv2", "elb"))
    tags, name = [{"Key": key, "Value": value}], re.sub(r"\W", "-", key)[-20:]
    group = ec2.create_security_group(
        GroupName=name, Description=name, VpcId=VpcId, **specified("security-group", tags)
    )["GroupId"]
    elbv2.create_load_balancer(Name=name, Type="network", Subnets=[SubnetId], Tags=tags)
    elbv2.create_target_group(Name=name, Protocol="TCP", Port=80, VpcId=VpcId, Tags=tags)
    listener = {"Protocol": "tcp", "LoadBalancerPort": 80, "InstancePort": 30080}
    where = {"Subnets": [SubnetId], "SecurityGroups": [group]}
    elb.create_load_balancer(LoadBalancerName=name, Listeners=[listener], Tags=tags, **where)
    if key.startswith("kubernetes.io"):
        ec2.create_network_interface(
            SubnetId=SubnetId, Groups=[group], **specified("network-interface", tags)
        )
        volume = ec2.create_volume(AvailabilityZone="us-east-1a", Size=1, **specified("volume", tags))
        ec2.create_snapshot(VolumeId=volume["VolumeId"], **specified("snapshot", tags))


def specified(kind: str, tags: list[dict[str, str]]) -> dict[str, Any]:
    return {"TagSpecifications": [{"ResourceType": kind, "Tags": tags}]}


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """What a life of the program asked of AWS."""
    emulator = Emulator(tmp_path_factory.mktemp("policy"), IMAGE)
    try:
        deployment = Deployment(emulator)
        deployment.up()
        deployment.spot()
        deployment.change()
        asks(emulator, deployment)
        deployment.destroy()
        yield emulator.log.read_text(encoding="utf-8").splitlines()
    finally:
        emulator.stop()


def document(cluster: str = CLUSTER) -> dict[str, Any]:
    """The policy, with the caller's own id in place of its variable."""
    text = json.dumps(policy(cluster, REGION, ACCOUNT))
    found: dict[str, Any] = json.loads(text.replace("${aws:userid}", USER))
    return found


def test_everything_that_is_asked_is_allowed(log: list[str]) -> None:
    assert len(list(operators(log))) > 300
    assert judge(document(), log).denied == []


def test_everything_that_is_allowed_is_asked_or_has_a_reason(log: list[str]) -> None:
    assert judge(document(), log).unused == set(REASONS)


def test_the_policy_of_one_cluster_allows_nothing_with_what_another_has(log: list[str]) -> None:
    """What is new, and what has no tag, is in the account that both share."""
    denied = judge(document("other"), log).denied
    refused = {line.partition(" ")[0] for line in denied}
    assert {
        *("ec2:TerminateInstances", "ec2:StopInstances", "ec2:DeleteVpc", "ec2:ReleaseAddress"),
        *("iam:CreateRole", "iam:PutRolePolicy", "iam:PassRole", "iam:DeleteRole"),
        *("kms:ScheduleKeyDeletion", "kms:PutKeyPolicy", "kms:Decrypt", "kms:Encrypt", "kms:CreateGrant"),
        *("ssm:GetParameter", "ssm:PutParameter", "ssm:DeleteParameter", "ssm:StartSession"),
    } <= refused
