"""The AWS stand-in on a real emulator server, without an engine."""

from __future__ import annotations

import atexit
import itertools
import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from sandbox.aws.provider import schema
from sandbox.aws.provider.api import SERVICES
from sandbox.aws.provider.backend import AwsBackend
from sandbox.aws.provider.values import CheckFailure, Properties
from sandbox.config import ACCOUNT_ID
from sandbox.tests.aws.emulator_server import IMAGE, OTHER_IMAGE, REGION, Emulator

ACCOUNT = ACCOUNT_ID
NO_IMAGE = "ami-00000000000000000"
DEFAULT_TAGS = {"kubepark:cluster": "test"}
SEED = b"seed"
# Type tokens.
VPC = "aws:ec2/vpc:Vpc"
SUBNET = "aws:ec2/subnet:Subnet"
RESERVATION = "aws:ec2/subnetCidrReservation:SubnetCidrReservation"
GATEWAY = "aws:ec2/internetGateway:InternetGateway"
TABLE = "aws:ec2/routeTable:RouteTable"
ROUTE = "aws:ec2/route:Route"
ASSOCIATION = "aws:ec2/routeTableAssociation:RouteTableAssociation"
GROUP = "aws:ec2/securityGroup:SecurityGroup"
DEFAULT_GROUP = "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup"
INGRESS = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"
EGRESS = "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule"
EXCLUSIVE = "aws:ec2/vpcSecurityGroupRulesExclusive:VpcSecurityGroupRulesExclusive"
INTERFACE = "aws:ec2/networkInterface:NetworkInterface"
ADDRESS = "aws:ec2/eip:Eip"
INSTANCE = "aws:ec2/instance:Instance"
STATE = "aws:ec2transitgateway/instanceState:InstanceState"
ROLE = "aws:iam/role:Role"
ROLE_POLICY = "aws:iam/rolePolicy:RolePolicy"
PROFILE = "aws:iam/instanceProfile:InstanceProfile"
KEY = "aws:kms/key:Key"
ALIAS = "aws:kms/alias:Alias"
PARAMETER = "aws:ssm/parameter:Parameter"
SCHEDULE_GROUP = "aws:scheduler/scheduleGroup:ScheduleGroup"
SCHEDULE = "aws:scheduler/schedule:Schedule"
_number = itertools.count(1)


@cache
def server() -> Emulator:
    """One for all tests of this process; it ends with the process."""
    folder = tempfile.mkdtemp(prefix="kubepark-emulator-")
    made = Emulator(Path(folder), IMAGE, OTHER_IMAGE)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    atexit.register(made.stop)
    return made


@cache
def client(service: str) -> Any:
    """A client that goes behind the provider's back."""
    return server().client(service)


def settings(**others: Any) -> dict[str, Any]:
    """Provider settings as an SDK sends them: strings plain, everything else as JSON text."""
    values: dict[str, Any] = {
        "region": REGION,
        "accessKey": "testing",
        "secretKey": "testing",
        "endpoints": [dict.fromkeys((*SERVICES, "s3", "scheduler"), server().url)],
        "defaultTags": {"tags": DEFAULT_TAGS},
        "allowedAccountIds": [ACCOUNT],
        **others,
    }
    return {key: v if isinstance(v, str) else json.dumps(v) for key, v in values.items()}


def unique(stem: str) -> str:
    return f"{stem}-{next(_number)}"


@dataclass
class Resource:
    """A resource as the engine would keep it."""

    typ: str
    urn: str
    id: str
    inputs: Properties
    outputs: Properties

    @property
    def declared(self) -> Properties:
        """What the program gave, without what `check` filled in."""
        return {name: v for name, v in self.inputs.items() if name not in ("tagsAll", "__defaults")}


@dataclass
class Cloud:
    """Does with the backend what the engine does."""

    backend: AwsBackend = field(default_factory=lambda: AwsBackend(delete_timeout=0))

    def __post_init__(self) -> None:
        self.backend.configure(settings())

    def check(self, typ: str, inputs: Mapping[str, Any]) -> list[CheckFailure]:
        return self.backend.check(_urn(typ, "x"), typ, {}, dict(inputs), SEED)[1]

    def _checked(self, urn: str, typ: str, old: Properties, inputs: Mapping[str, Any]) -> Properties:
        checked, failures = self.backend.check(urn, typ, old, dict(inputs), SEED)
        assert failures == []
        return checked

    def make(self, typ: str, inputs: Mapping[str, Any]) -> Resource:
        urn = _urn(typ, unique("r"))
        checked = self._checked(urn, typ, {}, inputs)
        created = self.backend.create(typ, checked, preview=False)
        return Resource(typ, urn, created.id, checked, created.outputs)

    def changes(self, old: Resource, inputs: Mapping[str, Any]) -> set[str]:
        checked = self._checked(old.urn, old.typ, old.inputs, inputs)
        return set(self.backend.diff(old.typ, old.id, old.inputs, old.outputs, checked).changes)

    def replaces(self, old: Resource, **inputs: Any) -> bool:
        """Whether the engine would make a new one for these changed inputs."""
        result = self.backend.diff(old.typ, old.id, old.inputs, old.outputs, {**old.inputs, **inputs})
        assert result.changes
        return any(path.startswith(root) for path in result.changes for root in result.replaces)

    def change(self, old: Resource, **inputs: Any) -> Resource:
        """Update in place."""
        checked = self._checked(old.urn, old.typ, old.inputs, {**old.declared, **inputs})
        outputs = self.backend.update(
            old.typ, old.id, old.inputs, old.outputs, checked, preview=False, ignore_changes=[]
        )
        return Resource(old.typ, old.urn, old.id, checked, outputs)

    def refresh(self, old: Resource) -> Resource | None:
        found = self.backend.read(old.typ, old.id, old.inputs, old.outputs)
        return None if found is None else Resource(old.typ, old.urn, found.id, found.inputs, found.outputs)

    def drift(self, old: Resource) -> set[str]:
        """What a refresh shows: the difference between what is and what was declared."""
        now = self.refresh(old)
        assert now is not None
        return set(self.backend.diff(old.typ, old.id, now.inputs, now.outputs, old.inputs).changes)

    def delete(self, old: Resource) -> None:
        self.backend.delete(old.typ, old.id, old.inputs, old.outputs)


