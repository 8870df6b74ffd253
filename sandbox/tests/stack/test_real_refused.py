"""What AWS refuses a node, as an update tells it: on real nodes, which meet security groups and roles themselves."""

from __future__ import annotations

import json
import re

import pytest

from components.cluster import NEXT
from components.waiting import SILENCE
from sandbox.tests.stack.machines import OBSTACLE
from sandbox.tests.stack.nodes import ADDRESSES, await_ready
from sandbox.tests.stack.project import QUICK, Project
from sandbox.tests.stack.test_stack_failures import CLUSTER, PROMPT, counts, instances, records, tell, up

pytestmark = [
    pytest.mark.sandbox,
    pytest.mark.real,
    pytest.mark.skipif(bool(OBSTACLE), reason=f"real nodes cannot run here: {OBSTACLE}"),
]

# A real node goes on trying for longer than the update waits, and says what it waits for.
CUT_OFF = (
    "not ready after 1 min; last heard at .*: step join: waiting: no connection to the API server at "
    r"api\.kubepark-sandbox\.internal:6443: timed out"
)


def revoke(project: Project, description: str) -> None:
    """Take a security-group rule away behind the program's back."""
    ec2 = project.aws("ec2")
    (rule,) = (
        each
        for each in ec2.describe_security_group_rules()["SecurityGroupRules"]
        if each.get("Description") == description
    )
    ec2.revoke_security_group_ingress(
        GroupId=rule["GroupId"], SecurityGroupRuleIds=[rule["SecurityGroupRuleId"]]
    )


def test_a_missing_rule_and_a_silent_node_are_named_each_with_its_cause_and_fixed_they_join(
    project: Project,
) -> None:
    revoke(project, "Nodes to the API server")
    project.fault(worker05={"step": "clock", "mode": "silent"})
    project.set("kubepark:workers.nodes", {f"worker0{number}": {} for number in range(1, 6)})
    project.set("kubepark:controlPlane.waitMinutes", 1)
    told = tell(project, "up", *QUICK)
    assert told.code == 1, told.text

    created, _ = told.find("Instance worker05 created")
    named, _ = told.find(r"Instance worker05 .*error: not ready after 1 min$")
    assert 60 <= named.at - created.at <= 60 + PROMPT
    assert records(project, "worker05") == [{"schema": 1, "phase": "pending"}]

    head, cut_off, silent, way = told.error
    assert head == "error: 2 of 6 nodes did not come up:"
    assert re.fullmatch(rf"- worker04: {CUT_OFF}", cut_off)
    assert silent == f"- worker05: not ready after 1 min; {SILENCE}"
    for cause in ("egress", "ssm:PutParameter", "AMI"):
        assert cause in silent
    assert way == NEXT

    # Both fixed, a plain `up` succeeds and replaces nothing.
    nodes = ("master1", "gpu01", *(f"worker0{number}" for number in range(1, 6)))
    before = instances(project, *nodes)
    project.fault()
    project.set("kubepark:controlPlane.waitMinutes", 5)
    project.ok("refresh", "--yes")
    told = up(project, *QUICK)
    assert "SecurityGroupIngressRule security-api-from-nodes created" in told.text
    # The rule, and the list of all rules of its group. Without the rule nodes were not Ready, so Dex,
    # which the refresh found without ready pods, is waited for anew.
    found = counts(told)
    assert found["created"] == 1
    assert 1 <= found["updated"] <= 3, told.text
    updated = set(re.findall(r"^ ~  \S+ (\S+) updated", told.text, re.MULTILINE))
    assert updated <= {"security-control-plane-only", "service-auth-dex", "deployment-auth-dex"}
    assert instances(project, *nodes) == before
    await_ready(project, {*nodes})


def test_a_node_that_may_not_read_the_join_record_is_named_at_once(project: Project) -> None:
    """AWS refuses it again, so no second attempt is waited for. The node goes on, and a right policy heals it."""
    iam, policy = project.aws("iam"), {"RoleName": f"{CLUSTER}-worker03", "PolicyName": "node"}
    given = iam.get_role_policy(**policy)["PolicyDocument"]
    less = [each for each in given["Statement"] if each["Sid"] != "ReadJoin"]
    iam.put_role_policy(**policy, PolicyDocument=json.dumps({**given, "Statement": less}))
    with project.changed("kubepark:workers.nodes.worker03.generation", 2):
        project.set("kubepark:workers.nodes.worker01.generation", 1)
        project.set("kubepark:workers.nodes.worker02.generation", 1)
        told = tell(project, "up", *QUICK)
        assert told.code == 1, told.text
        told.find(r"- worker03: step join failed \(exit 77, attempt \d+\): kp-aws.*AccessDenied")
        iam.put_role_policy(**policy, PolicyDocument=json.dumps(given))
        up(project, *QUICK)
        await_ready(project, {*ADDRESSES})
