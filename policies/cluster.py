"""The cluster as a whole: its control plane, its addresses, its GPUs."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from types import MappingProxyType

from pulumi_policy import (
    PolicyConfigSchema,
    PolicyResource,
    ResourceValidationArgs,
    Severity,
    StackValidationArgs,
)

from config.instance_types import INSTANCE_TYPES
from policies.common import (
    Fail,
    FailOf,
    dig,
    each,
    every,
    is_true,
    mandatory,
    mandatory_for_stack,
    of_types,
    strings,
)
from policies.compute import INSTANCE, SPOT

INTERFACE = "aws:ec2/networkInterface:NetworkInterface"
ROLE_TAG = "kubepark:role"
MASTER = "master"

GPUS: Mapping[str, int] = MappingProxyType(
    {name: accelerator.count for name, accelerator in INSTANCE_TYPES.items() if accelerator is not None}
)


def _one_master(args: StackValidationArgs, fail: FailOf) -> None:
    instances = of_types(args, INSTANCE)
    masters: list[PolicyResource] = []

    def note(instance: PolicyResource) -> None:
        if dig(instance.props, "tags", ROLE_TAG) == MASTER:
            masters.append(instance)

    def count() -> None:
        for instance in masters[1:]:
            fail(instance, f"{instance.name} is a second master beside {masters[0].name}.")

    def some() -> None:
        if instances and not masters:
            fail(instances[0], f"No instance has the tag {ROLE_TAG}={MASTER}.")

    noted = [partial(note, instance) for instance in instances]
    # What is unknown may be the master: then nobody can say that there is none.
    every([lambda: every(noted), count])
    some()


def _addresses_unique(args: StackValidationArgs, fail: FailOf) -> None:
    first: dict[str, PolicyResource] = {}

    def take(resource: PolicyResource, address: str) -> None:
        if address in first:
            fail(resource, f"{address} is taken by {first[address].name} already.")
        first.setdefault(address, resource)

    def check(resource: PolicyResource) -> None:
        if resource.resource_type == INTERFACE:
            each(resource.props.get("privateIps"), partial(take, resource))
            return
        # An instance on an interface of ours has that one's address.
        of_its_own = all(other.resource_type != INTERFACE for other in resource.dependencies)
        if of_its_own and (address := resource.props.get("privateIp")):
            take(resource, address)

    every(partial(check, resource) for resource in of_types(args, INTERFACE, INSTANCE))


def _gpus_in_budget(args: StackValidationArgs, fail: FailOf) -> None:
    budget = int(args.get_config().get("gpus", max(GPUS.values())))
    found = 0

    def add(resource: PolicyResource) -> None:
        nonlocal found
        more = GPUS.get(str(resource.props.get("instanceType")), 0)
        found += more
        if more and found > budget:
            fail(resource, f"With {resource.name} the stack has {found} GPUs; {budget} are agreed to.")

    every(partial(add, resource) for resource in of_types(args, INSTANCE, SPOT))


def _production_protected(args: ResourceValidationArgs, fail: Fail) -> None:
    stack = args.urn.split(":")[2]
    if stack not in args.get_config().get("stacks", ["prod"]):
        args.not_applicable(f"{stack} is no stack of production")
    if dig(args.props, "tags", ROLE_TAG) != MASTER:
        args.not_applicable(f"{args.name} is no master")

    def engine() -> None:
        if not args.opts.protect:
            fail(f"{args.name} is not protected: Pulumi would delete it.")

    def cloud() -> None:
        if not is_true(args.props.get("disableApiTermination")):
            fail(f"{args.name} has no disableApiTermination: AWS would terminate it.")

    every([engine, cloud])


ONE_MASTER = mandatory_for_stack(
    name="one-master",
    description="A cluster has exactly one master: a second one would start a cluster of its own.",
    remedy=f"Tag one instance {ROLE_TAG}={MASTER}; every other node is a worker or a GPU node.",
    url="https://kubernetes.io/docs/setup/production-environment/tools/kubeadm/create-cluster-kubeadm/",
    severity=Severity.CRITICAL,
    check=_one_master,
)

NODE_ADDRESSES_UNIQUE = mandatory_for_stack(
    name="node-addresses-unique",
    description="No two nodes have one address: AWS refuses the second, when half of the update is made.",
    remedy="Give each node an address of its own in its subnet (privateIp).",
    url="https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_InstancePrivateIpAddress.html",
    check=_addresses_unique,
)

GPUS_IN_BUDGET = mandatory_for_stack(
    name="gpus-in-budget",
    description="The stack has no more GPUs than somebody agreed to: by default as many as one instance of "
    "the largest type that may be started.",
    remedy="Take GPU nodes away, choose a smaller type, or agree to more in the pack's configuration "
    "(`gpus`).",
    url="https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instance-types.html",
    severity=Severity.MEDIUM,
    check=_gpus_in_budget,
    config=PolicyConfigSchema(
        properties={"gpus": {"type": "integer", "minimum": 0, "description": "GPUs that the stack may have"}}
    ),
)

PRODUCTION_PROTECTED = mandatory(
    name="production-protected",
    description="The master of a production stack is protected: etcd is on its disk.",
    remedy="To protect it: pulumi config set --path kubepark:controlPlane.protected true --stack prod.",
    url="https://www.pulumi.com/docs/iac/concepts/resources/options/protect/",
    severity=Severity.CRITICAL,
    types=frozenset({INSTANCE}),
    check=_production_protected,
    config=PolicyConfigSchema(properties={"stacks": strings("names of the stacks that are production")}),
)
