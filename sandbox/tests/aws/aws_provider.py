"""The AWS provider on a real emulator server, without an engine."""

from __future__ import annotations

import atexit
import importlib
import itertools
import json
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import json_format
from google.protobuf.struct_pb2 import Struct
from pulumi import _types
from pulumi.runtime.proto import provider_pb2, provider_pb2_grpc

from sandbox.config import ACCOUNT_ID
from sandbox.tests.aws.emulator_server import IMAGE, REGION, Emulator
from sandbox.tests.tools import tool

Properties = dict[str, Any]
ACCOUNT = ACCOUNT_ID
DEFAULT_TAGS = {"kubepark:cluster": "test"}
_PATIENCE = 20  # seconds for a call: the provider tries again for minutes what AWS may take later
SERVICES = ("ec2", "iam", "kms", "s3", "s3control", "scheduler", "ssm", "sts")
# Type tokens.
VPC = "aws:ec2/vpc:Vpc"
SUBNET = "aws:ec2/subnet:Subnet"
RESERVATION = "aws:ec2/subnetCidrReservation:SubnetCidrReservation"
GATEWAY = "aws:ec2/internetGateway:InternetGateway"
TABLE = "aws:ec2/routeTable:RouteTable"
ASSOCIATION = "aws:ec2/routeTableAssociation:RouteTableAssociation"
GROUP = "aws:ec2/securityGroup:SecurityGroup"
INGRESS = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"
EGRESS = "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule"
EXCLUSIVE = "aws:ec2/vpcSecurityGroupRulesExclusive:VpcSecurityGroupRulesExclusive"
INTERFACE = "aws:ec2/networkInterface:NetworkInterface"
ADDRESS = "aws:ec2/eip:Eip"
INSTANCE = "aws:ec2/instance:Instance"
ROLE = "aws:iam/role:Role"
ROLE_POLICY = "aws:iam/rolePolicy:RolePolicy"
PROFILE = "aws:iam/instanceProfile:InstanceProfile"
KEY = "aws:kms/key:Key"
ALIAS = "aws:kms/alias:Alias"
PARAMETER = "aws:ssm/parameter:Parameter"
SCHEDULE_GROUP = "aws:scheduler/scheduleGroup:ScheduleGroup"
SCHEDULE = "aws:scheduler/schedule:Schedule"
BUCKET = "aws:s3/bucket:Bucket"
_number = itertools.count(1)


@cache
def server() -> Emulator:
    """One for all tests of this process; it ends with the process."""
    folder = tempfile.mkdtemp(prefix="kubepark-emulator-")
    made = Emulator(Path(folder), IMAGE)
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
        "endpoints": [dict.fromkeys(SERVICES, server().url)],
        "s3UsePathStyle": True,
        "defaultTags": {"tags": DEFAULT_TAGS},
        "allowedAccountIds": [ACCOUNT],
        **others,
    }
    return {key: v if isinstance(v, str) else json.dumps(v) for key, v in values.items()}


def unique(stem: str) -> str:
    return f"{stem}-{next(_number)}"


class ProviderError(Exception):
    """What the provider answered instead."""


@cache
def start() -> provider_pb2_grpc.ResourceProviderStub:
    """The provider as the engine starts it; it ends with this process."""
    command = [str(tool("pulumi-resource-aws")), "127.0.0.1:1"]  # nobody takes its log
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    atexit.register(process.communicate)
    atexit.register(process.kill)
    assert process.stdout is not None
    return provider_pb2_grpc.ResourceProviderStub(
        grpc.insecure_channel(f"127.0.0.1:{int(process.stdout.readline())}")
    )


def struct(values: Mapping[str, Any]) -> Struct:
    return json_format.ParseDict(dict(values), Struct())


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
        return {name: v for name, v in self.inputs.items() if name not in ("tagsAll", "region", "__defaults")}

    @property
    def before(self) -> dict[str, Any]:
        """What requests for a change of it say."""
        state = {"olds": struct(self.outputs), "old_inputs": struct(self.inputs)}
        return {"id": self.id, "urn": self.urn, **state}


