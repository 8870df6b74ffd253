"""The preflight without an account: what a stack asks for, what is said about answers, and about none."""

from __future__ import annotations

import subprocess
import sys
import threading
from dataclasses import replace
from ipaddress import IPv4Network

import boto3
import pytest
from botocore.exceptions import ClientError
from botocore.stub import Stubber

from cli import preflight, stackfile
from cli.preflight_checks import ADDRESSES, CHECKS, GRAPHICS, STANDARD, Plan, quota_of
from config import ROOT
from config.model import NodeSettings

AMI = "ami-0123456789abcdef0"
STACK = f"""\
config:
  kubepark:aws: {{region: eu-central-1, accountId: "123456789012"}}
  kubepark:platform: {{kubernetes: "1.36", os: ubuntu-24.04, ami: {AMI}}}
  kubepark:network:
    availabilityZone: eu-central-1a
    secondAvailabilityZone: eu-central-1b
    adminCidrs: [203.0.113.0/24]
  kubepark:passwordHashes: {{ana: {{secure: v1:abc}}}}
"""


@pytest.fixture
def stack(tmp_path, monkeypatch):
    """Writes the file of stack dev."""
    monkeypatch.setattr(stackfile, "ROOT", tmp_path)

    def write(text: str = STACK) -> None:
        (tmp_path / "Pulumi.dev.yaml").write_text(text)

    write()
    return write


def node(name: str, instance_type: str) -> NodeSettings:
    return NodeSettings(name=name, instance_type=instance_type, ami=AMI, volume_gb=40, generation=1)


def plan(*nodes: NodeSettings) -> Plan:
    return Plan(
        stack="dev",
        region="eu-central-1",
        cluster="kubepark-dev",
        zone="eu-central-1a",
        nodes=nodes or (node("gpu01", "g4dn.xlarge"),),
        admin_cidrs=(IPv4Network("203.0.113.0/24"),),
    )


def instance(type_: str, *, state: str = "running", cores: int = 2, **more: object) -> dict[str, object]:
    cpu = {"CoreCount": cores, "ThreadsPerCore": 2}
    return {"InstanceType": type_, "State": {"Name": state}, "CpuOptions": cpu, **more}


def evaluated(what: str, wanted: Plan, **answers: object) -> list[str]:
    (check,) = [each for each in CHECKS if each.what == what]
    return check.evaluate(wanted, {name.replace("_", "-"): value for name, value in answers.items()})


def vcpus(wanted: Plan, *running: dict[str, object], graphics: float = 4) -> list[str]:
    types = [{"InstanceType": "g4dn.xlarge", "VCpuInfo": {"DefaultVCpus": 4}}]
    quotas = {"L_1216C47A": 0.0, "L_DB2E81BA": graphics}
    return evaluated("vCPU quotas", wanted, instances=running, types=types, **quotas)


# -- what a stack asks for -------------------------------------------------------------------------


def test_the_plan_is_that_of_the_stack_file(stack):
    found = preflight.plan_of("dev")
    assert (found.region, found.cluster, found.zone) == ("eu-central-1", "kubepark-dev", "eu-central-1a")
    assert [each.name for each in found.nodes] == ["master1", "worker01", "worker02", "worker03", "gpu01"]
    assert {each.ami for each in found.nodes} == {AMI}
    stack(STACK + "  kubepark:gpu: {power: absent}\n  kubepark:clusterName: lab\n")
    found = preflight.plan_of("dev")
    assert (found.cluster, len(found.nodes)) == ("lab", 4)


def test_a_file_that_up_will_refuse_is_not_asked_about(stack):
    stack(STACK.replace("adminCidrs", "adminCidr"))
    assert preflight.plan_of("dev") is None
    stack(STACK.replace("accountId", "account"))
    assert preflight.plan_of("dev") is None


def test_init_fills_its_pins_in_and_does_not_need_those_who_may_reach_the_api(stack):
    stack("config:\n  kubepark:aws: {region: eu-central-1}\n  kubepark:platform: {os: ubuntu-24.04}\n")
    pins = {
        "kubepark:aws.accountId": "123456789012",
        "kubepark:network.availabilityZone": "eu-central-1b",
        "kubepark:network.secondAvailabilityZone": "eu-central-1a",
        "kubepark:platform.ami": AMI,
    }
    assert preflight.plan_of("dev") is None
    found = preflight.plan_of("dev", pins)
    assert (found.zone, found.admin_cidrs) == ("eu-central-1b", ())
    (line,) = evaluated("own address", found, caller="198.51.100.9")
    assert "the API server will let in nobody" in line
    assert (
        "fix: pulumi config set --stack dev --path 'kubepark:network.adminCidrs[0]' 198.51.100.9/32" in line
    )


