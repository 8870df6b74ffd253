"""The recording engine and the real one agree about URNs, inherited options, inputs and outputs."""

from __future__ import annotations

import pulumi
import pulumi_aws as aws
import pytest

from sandbox.tests.program.real_engine import engine_run
from tests.engine import deploy


class Leaf(pulumi.ComponentResource):
    def __init__(self, name: str, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("kubepark:leaf:Leaf", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        self.vpc = aws.ec2.Vpc(f"{name}-vpc", cidr_block="10.20.0.0/16", opts=child)
        own = pulumi.ResourceOptions(parent=self, protect=False, retain_on_delete=False)
        self.subnet = aws.ec2.Subnet(f"{name}-subnet", vpc_id=self.vpc.id, opts=own)
        self.register_outputs({"vpc_id": self.vpc.id})


class Branch(pulumi.ComponentResource):
    def __init__(self, name: str, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("kubepark:branch:Branch", name, None, opts)
        self.leaf = Leaf(f"{name}-leaf", pulumi.ResourceOptions(parent=self))
        self.register_outputs({})


def tree() -> None:
    """Options that children inherit, and a child that says otherwise."""
    made = aws.Provider("aws", region="us-east-1", skip_credentials_validation=True)
    gate = aws.ec2.Vpc("gate", cidr_block="10.30.0.0/16", opts=pulumi.ResourceOptions(provider=made))
    opts = pulumi.ResourceOptions(provider=made, deleted_with=gate, protect=True, retain_on_delete=True)
    Branch("branch", opts)


@pytest.mark.sandbox
def test_the_real_engine_agrees_about_urns_options_and_inputs(tmp_path):
    recording = deploy(tree, config={})
    outcome = engine_run(tmp_path, f"{__name__}:tree", "up")
    assert outcome.ok, outcome.output
    real = {item["urn"]: item for item in outcome.resources if item["type"] != "pulumi:pulumi:Stack"}
    assert real.keys() == recording.urns
    for urn, item in real.items():
        ours = recording.resources[urn]
        assert item.get("protect", False) == ours.protect, urn
        assert item.get("retainOnDelete", False) == ours.retain_on_delete, urn
        assert item.get("deletedWith", "") == ours.deleted_with, urn
        assert item.get("provider", "").rpartition("::")[0] == ours.provider, urn
        assert tuple(sorted(item.get("dependencies", []))) == ours.depends_on, urn
        if ours.type.startswith("aws:"):
            assert item["inputs"] == ours.inputs, urn
            assert item["id"] == ours.id, urn
    # What was compared has both: an option that goes down two components, and a child that says otherwise.
    vpc, subnet = recording.one("aws:ec2/vpc:Vpc", "branch-leaf-vpc"), recording.one("aws:ec2/subnet:Subnet")
    gate = recording.one("aws:ec2/vpc:Vpc", "gate").urn
    assert (vpc.protect, vpc.retain_on_delete, vpc.deleted_with) == (True, True, gate)
    assert (subnet.protect, subnet.retain_on_delete, subnet.deleted_with) == (False, False, gate)