@dataclass
class Cloud:
    """Does with the provider what the engine does."""

    settings: Mapping[str, str] | None = None  # of its own, and then a process of its own

    def __post_init__(self) -> None:
        self.stub = start.__wrapped__() if self.settings else start()
        values = struct(self.settings or settings())
        self.ask("Configure", provider_pb2.ConfigureRequest(args=values))

    def ask(self, call: str, request: Any) -> Any:
        """Raises `ProviderError` with the provider's words."""
        try:
            return getattr(self.stub, call)(request, timeout=_PATIENCE)
        except grpc.RpcError as error:
            raise ProviderError(error.details()) from error

    def _checked(self, urn: str, old: Properties, inputs: Mapping[str, Any]) -> Properties:
        request = provider_pb2.CheckRequest(
            urn=urn, olds=struct(old), news=struct(inputs), randomSeed=bytes(32)
        )
        answer = self.ask("Check", request)
        if answer.failures:
            raise ProviderError("; ".join(failure.reason for failure in answer.failures))
        checked: Properties = json_format.MessageToDict(answer.inputs)
        return checked

    def make(self, typ: str, inputs: Mapping[str, Any]) -> Resource:
        urn = _urn(typ, unique("r"))
        checked = self._checked(urn, {}, inputs)
        created = self.ask("Create", provider_pb2.CreateRequest(urn=urn, properties=struct(checked)))
        return Resource(typ, urn, created.id, checked, json_format.MessageToDict(created.properties))

    def _diff(self, old: Resource, wanted: Properties) -> Any:
        return self.ask("Diff", provider_pb2.DiffRequest(**old.before, news=struct(wanted)))

    def changes(self, old: Resource, inputs: Mapping[str, Any]) -> set[str]:
        return _paths(self._diff(old, self._checked(old.urn, old.inputs, inputs)))

    def replaces(self, old: Resource, **inputs: Any) -> bool:
        """Whether the engine would make a new one for these changed inputs."""
        answer = self._diff(old, self._checked(old.urn, old.inputs, {**old.declared, **inputs}))
        assert _paths(answer)
        return bool(answer.replaces)

    def change(self, old: Resource, **inputs: Any) -> Resource:
        """Update in place."""
        checked = self._checked(old.urn, old.inputs, {**old.declared, **inputs})
        answer = self.ask("Update", provider_pb2.UpdateRequest(**old.before, news=struct(checked)))
        return Resource(old.typ, old.urn, old.id, checked, json_format.MessageToDict(answer.properties))

    def read(self, old: Resource) -> Resource | None:
        """Of one whose inputs and outputs are empty: an import."""
        request = provider_pb2.ReadRequest(
            id=old.id, urn=old.urn, properties=struct(old.outputs), inputs=struct(old.inputs)
        )
        answer = self.ask("Read", request)
        found = json_format.MessageToDict(answer.inputs), json_format.MessageToDict(answer.properties)
        return Resource(old.typ, old.urn, answer.id, *found) if answer.id else None

    def refreshed(self, old: Resource) -> Resource:
        now = self.read(old)
        assert now is not None
        return now

    def drift(self, old: Resource) -> set[str]:
        """What a refresh shows: the difference between what is and what was declared."""
        return _paths(self._diff(self.refreshed(old), old.inputs))

    def delete(self, old: Resource) -> None:
        request = provider_pb2.DeleteRequest(
            id=old.id, urn=old.urn, properties=struct(old.outputs), old_inputs=struct(old.inputs)
        )
        self.ask("Delete", request)

    def invoke(self, token: str, **arguments: Any) -> Properties:
        answer = self.ask("Invoke", provider_pb2.InvokeRequest(tok=token, args=struct(arguments)))
        if answer.failures:
            raise ProviderError("; ".join(failure.reason for failure in answer.failures))
        found: Properties = json_format.MessageToDict(getattr(answer, "return"))
        return found


def unknown_to_the_sdk(resource: Resource) -> set[str]:
    """Outputs that no program sees, by the annotations of the SDK's class."""
    _, module, name = resource.typ.split(":")
    cls = getattr(importlib.import_module(f"pulumi_aws.{module.partition('/')[0]}"), name)
    internal = {"id", "__meta", "__defaults", "__pulumi_raw_state_delta"}
    return resource.outputs.keys() - _types.resource_types(cls).keys() - internal


def _paths(answer: Any) -> set[str]:
    return set(answer.detailedDiff or answer.diffs)


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


def only_tls(bucket: str) -> str:
    """A bucket's policy."""
    return document(
        {
            "Effect": "Deny",
            "Principal": "*",
            "Action": "s3:*",
            "Resource": [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"],
            "Condition": {"Bool": {"aws:SecureTransport": "false"}},
        }
    )


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

    def bucket(self) -> str:
        return self.cloud.make(BUCKET, {"bucket": unique("state")}).id

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
