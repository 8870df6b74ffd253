"""Carry out one change of the plan: in the stack file, in the sandbox's secrets, in AWS, in Kubernetes."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import yaml

from sandbox.tests.soak.plan import Step, World
from sandbox.tests.stack.project import Project


def apply(project: Project, world: World, step: Step) -> bool:
    """Make the change; True if the state must be refreshed before `up` can know of it.

    `world` is as it shall be after the step. Building and rebuilding need no change here.
    """
    if step.change in ("add-worker", "remove-worker", "bump"):
        write_nodes(project, world)
    elif step.change == "tier":
        _write_people(project, world)
    elif step.change == "hash":
        project.forget_password(step.target)
    elif step.change == "terminate":
        project.aws("ec2").terminate_instances(InstanceIds=[project.instance(step.target)["InstanceId"]])
        return True
    elif step.change == "drift":
        _DRIFTS[step.target](project)
        return True
    return False


def write_nodes(project: Project, world: World) -> None:
    nodes = {name: {"generation": generation} for name, generation in world.generations.items()}
    project.set("kubepark:workers.nodes", {name: nodes[name] for name in world.workers})
    project.set("kubepark:gpu.nodes", {"gpu01": nodes["gpu01"]})


def _write_people(project: Project, world: World) -> None:
    people = yaml.safe_load(project.stack_file.read_text(encoding="utf-8"))["config"]["kubepark:people"]
    project.set("kubepark:people", [{**person, "tier": world.people[person["name"]]} for person in people])


# -- drift: what somebody changes by hand ----------------------------------------------------------


def _tag(project: Project, id: str) -> None:
    project.aws("ec2").create_tags(Resources=[id], Tags=[{"Key": "Name", "Value": "changed-by-hand"}])


def _instance_tag(project: Project) -> None:
    _tag(project, project.instance("master1")["InstanceId"])


def _vpc_tag(project: Project) -> None:
    filters = [{"Name": "tag-key", "Values": ["kubepark:cluster"]}]
    _tag(project, project.aws("ec2").describe_vpcs(Filters=filters)["Vpcs"][0]["VpcId"])


def _security_rule(project: Project) -> None:
    ec2 = project.aws("ec2")
    filters = [{"Name": "tag-key", "Values": ["kubepark:cluster"]}]
    groups = [group["GroupId"] for group in ec2.describe_security_groups(Filters=filters)["SecurityGroups"]]
    rules = ec2.describe_security_group_rules(Filters=[{"Name": "group-id", "Values": groups}])
    rule = next(item for item in rules["SecurityGroupRules"] if not item["IsEgress"])
    ec2.revoke_security_group_ingress(
        GroupId=rule["GroupId"], SecurityGroupRuleIds=[rule["SecurityGroupRuleId"]]
    )


def _hosts_parameter(project: Project) -> None:
    ssm = project.aws("ssm")
    described = ssm.get_paginator("describe_parameters").paginate()
    names = [item["Name"] for page in described for item in page["Parameters"]]
    ssm.delete_parameter(Name=next(name for name in names if "/hosts/" in name))


def _config_map(project: Project) -> None:
    patch: Mapping[str, Any] = {"data": {"config.yaml": "changed: by hand\n"}}
    project.kubectl("-n", "auth", "patch", "configmap", "dex", "--type=merge", "-p", json.dumps(patch))


def _deployment(project: Project) -> None:
    project.kubectl("-n", "auth", "delete", "deployment", "dex", "--wait=true")


_DRIFTS: Mapping[str, Callable[[Project], None]] = {
    "instance-tag": _instance_tag,
    "vpc-tag": _vpc_tag,
    "security-rule": _security_rule,
    "hosts-parameter": _hosts_parameter,
    "config-map": _config_map,
    "deployment": _deployment,
}