def test_who_comes_through_a_tunnel_needs_no_address(stack):
    stack(STACK + "  kubepark:controlPlane: {apiEndpoint: 'https://127.0.0.1:6443'}\n")
    assert evaluated("own address", preflight.plan_of("dev"), caller="198.51.100.9") == []


def test_a_root_disk_that_is_smaller_than_the_image_s_is_named():
    def image(size: int, name: str = "/dev/sda1") -> dict[str, object]:
        disks = [{"DeviceName": name, "Ebs": {"VolumeSize": size}}, {"DeviceName": "/dev/sdb"}]
        return {"ImageId": AMI, "RootDeviceName": "/dev/sda1", "BlockDeviceMappings": disks}

    wanted = plan(node("gpu01", "g4dn.xlarge"), replace(node("gpu02", "g4dn.xlarge"), volume_gb=60))
    assert evaluated("root disks", wanted, images=[image(40)]) == []
    assert evaluated("root disks", wanted, images=[image(80, "/dev/sdb")]) == []
    assert evaluated("root disks", wanted, images=[image(60)]) == [
        f"the root disk of {AMI} has 60 GB; that of gpu01 would be less; set volumeGb of the node or "
        "of its pool to 60 at least"
    ]


def test_nothing_is_asked_of_a_stack_with_an_endpoint_of_its_own(stack):
    """Nor imported: `up` of a sandbox must not get slower by questions that it cannot be asked."""
    code = "import sys; from cli.preflight import warn; warn('sandbox', {}); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stderr == ""
    assert set(done.stdout.split()).isdisjoint({"boto3", "botocore", "pulumi"})


# -- what is said about answers --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("instance_type", "code"),
    [
        ("m7i.large", STANDARD),
        ("t4g.small", STANDARD),
        ("z1d.large", STANDARD),
        ("g4dn.xlarge", GRAPHICS),
        ("vt1.3xlarge", GRAPHICS),
        ("p5.48xlarge", None),
        ("inf2.xlarge", None),
        ("trn1.2xlarge", None),
        ("u-6tb1.metal", None),
    ],
)
def test_types_count_in_the_quota_of_their_family(instance_type, code):
    assert quota_of(instance_type) == code


def test_what_runs_on_demand_counts_and_nothing_else_does():
    assert vcpus(plan()) == []
    others = [
        instance("m7i.large"),
        instance("g5.xlarge", state="stopped"),
        instance("g5.xlarge", InstanceLifecycle="spot"),
    ]
    assert vcpus(plan(), *others) == []
    (line,) = vcpus(plan(), instance("g5.xlarge", cores=1))
    assert "is 4, with 2 in use" in line
    assert (
        "--quota-code L-DB2E81BA --desired-value 6, or https://eu-central-1.console.aws.amazon.com/" in line
    )


def test_a_new_account_without_gpus_is_told_what_to_ask_for():
    (line,) = vcpus(plan(), graphics=0)
    assert line.startswith(
        "4 more vCPU will be needed, and the quota 'Running On-Demand G and VT instances' "
    )


def test_a_node_that_is_there_needs_nothing_even_when_it_is_stopped():
    tags = [{"Key": "kubepark:cluster", "Value": "kubepark-dev"}, {"Key": "kubepark:node", "Value": "gpu01"}]
    assert vcpus(plan(), instance("g4dn.xlarge", state="stopped", Tags=tags), graphics=0) == []
    other = [{"Key": "kubepark:cluster", "Value": "other"}, tags[1]]
    assert len(vcpus(plan(), instance("g4dn.xlarge", state="stopped", Tags=other), graphics=0)) == 1


