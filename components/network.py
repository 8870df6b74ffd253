"""The VPC: two public subnets, one for nodes and one in another zone, for load balancers and GPU nodes."""

from __future__ import annotations

import pulumi
from pulumi_aws import ec2

from config.model import NetworkSettings
from config.naming import Naming
from config.subnets import plan_subnets


class Network(pulumi.ComponentResource):
    """VPC, internet gateway, route table, subnets and the reservations for the nodes' addresses."""

    vpc_id: pulumi.Output[str]
    subnet_ids: dict[str, pulumi.Output[str]]  # by availability zone
    reachable: list[pulumi.Resource]

    def __init__(
        self,
        name: str,
        network: NetworkSettings,
        naming: Naming,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("kubepark:index:Network", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        vpc = ec2.Vpc(
            f"{name}-vpc",
            cidr_block=str(network.vpc_cidr),
            enable_dns_support=True,
            enable_dns_hostnames=True,
            tags={"Name": naming.cluster},
            opts=child,
        )
        # The group that AWS makes with each VPC lets its members talk freely; take its rules away.
        ec2.DefaultSecurityGroup(f"{name}-default-group", vpc_id=vpc.id, opts=child)
        gateway = ec2.InternetGateway(
            f"{name}-gateway", vpc_id=vpc.id, tags={"Name": naming.cluster}, opts=child
        )
        table = ec2.RouteTable(
            f"{name}-public", vpc_id=vpc.id, tags={"Name": f"{naming.cluster}-public"}, opts=child
        )
        route = ec2.Route(
            f"{name}-internet",
            route_table_id=table.id,
            destination_cidr_block="0.0.0.0/0",
            gateway_id=gateway.id,
            opts=child,
        )
        self.vpc_id = vpc.id
        self.gateway = gateway
        self.reachable, self.subnet_ids = [route], {}
        cluster_tag, _ = naming.cluster_tag
        # Two of one range cannot stand side by side.
        in_place_of_old = pulumi.ResourceOptions(parent=self, delete_before_replace=True)
        for plan in plan_subnets(network):
            subnet = ec2.Subnet(
                f"{name}-{plan.name}",
                vpc_id=vpc.id,
                cidr_block=str(plan.cidr),
                availability_zone=plan.availability_zone,
                map_public_ip_on_launch=True,
                tags={
                    "Name": f"{naming.cluster}-{plan.name}",
                    cluster_tag: "shared",
                    "kubernetes.io/role/elb": "1",
                },
                opts=in_place_of_old,
            )
            association = ec2.RouteTableAssociation(
                f"{name}-{plan.name}", route_table_id=table.id, subnet_id=subnet.id, opts=child
            )
            reservation = ec2.SubnetCidrReservation(
                f"{name}-{plan.name}",
                subnet_id=subnet.id,
                cidr_block=str(plan.reserved),
                reservation_type="explicit",
                opts=in_place_of_old,
            )
            self.reachable += [association, reservation]
            self.subnet_ids[plan.availability_zone] = subnet.id
        self.register_outputs({"vpc_id": self.vpc_id, "subnet_ids": self.subnet_ids})
