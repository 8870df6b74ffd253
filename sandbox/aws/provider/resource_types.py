"""Every resource type that the stand-in implements."""

from __future__ import annotations

from sandbox.aws.provider import (
    iam,
    instances,
    interfaces,
    kms,
    network,
    routes,
    s3,
    schedules,
    security_groups,
    ssm,
)
from sandbox.aws.provider.resource_type import ResourceType

_ALL: tuple[ResourceType, ...] = (
    network.Vpc(),
    network.Subnet(),
    network.SubnetCidrReservation(),
    network.InternetGateway(),
    routes.RouteTable(),
    routes.Route(),
    routes.RouteTableAssociation(),
    security_groups.SecurityGroup(),
    security_groups.DefaultSecurityGroup(),
    security_groups.SecurityGroupIngressRule(),
    security_groups.SecurityGroupEgressRule(),
    security_groups.SecurityGroupRulesExclusive(),
    interfaces.NetworkInterface(),
    interfaces.Eip(),
    instances.Instance(),
    instances.InstanceState(),
    iam.Role(),
    iam.RolePolicy(),
    iam.InstanceProfile(),
    iam.OpenIdConnectProvider(),
    kms.Key(),
    kms.Alias(),
    ssm.Parameter(),
    schedules.ScheduleGroup(),
    schedules.Schedule(),
    s3.Bucket(),
    s3.Versioning(),
    s3.Encryption(),
    s3.PublicAccessBlock(),
    s3.BucketPolicy(),
)
RESOURCE_TYPES: dict[str, ResourceType] = {each.token: each for each in _ALL}
