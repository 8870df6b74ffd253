"""A small cluster's worth of AWS resources, and one engine operation on it in a process of its own.

Child process: `python -m tests.sandbox.aws_program`, a job on stdin, the result on stdout. The SDK keeps
state in the process, so each operation gets a fresh one.
"""

from __future__ import annotations

import base64
import json
import sys
from dataclasses import asdict, dataclass, field
from typing import Any

import pulumi
import pulumi_aws as aws
from pulumi import automation as auto

from sandbox.providers.aws.api import SERVICES
from tests.quick_stack import quick_stack
from tests.sandbox.aws_standin import ACCOUNT, IMAGE, REGION, TRUST

# What a node is never replaced for: the program ignores it, the next generation takes it.
IGNORED = ["ami", "userDataBase64", 'tags["kubepark:user-data-digest"]']


@dataclass
class Program:
    """The resources, with the knobs that the tests turn between operations."""

    endpoint: str
    secret: str
    account: str = ACCOUNT
    ami: str = IMAGE
    instance_type: str = "t3.large"
    script: str = "#!/bin/sh\n"
    digest: str = "aaaa"
    look_up: bool = True  # the SDK itself adds a traceback when a function call fails
    parameter_tags: dict[str, str] = field(default_factory=dict)

    def __call__(self) -> None:
        provider = aws.Provider(
            "provider",
            region=REGION,
            access_key="testing",
            secret_key="testing",
            allowed_account_ids=[self.account],
            default_tags={"tags": {"kubepark:cluster": "engine"}},
            endpoints=[aws.ProviderEndpointArgs(**dict.fromkeys(SERVICES, self.endpoint))],
        )
        opts = pulumi.ResourceOptions(provider=provider)
        subnet, group = self.network(opts)
        key = aws.kms.Key("key", deletion_window_in_days=7, enable_key_rotation=True, opts=opts)
        join = aws.ssm.Parameter(
            "join",
            name="/engine/join",
            type="SecureString",
            key_id=key.arn,
            value=pulumi.Output.secret(self.secret),
            tags=self.parameter_tags,
            opts=pulumi.ResourceOptions(provider=provider, ignore_changes=["value"]),
        )
        profile = self.access(join, opts)
        interface = aws.ec2.NetworkInterface(
            "interface",
            subnet_id=subnet.id,
            private_ips=["10.20.0.10"],
            security_groups=[group.id],
            opts=opts,
        )
        aws.ec2.Eip("address", domain="vpc", network_interface=interface.id, opts=opts)
        node = aws.ec2.Instance(
            "node",
            ami=self.ami,
            instance_type=self.instance_type,
            primary_network_interface={"network_interface_id": interface.id},
            iam_instance_profile=profile.name,
            user_data_base64=base64.b64encode(self.script.encode()).decode(),
            metadata_options={"http_tokens": "required", "http_put_response_hop_limit": 2},
            root_block_device={"encrypted": True, "volume_size": 40, "kms_key_id": key.arn},
            tags={"Name": "master1", "kubepark:user-data-digest": self.digest},
            opts=pulumi.ResourceOptions(provider=provider, ignore_changes=IGNORED),
        )
        pulumi.export("address", node.private_ip)
        if not self.look_up:
            return
        names = aws.ssm.get_parameters_by_path_output(
            path="/engine", opts=pulumi.InvokeOutputOptions(provider=provider)
        ).names
        pulumi.export("parameters", names)

    def network(self, opts: pulumi.ResourceOptions) -> tuple[aws.ec2.Subnet, aws.ec2.SecurityGroup]:
        vpc = aws.ec2.Vpc("vpc", cidr_block="10.20.0.0/16", tags={"Name": "engine"}, opts=opts)
        subnet = aws.ec2.Subnet(
            "subnet", vpc_id=vpc.id, cidr_block="10.20.0.0/22", availability_zone="us-east-1a", opts=opts
        )
        aws.ec2.SubnetCidrReservation(
            "reservation",
            subnet_id=subnet.id,
            cidr_block="10.20.0.0/23",
            reservation_type="explicit",
            opts=opts,
        )
        gateway = aws.ec2.InternetGateway("gateway", vpc_id=vpc.id, opts=opts)
        table = aws.ec2.RouteTable("table", vpc_id=vpc.id, opts=opts)
        aws.ec2.Route(
            "route",
            route_table_id=table.id,
            destination_cidr_block="0.0.0.0/0",
            gateway_id=gateway.id,
            opts=opts,
        )
        aws.ec2.RouteTableAssociation("association", route_table_id=table.id, subnet_id=subnet.id, opts=opts)
        group = aws.ec2.SecurityGroup("group", vpc_id=vpc.id, description="nodes", opts=opts)
        aws.vpc.SecurityGroupIngressRule(
            "rule",
            security_group_id=group.id,
            ip_protocol="udp",
            from_port=4789,
            to_port=4789,
            referenced_security_group_id=group.id,
            opts=opts,
        )
        return subnet, group

    def access(self, join: aws.ssm.Parameter, opts: pulumi.ResourceOptions) -> aws.iam.InstanceProfile:
        role = aws.iam.Role("role", assume_role_policy=TRUST, opts=opts)

        def policy(arn: str) -> str:
            statement = {"Effect": "Allow", "Action": "ssm:GetParameter", "Resource": arn}
            return json.dumps({"Version": "2012-10-17", "Statement": [statement]})

        aws.iam.RolePolicy("policy", role=role.id, policy=join.arn.apply(policy), opts=opts)
        return aws.iam.InstanceProfile("profile", role=role.name, opts=opts)


@dataclass
class Run:
    """What the engine said: {resource name: operation}, {resource name: changed paths}."""

    changes: dict[str, str] = field(default_factory=dict)
    diffs: dict[str, list[str]] = field(default_factory=dict)
    text: str = ""
    failed: bool = False

    def hear(self, event: Any) -> None:
        if event.diagnostic_event is not None and event.diagnostic_event.severity == "error":
            self.text += event.diagnostic_event.message
        # A refresh announces a step as `refresh`; only its outcome says what was found.
        for heard in (event.resource_pre_event, event.res_outputs_event):
            if heard is None or heard.metadata.type == "pulumi:pulumi:Stack":
                continue
            name = heard.metadata.urn.rpartition("::")[2]
            operation = str(getattr(heard.metadata.op, "value", heard.metadata.op))
            if operation not in ("same", "refresh", "read"):
                self.changes[name] = operation
            if heard.metadata.detailed_diff:
                self.diffs[name] = sorted(heard.metadata.detailed_diff)


def operate(verb: str, program: Program) -> Run:
    """One operation of the engine; the environment says where its state is."""
    run = Run()
    stack = quick_stack("test", "test", program)
    try:
        getattr(stack, verb)(on_event=run.hear)
    except auto.errors.CommandError as error:
        run.failed = True
        run.text += str(error)
    return run


if __name__ == "__main__":
    job = json.load(sys.stdin)
    print(json.dumps(asdict(operate(job["verb"], Program(**job["program"])))))
