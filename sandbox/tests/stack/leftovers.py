"""What controllers of a cluster leave in AWS, planted with the tags that they give it."""

from __future__ import annotations

import json
from typing import Any

from sandbox.tests.stack.project import Project

CLUSTER = "kubepark-sandbox"
FINALIZER = "service.kubernetes.io/load-balancer-cleanup"  # of Kubernetes' service controller


def owned(cluster: str, **more: str) -> list[dict[str, str]]:
    tags = {f"kubernetes.io/cluster/{cluster}": "owned", **more}
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def tagged(kind: str, tags: list[dict[str, str]]) -> dict[str, Any]:
    return {"TagSpecifications": [{"ResourceType": kind, "Tags": tags}]}


class Planted:
    """The leftovers of one cluster in a subnet of a network, by the names below."""

    def __init__(self, project: Project, cluster: str, vpc: str, subnet: str) -> None:
        self.project, self.cluster, self.vpc, self.subnet = project, cluster, vpc, subnet
        self._ec2, self._elbv2, self._elb = map(project.aws, ("ec2", "elbv2", "elb"))
        self.balancer, self.target = self._network_balancer("web")
        self.orphan_balancer, self.orphan_target = self._network_balancer("orphan")
        self.group = self._group("k8s-elb-orphan")
        self.other_group = self._group("k8s-traffic")
        for group, names in ((self.other_group, self.group), (self.group, self.other_group)):
            self.allow(group, names)
        self._classic_balancer(f"{cluster[-7:]}-classic")
        tags = owned(cluster)
        self.interface = self._ec2.create_network_interface(
            SubnetId=subnet, Groups=[self.group], **tagged("network-interface", tags)
        )["NetworkInterface"]["NetworkInterfaceId"]
        self.volume = self.make_volume(tags)
        self.snapshot = self._ec2.create_snapshot(VolumeId=self.volume, **tagged("snapshot", tags))[
            "SnapshotId"
        ]

    def _network_balancer(self, name: str) -> tuple[str, str]:
        tags = owned(self.cluster, **{"kubernetes.io/service-name": f"default/{name}"})
        short = f"{self.cluster[-7:]}-{name}"
        made = self._elbv2.create_load_balancer(Name=short, Type="network", Subnets=[self.subnet], Tags=tags)[
            "LoadBalancers"
        ][0]["LoadBalancerArn"]
        target = self._elbv2.create_target_group(
            Name=short, Protocol="TCP", Port=30080, VpcId=self.vpc, Tags=tags
        )["TargetGroups"][0]["TargetGroupArn"]
        action = {"Type": "forward", "TargetGroupArn": target}
        self._elbv2.create_listener(LoadBalancerArn=made, Protocol="TCP", Port=80, DefaultActions=[action])
        return str(made), str(target)

    def _classic_balancer(self, name: str) -> None:
        listener = {"Protocol": "tcp", "LoadBalancerPort": 80, "InstancePort": 30080}
        self._elb.create_load_balancer(
            LoadBalancerName=name,
            Listeners=[listener],
            Subnets=[self.subnet],
            SecurityGroups=[self.group],
            Tags=owned(self.cluster),
        )

    def _group(self, name: str) -> str:
        wanted = {"GroupName": name, "Description": "of a load balancer", "VpcId": self.vpc}
        made = self._ec2.create_security_group(**wanted, **tagged("security-group", owned(self.cluster)))
        return str(made["GroupId"])

    def allow(self, group: str, named: str) -> None:
        """A rule of a group that names another: it holds that one."""
        rule = {"IpProtocol": "tcp", "FromPort": 30080, "ToPort": 30080}
        permission = {**rule, "UserIdGroupPairs": [{"GroupId": named}]}
        self._ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[permission])

    def make_volume(self, tags: list[dict[str, str]], key: str | None = None) -> str:
        encryption = {"Encrypted": True, "KmsKeyId": key} if key else {}
        kind = tagged("volume", tags) if tags else {}
        made = self._ec2.create_volume(
            AvailabilityZone="us-east-1a", Size=100, VolumeType="gp3", **encryption, **kind
        )
        return str(made["VolumeId"])


def another_cluster(project: Project) -> Planted:
    """One in the same account and region, with a network of its own."""
    ec2, tags = project.aws("ec2"), [{"Key": "kubepark:cluster", "Value": "other"}]
    vpc = ec2.create_vpc(CidrBlock="10.99.0.0/16", **tagged("vpc", tags))["Vpc"]["VpcId"]
    where = {"VpcId": vpc, "CidrBlock": "10.99.0.0/24", "AvailabilityZone": "us-east-1a"}
    subnet = ec2.create_subnet(**where, **tagged("subnet", tags))["Subnet"]["SubnetId"]
    return Planted(project, "other", vpc, subnet)


def everything(project: Project) -> dict[str, Any]:
    """All that `Planted` can plant, of whatever cluster, as AWS describes it."""
    ec2, elbv2, elb, kms = (project.aws(name) for name in ("ec2", "elbv2", "elb", "kms"))
    keys = [kms.describe_key(KeyId=key["KeyId"])["KeyMetadata"] for key in kms.list_keys()["Keys"]]
    return {
        "load balancers": elbv2.describe_load_balancers()["LoadBalancers"],
        "classic": elb.describe_load_balancers()["LoadBalancerDescriptions"],
        "target groups": elbv2.describe_target_groups()["TargetGroups"],
        "interfaces": ec2.describe_network_interfaces()["NetworkInterfaces"],
        "groups": ec2.describe_security_groups()["SecurityGroups"],
        "rules": ec2.describe_security_group_rules()["SecurityGroupRules"],
        "volumes": ec2.describe_volumes()["Volumes"],
        "snapshots": ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"],
        "vpcs": ec2.describe_vpcs()["Vpcs"],
        "subnets": ec2.describe_subnets()["Subnets"],
        "keys": keys,
    }


def of_others(found: dict[str, Any], ids: set[str]) -> dict[str, list[str]]:
    """What is described of `ids` and their like: as text, for comparison."""
    return {
        kind: sorted(text for each in items if ids & set(_strings(each)) and (text := _text(each)))
        for kind, items in found.items()
    }


def _text(item: Any) -> str:
    return json.dumps(item, default=str, sort_keys=True)


def _strings(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for each in value.values() for text in _strings(each)]
    if isinstance(value, list):
        return [text for each in value for text in _strings(each)]
    return [value] if isinstance(value, str) else []
