"""What people may do in the cluster, asked of the API server itself. Without Kubeflow: all bindings are ours."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest

from sandbox.tests.stack.project import ROOT, Project

pytestmark = pytest.mark.sandbox

CONTAINER: dict[str, Any] = {"name": "main", "image": "kubepark.local/probe:1"}


@pytest.fixture(scope="module")
def checkout(checkout: Project) -> Project:
    checkout.set("kubepark:kubeflow.profiles", "none")
    return checkout


def kubectl(project: Project, *words: str, given: str = "") -> tuple[int, str]:
    """Exit code and output, with the operator's kubeconfig."""
    done = subprocess.run(
        [str(ROOT / ".venv" / "bin" / "kubectl"), "--kubeconfig", str(project.state / "kubeconfig"), *words],
        input=given,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout


@pytest.mark.parametrize(
    "spec",
    [
        {"volumes": [{"name": "etc", "hostPath": {"path": "/etc/kubernetes"}}]},
        {"hostNetwork": True},
        {"containers": [CONTAINER | {"securityContext": {"privileged": True}}]},
    ],
)
def test_a_pod_that_reaches_for_the_host_is_refused_in_a_persons_namespace(
    project: Project, spec: dict[str, Any]
) -> None:
    for more, namespace, refused in (({}, "bo", False), (spec, "bo", True), (spec, "default", False)):
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "x", "namespace": namespace},
            "spec": {"containers": [CONTAINER], **more},
        }
        code, said = kubectl(project, "create", "--dry-run=server", "-f", "-", given=json.dumps(pod))
        assert (code != 0) == refused, said
        assert ('violates PodSecurity "baseline:latest"' in said) == refused
