"""A small AWS account in an emulator of its own, with a boot process that watches it.

What Pulumi would create is created by boto3; what a person would see is read back through the AWS and
Kubernetes APIs. User data comes from the program's own `userdata.render`.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import userdata
from components.iam import ASSUME_BY_EC2, node_policy
from config.model import NodePlan, Settings
from config.naming import Naming
from config.nodes import plan_nodes
from sandbox.config import REGION
from sandbox.files import atomic_write
from sandbox.nodes.api import Api, ApiError, Unavailable, with_server
from sandbox.ports import free_port
from sandbox.processes import Supervisor
from sandbox.tests.aws.emulator_server import IMAGE, ROOT, Emulator
from sandbox.tests.nodes.commands import until
from sandbox.tests.tools import tool
from tests.userdata_sample import SETTINGS

SUBNET = IPv4Network("10.20.0.0/22")


class World:
    """The account and the boot process."""

    def __init__(self, emulator: Emulator, state_dir: Path) -> None:
        self.endpoint = emulator.url
        self.state_dir = state_dir
        self.api_port = free_port()
        self.ec2, self.iam, self.ssm, self.kms = map(emulator.client, ("ec2", "iam", "ssm", "kms"))
        self.settings: Settings = replace(
            SETTINGS,
            cluster="demo",
            aws=replace(SETTINGS.aws, region=REGION, endpoint=self.endpoint),
            network=replace(SETTINGS.network, availability_zone=f"{REGION}a"),
            control_plane=replace(SETTINGS.control_plane, api_endpoint=f"https://127.0.0.1:{self.api_port}"),
        )
        self.naming = Naming(self.settings.cluster)
        self.instances: dict[str, str] = {}
        self.boot: subprocess.Popen[bytes] | None = None
        self._network()
        self._parameters()

    def plan(self, name: str) -> NodePlan:
        (found,) = (node for node in plan_nodes(self.settings, SUBNET) if node.name == name)
        return found

    # -- what Pulumi would create ------------------------------------------------------------------

    def _network(self) -> None:
        self.vpc = self.ec2.create_vpc(CidrBlock="10.20.0.0/16")["Vpc"]["VpcId"]
        subnet = self.ec2.create_subnet(VpcId=self.vpc, CidrBlock=str(SUBNET), AvailabilityZone=f"{REGION}a")
        self.subnet = subnet["Subnet"]["SubnetId"]
        self.ec2.modify_subnet_attribute(SubnetId=self.subnet, MapPublicIpOnLaunch={"Value": True})
        self.gateway = self.ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
        self.ec2.attach_internet_gateway(InternetGatewayId=self.gateway, VpcId=self.vpc)
        self.table = self.ec2.create_route_table(VpcId=self.vpc)["RouteTable"]["RouteTableId"]
        self.ec2.associate_route_table(RouteTableId=self.table, SubnetId=self.subnet)
        self.add_route()
        group = self.ec2.create_security_group(GroupName="nodes", Description="nodes", VpcId=self.vpc)
        self.group = group["GroupId"]

    def add_route(self) -> None:
        everywhere = {"DestinationCidrBlock": "0.0.0.0/0", "GatewayId": self.gateway}
        self.ec2.create_route(RouteTableId=self.table, **everywhere)

    def remove_route(self) -> None:
        self.ec2.delete_route(RouteTableId=self.table, DestinationCidrBlock="0.0.0.0/0")

    def _parameters(self) -> None:
        key = self.kms.create_key()["KeyMetadata"]
        self.key_arn = key["Arn"]
        self.kms.create_alias(AliasName=f"alias/kubepark/{self.settings.cluster}", TargetKeyId=key["KeyId"])
        secret = {"Type": "SecureString", "KeyId": key["KeyId"], "Value": "pending"}
        naming = self.naming
        for name in (naming.join_parameter, naming.kubeconfig_parameter, naming.encryption_key_parameter):
            self.ssm.put_parameter(Name=name, **secret)
        nodes = plan_nodes(self.settings, SUBNET)
        rows = [[node.private_ip, [node.name]] for node in nodes]
        rows[0][1] = ["master1", naming.api_name]
        hosts = json.dumps({"schema": 1, "rows": rows})
        self.ssm.put_parameter(Name=naming.hosts_parameter(0), Type="String", Value=hosts)
        for node in nodes:
            self.reset_status(node.name)
            self._role(node)

    def reset_status(self, node: str) -> None:
        name, value = self.naming.status_parameter(node), '{"schema":1,"phase":"pending"}'
        self.ssm.put_parameter(Name=name, Type="String", Value=value, Overwrite=True)

    def _role(self, node: NodePlan) -> None:
        self.iam.create_role(RoleName=node.name, AssumeRolePolicyDocument=json.dumps(ASSUME_BY_EC2))
        self.grant(node.name)
        self.iam.create_instance_profile(InstanceProfileName=node.name)
        self.iam.add_role_to_instance_profile(InstanceProfileName=node.name, RoleName=node.name)

    def grant(self, name: str) -> None:
        policy = node_policy(self.plan(name), self.settings.aws, self.naming)
        self.iam.put_role_policy(RoleName=name, PolicyName="node", PolicyDocument=json.dumps(policy))

    def launch(self, name: str, user_data: bytes | None = None) -> str:
        """Run the instance of a node as the program would; its id."""
        node = self.plan(name)
        answer = self.ec2.run_instances(
            ImageId=IMAGE,
            InstanceType=node.instance_type,
            MinCount=1,
            MaxCount=1,
            SubnetId=self.subnet,
            PrivateIpAddress=node.private_ip,
            SecurityGroupIds=[self.group],
            IamInstanceProfile={"Name": name},
            UserData=userdata.render(node, self.settings) if user_data is None else user_data,
        )
        self.instances[name] = answer["Instances"][0]["InstanceId"]
        return self.instances[name]

    def terminate(self, name: str) -> None:
        self.ec2.terminate_instances(InstanceIds=[self.instances.pop(name)])

    # -- the boot process --------------------------------------------------------------------------

    def start_boot(self) -> None:
        command = [sys.executable, "-m", "sandbox.nodes", "--state-dir", str(self.state_dir)]
        command += ["--endpoint", self.endpoint, "--tools", str(tool("kubeadm").parent)]
        self.state_dir.mkdir(mode=0o700, exist_ok=True)
        path = self.state_dir / "boot.log"
        said = path.stat().st_size if path.exists() else 0
        with path.open("ab") as log:
            self.boot = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)
        until("boot watches", lambda: "watching" in path.read_text(encoding="utf-8")[said:])

    def stop_boot(self, number: int = signal.SIGTERM) -> int:
        assert self.boot is not None
        self.boot.send_signal(number)
        return self.boot.wait(timeout=30)

    @property
    def log(self) -> str:
        return (self.state_dir / "boot.log").read_text(encoding="utf-8")

    def close(self) -> None:
        if self.boot and self.boot.poll() is None:
            self.stop_boot()
        Supervisor(self.state_dir / "state.json", self.state_dir / "logs").stop_all(grace=3)

    def fault(self, **faults: dict[str, Any]) -> None:
        atomic_write(self.state_dir / "faults.json", json.dumps(faults))

    # -- what can be seen --------------------------------------------------------------------------

    def disk(self, node: str) -> Path:
        return self.state_dir / "nodes" / self.instances[node]

    def parameter(self, name: str) -> str:
        answer = self.ssm.get_parameter(Name=name, WithDecryption=True)
        return str(answer["Parameter"]["Value"])

    def status(self, node: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.parameter(self.naming.status_parameter(node)))
        return found

    def reached(self, node: str, phase: str, seconds: float = 30.0, attempt: int = 0) -> dict[str, Any]:
        """The node's record once it has this phase, from its current instance."""

        def probe() -> dict[str, Any] | None:
            record = self.status(node)
            current = record.get("instanceId") == self.instances.get(node)
            return record if current and record["phase"] == phase and record["attempt"] >= attempt else None

        try:
            return until(f"{node} {phase}", probe, seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}; last: {self.status(node)}\n{self.log[-2000:]}") from None

    def api(self) -> Api:
        """As the operator: with the kubeconfig that the master published."""
        path = self.state_dir / "operator.kubeconfig"
        published = self.parameter(self.naming.kubeconfig_parameter)
        atomic_write(path, with_server(published, f"https://127.0.0.1:{self.api_port}"))
        return Api.from_kubeconfig(path)

    def node(self, name: str) -> dict[str, Any] | None:
        try:
            found: dict[str, Any] | None = self.api().find(f"/api/v1/nodes/{name}")
        except (Unavailable, ApiError):
            return None
        return found


@contextmanager
def world(folder: Path) -> Iterator[World]:
    """A world whose processes end with the block."""
    with ExitStack() as ends:
        emulator = Emulator(folder, IMAGE)
        ends.callback(emulator.stop)
        made = World(emulator, folder / "state")
        ends.callback(made.close)
        yield made
