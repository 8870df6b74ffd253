"""What Calico's operator does when its container starts, which on a simulated node none does."""

from __future__ import annotations

from sandbox.nodes.api import Api
from sandbox.nodes.kubelet import running_operator

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_GROUP, _PLURAL = "operator.tigera.io", "installations"
_MANAGES = ("-manage-crds=true", "--manage-crds=true")
_ANYTHING = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
# Of its 32 CRDs the one without which nobody can say what it is to install.
INSTALLATIONS = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": f"{_PLURAL}.{_GROUP}"},
    "spec": {
        "group": _GROUP,
        "names": {"kind": "Installation", "plural": _PLURAL},
        "scope": "Cluster",
        "versions": [{"name": "v1", "served": True, "storage": True, "schema": _ANYTHING}],
    },
}


def make_crds(api: Api) -> None:
    """Make the CRD of what it installs, if the operator runs and is to manage CRDs."""
    deployment = running_operator(api)
    if deployment is None:
        return
    containers = deployment["spec"]["template"]["spec"]["containers"]
    manages = any(argument in _MANAGES for each in containers for argument in each.get("args", []))
    if manages and api.find(f"{CRDS}/{_PLURAL}.{_GROUP}") is None:
        api.post(CRDS, INSTALLATIONS)
