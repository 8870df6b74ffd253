"""With the real provider: an object whose kind an operator makes only once it has started is made then."""

from __future__ import annotations

import pytest

from sandbox.nodes.api import STRATEGIC
from sandbox.nodes.kubelet import INSTALLATION, OPERATOR, running_operator
from sandbox.nodes.simulated.operator import make_crds
from sandbox.tests.nodes.boot_world import until
from sandbox.tests.program.apiserver import start_apiserver
from sandbox.tests.program.engine_project import EngineProject
from sandbox.tests.tools import tool

pytestmark = pytest.mark.sandbox
PODS = "/api/v1/namespaces/tigera-operator/pods"

PROGRAM = """
import pulumi
from components.incluster.calico import plan_calico
from components.incluster.manifest import register
from tests.unit.incluster_stack import settings

class Parent(pulumi.ComponentResource):
    def __init__(self):
        super().__init__("kubepark:index:Parent", "parent")
        register(self, plan_calico(settings()))

Parent()
"""


def test_an_installation_waits_for_its_kind(tmp_path):
    with start_apiserver(tmp_path / "cluster") as server:
        kubeconfig = {"KUBECONFIG": str(server.kubeconfig)}
        project = EngineProject(tmp_path, PROGRAM, {}, **kubeconfig)
        (tmp_path / "bin" / "pulumi-resource-kubernetes").symlink_to(tool("pulumi-resource-kubernetes"))
        update = project.start("up", "--yes", "--skip-preview")
        assert update.stdout is not None
        lines = []
        for line in update.stdout:
            lines.append(line)
            if "Retry #" in line:  # the provider has asked, and no such kind was there
                break
        assert update.poll() is None, "".join(lines)
        server.api.post("/api/v1/namespaces", {"metadata": {"name": "tigera-operator"}})
        deployment = _deployment("-manage-crds=true")
        server.api.post(OPERATOR.rpartition("/")[0], deployment)
        make_crds(server.api)
        assert server.api.find(INSTALLATION) is None, "an operator that does not run makes nothing"
        _available(server)
        make_crds(server.api)
        make_crds(server.api)  # again and again, as the sandbox does
        rest, _ = update.communicate(timeout=60)
        assert update.returncode == 0, "".join(lines) + rest
        assert server.api.get(INSTALLATION)["spec"]["variant"] == "Calico"
        assert project.names() == ["installation-default", "parent"]


def _deployment(*arguments: str) -> dict:
    labels = {"app": "operator"}
    container = {"name": "operator", "image": "operator", "args": list(arguments)}
    return {
        "metadata": {"name": "tigera-operator"},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }


def _available(server):
    """As a node's kubelet says, in the pod: what the controllers say of it they would put right again."""
    (pod,) = until("the operator has a pod", lambda: server.api.get(PODS)["items"])
    ready = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
    server.api.patch(f"{PODS}/{pod['metadata']['name']}/status", {"status": ready}, STRATEGIC)
    until("the Deployment is available", lambda: running_operator(server.api))
