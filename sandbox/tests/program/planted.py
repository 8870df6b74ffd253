"""A program with one violation of each rule: every resource is as it should be but for one thing.

`PLANTED` says which; `CONFIG` is the pack's configuration under which there is one of each.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from typing import Any

import pulumi

CONFIG = {"gpus-in-budget": {"gpus": 0}, "production-protected": {"stacks": ["sandbox"]}}
INSTANCE = "aws:ec2/instance:Instance"
VOLUME = "aws:ebs/volume:Volume"
INGRESS = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"
JOB = "kubernetes:batch/v1:Job"
RBAC = "kubernetes:rbac.authorization.k8s.io/v1"
KEY = "arn:aws:kms:us-east-1:123456789012:key/0b6c8b7e"

# Rule -> type and name of the resource that a violation is about, as the CLI shows them.
PLANTED = {
    "no-world-open-ingress": "aws:vpc:SecurityGroupIngressRule: public",
    "no-ssh": "aws:vpc:SecurityGroupIngressRule: ssh",
    "imdsv2-required": "aws:ec2:Instance: tokenless",
    "volumes-encrypted": "aws:ebs:Volume: plain",
    "volumes-gp3": "aws:ebs:Volume: old",
    "iam-no-wildcard-mutation": "aws:iam:RolePolicy: wide",
    "instance-type-allowed": "aws:ec2:Instance: large",
    "gpus-in-budget": "aws:ec2:Instance: gpu",
    "required-tags": "aws:ec2:Vpc: nobodys",
    "kms-key-rotation": "aws:kms:Key: fixed",
    "bucket-closed": "aws:s3:Bucket: unversioned",
    "secure-string-for-secrets": "aws:ssm:Parameter: join",
    "gpu-request-equals-limit": f"{JOB}: intolerant",
    "limits-cover-requests": f"{JOB}: greedy",
    "no-secret-in-configmap": "kubernetes:core/v1:ConfigMap: leaking",
    "no-privileged-pod": f"{JOB}: privileged",
    "images-pinned": f"{JOB}: latest",
    "no-star-role": f"{RBAC}:ClusterRole: everything",
    "quota-has-defaults": "kubernetes:core/v1:ResourceQuota: alone",
    "dex-is-closed": "kubernetes:apps/v1:Deployment: dex",
    "one-master": "aws:ec2:Instance: second-master",
    "node-addresses-unique": "aws:ec2:Instance: same-address",
    "production-protected": "aws:ec2:Instance: first-master",
}

_NODE: dict[str, Any] = {
    "ami": "ami-1",
    "instanceType": "m7i.large",
    "metadataOptions": {"httpTokens": "required", "httpPutResponseHopLimit": 1},
    "rootBlockDevice": {"encrypted": True, "volumeType": "gp3"},
    "disableApiTermination": True,
}
_CONTAINER: dict[str, Any] = {"name": "main", "image": "ghcr.io/example/train:v1"}


class _Aws:
    def __init__(self) -> None:
        tags = {"tags": {"kubepark:cluster": "lab"}}
        self.opts = self._with(pulumi.ProviderResource("aws", "aws", {"defaultTags": tags}))
        self.untagged = self._with(pulumi.ProviderResource("aws", "untagged", {}))
        self.nodes = 0

    def _with(self, provider: pulumi.ProviderResource) -> pulumi.ResourceOptions:
        return pulumi.ResourceOptions(provider=provider)

    def make(self, type_: str, name: str, props: dict[str, Any]) -> pulumi.CustomResource:
        return pulumi.CustomResource(type_, name, props, self.opts)

    def node(
        self,
        name: str,
        role: str = "worker",
        after: Sequence[pulumi.Resource] = (),
        protect: bool = False,
        **changes: Any,
    ) -> pulumi.CustomResource:
        self.nodes += 1
        tags = {"Name": name, "kubepark:node": name, "kubepark:role": role}
        props = {**copy.deepcopy(_NODE), "privateIp": f"10.20.0.{self.nodes}", "tags": tags, **changes}
        opts = pulumi.ResourceOptions(depends_on=list(after), protect=protect)
        return pulumi.CustomResource(INSTANCE, name, props, pulumi.ResourceOptions.merge(self.opts, opts))


def planted() -> None:
    aws = _Aws()
    _network(aws)
    _machines(aws)
    _data(aws)
    _in_cluster(pulumi.ProviderResource("kubernetes", "kubernetes", {}))


def _network(aws: _Aws) -> None:
    pulumi.CustomResource("aws:ec2/vpc:Vpc", "nobodys", {"cidrBlock": "10.20.0.0/16"}, aws.untagged)
    for name, port, cidr in (("public", 443, "0.0.0.0/0"), ("ssh", 22, "10.0.0.0/8")):
        opening = {"ipProtocol": "tcp", "fromPort": port, "toPort": port, "cidrIpv4": cidr}
        aws.make(INGRESS, name, {"securityGroupId": "sg-1", **opening})


def _machines(aws: _Aws) -> None:
    first = aws.node("first-master", "master")
    aws.node("second-master", "master", [first], protect=True)
    aws.node("same-address", after=[first], privateIp="10.20.0.1")
    aws.node("tokenless", metadataOptions={"httpTokens": "optional"})
    aws.node("large", instanceType="p5.48xlarge")
    aws.node("gpu", "gpu", instanceType="g4dn.xlarge")
    aws.make(VOLUME, "plain", {"type": "gp3", "size": 8})
    aws.make(VOLUME, "old", {"type": "gp2", "size": 8, "encrypted": True})


def _data(aws: _Aws) -> None:
    statement = {"Effect": "Allow", "Action": "kms:Decrypt", "Resource": "*"}
    aws.make("aws:iam/rolePolicy:RolePolicy", "wide", {"policy": json.dumps({"Statement": [statement]})})
    aws.make("aws:kms/key:Key", "fixed", {})
    aws.make("aws:ssm/parameter:Parameter", "join", {"name": "/lab/join", "type": "String", "keyId": KEY})
    bucket = aws.make("aws:s3/bucket:Bucket", "unversioned", {})
    blocks = ("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets")
    aws.make(
        "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock",
        "unversioned",
        {"bucket": bucket.id, **dict.fromkeys(blocks, True)},
    )
    aws.make(
        "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration",
        "unversioned",
        {"bucket": bucket.id, "rules": [{"applyServerSideEncryptionByDefault": {"sseAlgorithm": "aws:kms"}}]},
    )


def _in_cluster(provider: pulumi.ProviderResource) -> None:
    def make(type_: str, name: str, **props: Any) -> None:
        metadata = {"name": name, "namespace": "ana"}
        opts = pulumi.ResourceOptions(provider=provider)
        pulumi.CustomResource(type_, name, {"metadata": metadata, **props}, opts)

    def job(name: str, **container: Any) -> None:
        make(JOB, name, spec={"template": {"spec": {"containers": [{**_CONTAINER, **container}]}}})

    job("intolerant", resources={"limits": {"nvidia.com/gpu": 1}})
    job("greedy", resources={"requests": {"cpu": "2"}, "limits": {"cpu": "1"}})
    job("privileged", securityContext={"privileged": True})
    job("latest", image="ghcr.io/example/train:latest")
    make("kubernetes:core/v1:ConfigMap", "leaking", data={"hash": "$2b$12$" + "x" * 53})
    make(
        f"{RBAC}:ClusterRole", "everything", rules=[{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]
    )
    make("kubernetes:core/v1:ResourceQuota", "alone", spec={"hard": {"requests.cpu": "4"}})
    dex = {"name": "dex", "image": "ghcr.io/dexidp/dex:v2.45.1"}
    make("kubernetes:apps/v1:Deployment", "dex", spec={"template": {"spec": {"containers": [dex]}}})
