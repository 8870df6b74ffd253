"""One resource of each type that the program has."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sandbox.tests.aws import aws_provider as aws
from sandbox.tests.aws.aws_provider import ROOT_ONLY, TRUST, World, document, only_tls, statement, unique

CIDR = "0.0.0.0/0"
SCRIPT = base64.b64encode(b"\x1f\x8b script").decode()
CLOSED = ("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets")


@dataclass(frozen=True)
class Sample:
    """How to make one, what of it can change in place, and where it differs from the rest."""

    inputs: Callable[[World], dict[str, Any]]
    change: dict[str, Any] = field(default_factory=dict)
    shows: dict[str, Any] = field(default_factory=dict)  # outputs that no input gave: what AWS has by itself
    import_id: Callable[[dict[str, Any], str], str] = lambda inputs, id: id
    import_shows: set[str] = field(default_factory=set)  # settings that AWS does not store
    survives: bool = False  # deleting it leaves what it manages


def _overlay(world: World) -> dict[str, Any]:
    group = world.group().id
    ports = {"ipProtocol": "udp", "fromPort": 4789, "toPort": 4789}
    return {"securityGroupId": group, "referencedSecurityGroupId": group, "description": "overlay", **ports}


def _route(world: World) -> dict[str, Any]:
    return {"routeTableId": world.table().id, "destinationCidrBlock": CIDR, "gatewayId": world.gateway().id}


def _encryption(key: str) -> list[dict[str, Any]]:
    default = {"sseAlgorithm": "aws:kms", "kmsMasterKeyId": key}
    return [{"applyServerSideEncryptionByDefault": default, "bucketKeyEnabled": False}]


def _only_tls(world: World) -> dict[str, Any]:
    name = world.bucket()
    return {"bucket": name, "policy": only_tls(name)}


def _policy(action: str) -> str:
    return document(statement(Action=[action]))


def _parameter(world: World) -> dict[str, Any]:
    key = world.key().outputs["arn"]
    return {"name": f"/{unique('c')}/join", "type": "SecureString", "keyId": key, "value": "pending"}


TAGGED = {"tags": {"a": "b"}}
SAMPLES: dict[str, Sample] = {
    aws.VPC: Sample(lambda w: {"cidrBlock": "10.9.0.0/16"}, {"enableDnsHostnames": True}),
    aws.SUBNET: Sample(
        lambda w: {"vpcId": w.vpc.id, "cidrBlock": "10.20.8.0/22"},
        {"mapPublicIpOnLaunch": True},
        {"privateDnsHostnameTypeOnLaunch": "ip-name"},
    ),
    aws.RESERVATION: Sample(
        lambda w: {"subnetId": w.subnet.id, "cidrBlock": "10.20.0.0/23", "reservationType": "explicit"},
        import_id=lambda inputs, id: f"{inputs['subnetId']}:{id}",
    ),
    aws.GATEWAY: Sample(lambda w: {"vpcId": w.vpc.id}, TAGGED),
    aws.TABLE: Sample(lambda w: {"vpcId": w.vpc.id}, TAGGED),
    "aws:ec2/route:Route": Sample(
        _route,
        shows={"origin": "CreateRoute", "state": "active"},
        import_id=lambda inputs, id: f"{inputs['routeTableId']}_{CIDR}",
    ),
    aws.ASSOCIATION: Sample(
        lambda w: {"routeTableId": w.table().id, "subnetId": w.subnet.id},
        import_id=lambda inputs, id: f"{inputs['subnetId']}/{inputs['routeTableId']}",
    ),
    aws.GROUP: Sample(lambda w: {"vpcId": w.vpc.id, "description": "nodes", "name": unique("g")}, TAGGED),
    "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup": Sample(
        lambda w: {"vpcId": w.vpc.id}, TAGGED, survives=True
    ),
    aws.INGRESS: Sample(_overlay, {"toPort": 4790, "description": "wider"}),
    aws.EGRESS: Sample(
        lambda w: {"securityGroupId": w.group().id, "ipProtocol": "-1", "cidrIpv4": CIDR},
        {"description": "anywhere"},
    ),
    aws.EXCLUSIVE: Sample(
        lambda w: {"securityGroupId": w.group().id, "ingressRuleIds": [], "egressRuleIds": []}, survives=True
    ),
    aws.INTERFACE: Sample(
        lambda w: {"subnetId": w.subnet.id, "privateIps": ["10.20.0.10"], "securityGroups": [w.group().id]},
        {"description": "the master's"},
        {"privateIp": "10.20.0.10", "interfaceType": "interface", "sourceDestCheck": True},
    ),
    aws.ADDRESS: Sample(
        lambda w: {"domain": "vpc", "networkInterface": w.interface().id},
        TAGGED,
        {"privateIp": "10.20.0.10", "publicIpv4Pool": "amazon", "networkBorderGroup": "us-east-1"},
    ),
    aws.INSTANCE: Sample(
        lambda w: w.launch(userDataBase64=SCRIPT, disableApiTermination=True, tags={"Name": "w"}),
        {"instanceType": "t3.xlarge", "disableApiTermination": False, "tags": {"Name": "x"}},
        {
            "associatePublicIpAddress": False,
            "capacityReservationSpecification": {"capacityReservationPreference": "open"},
            "cpuOptions": {"coreCount": 1, "threadsPerCore": 2},
            "creditSpecification": {"cpuCredits": "unlimited"},
            "disableApiStop": False,
            "ebsOptimized": False,
            "enclaveOptions": {"enabled": False},
            "hibernation": False,
            "instanceInitiatedShutdownBehavior": "stop",
            "maintenanceOptions": {"autoRecovery": "default"},
            "metadataOptions": {"httpEndpoint": "enabled", "instanceMetadataTags": "disabled"},
            "monitoring": False,
            "primaryNetworkInterface": {"deleteOnTermination": True},
            "privateDns": "ip-10-20-0-11.ec2.internal",
            "privateDnsNameOptions": {"hostnameType": "ip-name", "enableResourceNameDnsARecord": False},
            "rootBlockDevice": {"deviceName": "/dev/sda1", "iops": 3000, "throughput": 125},
            "sourceDestCheck": True,
            "tenancy": "default",
        },
        import_shows={
            *("userData", "userDataBase64", "userDataReplaceOnChange"),
            'rootBlockDevice.tags["kubepark:cluster"]',
        },
    ),
    "aws:ec2transitgateway/instanceState:InstanceState": Sample(
        lambda w: {"instanceId": w.instance().id, "state": "stopped"}, {"state": "running"}, survives=True
    ),
    aws.ROLE: Sample(
        lambda w: {"assumeRolePolicy": TRUST, "name": unique("role")},
        {"description": "of a node"},
        {"path": "/", "maxSessionDuration": 3600},
    ),
    aws.ROLE_POLICY: Sample(
        lambda w: {"role": w.role().id, "name": "p", "policy": _policy("ssm:GetParameter")},
        {"policy": _policy("ssm:PutParameter")},
    ),
    aws.PROFILE: Sample(lambda w: {"name": unique("profile"), "role": w.role().id}, TAGGED),
    aws.KEY: Sample(
        lambda w: {"enableKeyRotation": True, "deletionWindowInDays": 7, "policy": ROOT_ONLY},
        {"description": "cluster", "enableKeyRotation": False},
        {"keyUsage": "ENCRYPT_DECRYPT", "multiRegion": False, "rotationPeriodInDays": 365},
        import_shows={"bypassPolicyLockoutSafetyCheck", "deletionWindowInDays"},
    ),
    aws.ALIAS: Sample(lambda w: {"name": f"alias/{unique('k')}/x", "targetKeyId": w.key().id}),
    aws.SCHEDULE_GROUP: Sample(lambda w: {"name": unique("group")}, TAGGED),
    aws.SCHEDULE: Sample(
        lambda w: w.schedule(), {"scheduleExpression": "cron(30 19 ? * SUN *)", "state": "DISABLED"}
    ),
    aws.PARAMETER: Sample(
        _parameter,
        {"value": "ready", "description": "join record"},
        {"version": 1, "tier": "Standard", "dataType": "text"},
    ),
    aws.BUCKET: Sample(lambda w: {"bucket": unique("state")}, TAGGED),
    "aws:s3/bucketVersioning:BucketVersioning": Sample(
        lambda w: {"bucket": w.bucket(), "versioningConfiguration": {"status": "Enabled"}},
        {"versioningConfiguration": {"status": "Suspended"}},
        survives=True,  # suspended, which a bucket stays
    ),
    "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration": Sample(
        lambda w: {"bucket": w.bucket(), "rules": _encryption(w.key().outputs["arn"])},
        {"rules": _encryption("arn:aws:kms:us-east-1:123456789012:key/other")},
    ),
    "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock": Sample(
        lambda w: {"bucket": w.bucket(), **dict.fromkeys(CLOSED, True)}, {"restrictPublicBuckets": False}
    ),
    "aws:s3/bucketPolicy:BucketPolicy": Sample(_only_tls),
    "aws:iam/openIdConnectProvider:OpenIdConnectProvider": Sample(
        lambda w: {"url": f"https://{unique('token')}.example.com", "clientIdLists": ["sts.amazonaws.com"]},
        TAGGED,
    ),
}
