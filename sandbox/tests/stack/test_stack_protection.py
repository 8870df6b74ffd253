"""A master that neither AWS nor Pulumi deletes, and the way to lift that."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError

from sandbox.tests.stack.account import live
from sandbox.tests.stack.project import Project
from sandbox.tests.stack.refusals import refused

pytestmark = [pytest.mark.sandbox, pytest.mark.slow]


@pytest.fixture(scope="module")
def checkout(checkout: Project) -> Project:
    checkout.set("kubepark:controlPlane.protected", True)
    checkout.set("kubepark:workers.nodes", {"worker01": {}})
    checkout.set("kubepark:gpu.power", "absent")
    return checkout


def test_a_protected_master_survives_the_console_a_new_generation_and_a_destroy_until_it_is_lifted(
    project: Project,
) -> None:
    ec2, master = project.aws("ec2"), project.instance("master1")["InstanceId"]
    with pytest.raises(ClientError, match="OperationNotPermitted"):
        ec2.terminate_instances(InstanceIds=[master])

    before = live(project)
    line, *_ = refused(project, "destroy")
    assert line.startswith(
        "error: stack sandbox has protected resources (master1), and nothing was destroyed."
    )
    assert live(project) == before

    with project.changed("kubepark:controlPlane.generation", 2):
        told = "kubepark:controlPlane.protected: the master is protected, and would be deleted"
        assert any(told in line for line in refused(project))
    assert live(project) == before

    project.set("kubepark:controlPlane.protected", False)
    assert project.applied() == {"update": ["master1"]}
    assert project.instance("master1")["InstanceId"] == master
    project.ok("destroy", "--yes")
    assert project.resources() == []