def outputs_fit_schema(resource: Resource) -> list[CheckFailure]:
    known = schema.resource(resource.typ).outputs
    return list(known.failures({name: value for name, value in resource.outputs.items() if name != "id"}))


def _urn(typ: str, name: str) -> str:
    return f"urn:pulumi:test::test::{typ}::{name}"


def statement(**others: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": "*", "Resource": "*", **others}


def document(*statements: Mapping[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


TRUST = document(
    {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "ec2.amazonaws.com"}}
)
TRUST_SCHEDULER = TRUST.replace("ec2.amazonaws.com", "scheduler.amazonaws.com")
ROOT_ONLY = document(statement(Action="kms:*", Principal={"AWS": f"arn:aws:iam::{ACCOUNT}:root"}))


@dataclass
class World:
    """What most resources need around them, in a VPC of its own; made when asked for."""

    cloud: Cloud

    def __post_init__(self) -> None:
        self.vpc = self.cloud.make(VPC, {"cidrBlock": "10.20.0.0/16"})
        self.subnet = self.cloud.make(
            SUBNET,
            {"vpcId": self.vpc.id, "cidrBlock": "10.20.0.0/22", "availabilityZone": "us-east-1a"},
        )

    def group(self) -> Resource:
        inputs = {"vpcId": self.vpc.id, "name": unique("group"), "description": "nodes"}
        return self.cloud.make(GROUP, inputs)

    def interface(self, address: str = "10.20.0.10", **others: Any) -> Resource:
        inputs = {"subnetId": self.subnet.id, "privateIps": [address], **others}
        return self.cloud.make(INTERFACE, inputs)

    def gateway(self) -> Resource:
        return self.cloud.make(GATEWAY, {"vpcId": self.vpc.id})

    def table(self) -> Resource:
        return self.cloud.make(TABLE, {"vpcId": self.vpc.id})

    def address(self) -> Resource:
        return self.cloud.make(ADDRESS, {"domain": "vpc"})

    def role(self) -> Resource:
        return self.cloud.make(ROLE, {"name": unique("role"), "assumeRolePolicy": TRUST})

    def schedule(self, **others: Any) -> dict[str, Any]:
        """Inputs of one in a group of its own, which stops an instance at nineteen."""
        role = self.cloud.make(ROLE, {"name": unique("role"), "assumeRolePolicy": TRUST_SCHEDULER})
        return {
            "name": "gpu01-stop",
            "groupName": self.cloud.make(SCHEDULE_GROUP, {"name": unique("group")}).id,
            "scheduleExpression": "cron(0 19 ? * MON,FRI *)",
            "scheduleExpressionTimezone": "Asia/Seoul",
            "flexibleTimeWindow": {"mode": "OFF"},
            "target": {
                "arn": "arn:aws:scheduler:::aws-sdk:ec2:stopInstances",
                "roleArn": role.outputs["arn"],
                "input": json.dumps({"InstanceIds": ["i-0123456789abcdef0"]}),
                "retryPolicy": {"maximumEventAgeInSeconds": 3600},
            },
            **others,
        }

    def key(self) -> Resource:
        return self.cloud.make(KEY, {"deletionWindowInDays": 7, "policy": ROOT_ONLY})

    def parameter(self, **others: Any) -> Resource:
        inputs = {"name": f"/{unique('cluster')}/join", "type": "String", "value": "pending", **others}
        return self.cloud.make(PARAMETER, inputs)

    def launch(self, **others: Any) -> dict[str, Any]:
        """Inputs of a small instance at a fixed address."""
        return {
            "ami": IMAGE,
            "instanceType": "t3.large",
            "subnetId": self.subnet.id,
            "privateIp": "10.20.0.11",
            "metadataOptions": {"httpTokens": "required", "httpPutResponseHopLimit": 1},
            "rootBlockDevice": {"encrypted": True, "volumeSize": 40, "volumeType": "gp3"},
            **others,
        }

    def launch_on_interface(self) -> dict[str, Any]:
        """The same on an interface that is there already."""
        kept = {name: v for name, v in self.launch().items() if name not in ("subnetId", "privateIp")}
        return {**kept, "primaryNetworkInterface": {"networkInterfaceId": self.interface().id}}

    def instance(self, **others: Any) -> Resource:
        return self.cloud.make(INSTANCE, self.launch(**others))