def test_the_masters_address_counts_once():
    mine = {"Tags": [{"Key": "kubepark:cluster", "Value": "kubepark-dev"}]}

    def said(*addresses: dict[str, object]) -> list[str]:
        return evaluated("Elastic IP quota", plan(), addresses=addresses, L_0263D0A3=2.0)

    assert said({}) == said({}, mine) == said({}, {"ServiceManaged": "alb"}) == []
    (line,) = said({}, {})
    assert line.startswith("1 more address will be needed, and the quota 'EC2-VPC Elastic IPs' (L-0263D0A3) ")


# -- what is said about none -----------------------------------------------------------------------


class Clients:
    """An account: `service-quotas` answers as told, `ec2` refuses everything."""

    def __init__(self):
        options = {"region_name": "eu-central-1", "aws_access_key_id": "a", "aws_secret_access_key": "b"}
        self.quotas = boto3.client("service-quotas", **options)
        self.stub = Stubber(self.quotas)

    def __call__(self, service):
        return self.quotas if service == "service-quotas" else self

    def __getattr__(self, name):
        def refuse(**_):
            raise ClientError({"Error": {"Code": "UnauthorizedOperation", "Message": "no"}}, name)

        return refuse

    def get_paginator(self, _):
        return type("Paginator", (), {"paginate": lambda *_, **__: self.describe_instances()})()


def test_a_permission_that_is_missing_is_one_line_for_each_and_no_error():
    clients = Clients()
    for _ in (STANDARD, GRAPHICS, ADDRESSES):
        clients.stub.add_client_error("get_service_quota", "AccessDeniedException")
    with clients.stub:
        said = preflight.warnings(plan(), clients, lambda: "203.0.113.9")
    assert said == [
        "not checked: vCPU quotas (no permission: ec2:DescribeInstances)",
        "not checked: Elastic IP quota (no permission: ec2:DescribeAddresses)",
        "not checked: instance types of the zone (no permission: ec2:DescribeInstanceTypeOfferings)",
        "not checked: images, root disks (no permission: ec2:DescribeImages)",
    ]


def test_a_quota_that_the_account_has_no_value_of_its_own_for_is_that_of_everybody():
    clients = Clients()
    asked = {"ServiceCode": "ec2", "QuotaCode": GRAPHICS}
    clients.stub.add_client_error("get_service_quota", "NoSuchResourceException", expected_params=asked)
    clients.stub.add_response("get_aws_default_service_quota", {"Quota": {"Value": 5.0}}, asked)
    with clients.stub:
        assert preflight._quota(clients.quotas, GRAPHICS) == 5.0


def test_an_account_that_does_not_answer_holds_nobody_up():
    done = threading.Event()

    def silent() -> str:
        done.wait(30)
        raise OSError

    clients = Clients()
    clients.get_paginator = lambda _: silent()
    for _ in (STANDARD, GRAPHICS, ADDRESSES):
        clients.stub.add_response("get_service_quota", {"Quota": {"Value": 5.0}})
    with clients.stub:
        said = preflight.warnings(plan(), clients, silent, seconds=0.3)
    done.set()
    assert "not checked: vCPU quotas (no answer in 0.3 s)" in said
    assert not [line for line in said if "own address" in line], "nobody has to know it"


@pytest.mark.parametrize("error", [OSError("no route"), ValueError("<html>")])
def test_an_own_address_that_cannot_be_learned_is_no_warning(error):
    def caller() -> str:
        raise error

    assert not any(
        "address" in line for line in preflight.warnings(plan(), Clients(), caller) if "own" in line
    )


def test_up_and_init_say_it_before_anything_is_made(stack, monkeypatch, capsys):
    monkeypatch.setattr(preflight, "warnings", lambda plan, client: [f"{len(plan.nodes)} nodes"])
    preflight.warn("dev", {})
    assert capsys.readouterr().err == "warning: 5 nodes\n"


def test_the_zone_of_a_gpu_node_is_its_own():
    wanted = replace(plan(node("gpu01", "g4dn.xlarge")), zones={"gpu01": "eu-central-1b"})
    offers = [{"InstanceType": "g4dn.xlarge", "Location": f"eu-central-1{zone}"} for zone in "bc"]
    assert evaluated("instance types of the zone", wanted, offerings=offers) == []
    (line,) = evaluated("instance types of the zone", wanted, offerings=offers[1:])
    assert "g4dn.xlarge (gpu01) is not offered in eu-central-1b; offered in: eu-central-1c" in line
    assert "kubepark:gpu.availabilityZone eu-central-1c" in line
