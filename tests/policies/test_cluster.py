"""The rules about the cluster as a whole."""

from __future__ import annotations

from policies.cluster import (
    GPUS,
    GPUS_IN_BUDGET,
    INTERFACE,
    NODE_ADDRESSES_UNIQUE,
    ONE_MASTER,
    PRODUCTION_PROTECTED,
)
from policies.compute import INSTANCE, SPOT
from tests.policies.support import UNKNOWN, evaluate, evaluate_stack, resource

MASTER = {"tags": {"kubepark:role": "master"}}
WORKER = {"tags": {"kubepark:role": "worker"}}


def instance(name, props=WORKER, dependencies=(), **more):
    return resource(INSTANCE, {**props, **more}, name, dependencies)


def test_one_master_is_compliant_and_so_is_a_stack_without_machines():
    assert evaluate_stack(ONE_MASTER, [instance("m1", MASTER), instance("w1")]).violations == ()
    assert evaluate_stack(ONE_MASTER, [resource("aws:ec2/vpc:Vpc", {})]).violations == ()


def test_a_second_master_and_none_are_violations():
    masters = [instance(name, MASTER) for name in ("m3", "m1", "m2")]
    assert evaluate_stack(ONE_MASTER, masters).violations == (
        "m2: m2 is a second master beside m1.",
        "m3: m3 is a second master beside m1.",
    )
    assert evaluate_stack(ONE_MASTER, [instance("w1"), instance("w2", {})]).violations == (
        "w1: No instance has the tag kubepark:role=master.",
    )


def test_an_unknown_role_may_be_the_master_s_and_hides_no_second_one():
    unknown = instance("x", {"tags": UNKNOWN})
    result = evaluate_stack(ONE_MASTER, [unknown, instance("w1")])
    assert (result.violations, result.unknown) == ((), "tags")
    result = evaluate_stack(ONE_MASTER, [unknown, instance("m1", MASTER), instance("m2", MASTER)])
    assert (len(result.violations), result.unknown) == (1, "tags")


def test_addresses_of_their_own_are_compliant():
    """A master on an interface has the interface's address, which the provider tells of both."""
    interface = resource(INTERFACE, {"privateIps": ["10.20.0.10"]}, "interface")
    for own in ("10.20.0.10", UNKNOWN, None):
        nodes = [
            instance("m1", MASTER, [interface], privateIp=own),
            instance("w1", privateIp="10.20.0.11"),
            instance("w2", privateIp="10.20.0.12"),
            instance("w3"),
        ]
        result = evaluate_stack(NODE_ADDRESSES_UNIQUE, [interface, *nodes])
        assert (result.violations, result.unknown) == ((), None)


def test_an_address_twice_is_a_violation_also_beside_an_interface():
    interface = resource(INTERFACE, {"privateIps": ["10.20.0.10", "10.20.0.11"]}, "interface")
    nodes = [
        instance("w1", privateIp="10.20.0.11"),
        instance("w2", privateIp=UNKNOWN),
        instance("w3", privateIp="10.20.0.12"),
        instance("w4", privateIp="10.20.0.12"),
    ]
    result = evaluate_stack(NODE_ADDRESSES_UNIQUE, [interface, *nodes])
    assert result.violations == (
        "w1: 10.20.0.11 is taken by interface already.",
        "w4: 10.20.0.12 is taken by w3 already.",
    )
    assert result.unknown == "privateIp"


def test_gpus_up_to_the_budget_are_compliant():
    machines = [resource(INSTANCE, {"instanceType": "g4dn.xlarge"}, f"gpu{n}") for n in range(4)]
    assert max(GPUS.values()) == 4
    assert evaluate_stack(GPUS_IN_BUDGET, machines).violations == ()
    plain = [resource(INSTANCE, {"instanceType": "m7i.large"}, "w1")]
    assert evaluate_stack(GPUS_IN_BUDGET, plain, config={"gpus": 0}).violations == ()


def test_gpus_beyond_the_budget_are_violations():
    large = resource(INSTANCE, {"instanceType": "g4dn.12xlarge"}, "gpu1")
    spot = resource(SPOT, {"instanceType": "g4dn.xlarge"}, "gpu2")
    unknown = resource(INSTANCE, {"instanceType": UNKNOWN}, "x")
    result = evaluate_stack(GPUS_IN_BUDGET, [unknown, large, spot])
    assert result.violations == ("gpu2: With gpu2 the stack has 5 GPUs; 4 are agreed to.",)
    assert result.unknown == "instanceType"
    assert evaluate_stack(GPUS_IN_BUDGET, [large, spot], config={"gpus": 5}).violations == ()


PROTECTED = {**MASTER, "disableApiTermination": True}


def test_a_protected_master_is_compliant_and_others_are_not_evaluated():
    kept = evaluate(PRODUCTION_PROTECTED, INSTANCE, PROTECTED, stack="prod", protect=True)
    assert (kept.violations, kept.applicable) == ((), True)
    assert not evaluate(PRODUCTION_PROTECTED, INSTANCE, MASTER, stack="dev").applicable
    assert not evaluate(PRODUCTION_PROTECTED, INSTANCE, WORKER, stack="prod").applicable


def test_a_master_of_production_without_protection_is_a_violation():
    bare = evaluate(PRODUCTION_PROTECTED, INSTANCE, MASTER, stack="prod", name="m1")
    assert bare.violations == (
        "m1 is not protected: Pulumi would delete it.",
        "m1 has no disableApiTermination: AWS would terminate it.",
    )
    half = evaluate(PRODUCTION_PROTECTED, INSTANCE, PROTECTED, stack="live", config={"stacks": ["live"]})
    assert len(half.violations) == 1


def test_what_is_unknown_of_a_master_hides_nothing():
    props = {**MASTER, "disableApiTermination": UNKNOWN}
    result = evaluate(PRODUCTION_PROTECTED, INSTANCE, props, stack="prod")
    assert (len(result.violations), result.unknown) == (1, "disableApiTermination")
    assert evaluate(PRODUCTION_PROTECTED, INSTANCE, {"tags": UNKNOWN}, stack="prod").unknown == "tags"
