"""Access to other people's namespaces, and the end of it, as objects of the cluster. Pure.

A contributor is a RoleBinding and an AuthorizationPolicy of one name, word for word as Kubeflow's own
access API writes them: it lists contributors by these, and one it cannot read breaks the list for all.
Source of the form: kubeflow/dashboard, access-management (bindings.go).
"""

from __future__ import annotations

from typing import Any

from components.incluster.objects import Object, make
from config.model import Person
from config.people import OWNER, Grant, pair_slug

_RBAC = "rbac.authorization.k8s.io"
_ISTIO = "security.istio.io/v1"
_USER_HEADER = "request.headers[kubeflow-userid]"
# Who may say in that header who somebody is: the gateway behind the login, and the pipelines' own UI.
_TRUSTED = (
    "cluster.local/ns/istio-system/sa/istio-ingressgateway-service-account",
    "cluster.local/ns/kubeflow/sa/ml-pipeline-ui",
)
_DENIED = "kubepark-denied"
# Without Kubeflow there are its roles not either; these are in every cluster.
_BUILT_IN = {OWNER: "admin", "edit": "edit", "view": "view"}


def plan_contributor(grant: Grant, *, kubeflow: bool) -> tuple[Object, ...]:
    """What one grant needs in its namespace. Kubeflow's controller binds owners by itself."""
    if not kubeflow:
        return (_binding(grant, _BUILT_IN[grant.role]),)
    if grant.role == OWNER:
        return ()
    rule = {
        "from": [{"source": {"principals": list(_TRUSTED)}}],
        "when": [{"key": _USER_HEADER, "values": [grant.email]}],
    }
    policy = _of(grant, _ISTIO, "AuthorizationPolicy", spec={"rules": [rule]})
    return (_binding(grant, f"kubeflow-{grant.role}"), policy)


def plan_denied(person: Person) -> Object:
    """Shuts the owner out of the namespace: a token that was given before lives for up to a day."""
    rule = {"when": [{"key": _USER_HEADER, "values": [person.email]}]}
    spec = {"action": "DENY", "rules": [rule]}
    return make(_ISTIO, "AuthorizationPolicy", _DENIED, person.namespace, spec=spec)


def _binding(grant: Grant, role: str) -> Object:
    return _of(
        grant,
        f"{_RBAC}/v1",
        "RoleBinding",
        roleRef={"apiGroup": _RBAC, "kind": "ClusterRole", "name": role},
        subjects=[{"apiGroup": _RBAC, "kind": "User", "name": grant.email}],
    )


def _of(grant: Grant, version: str, kind: str, **fields: Any) -> Object:
    owner = grant.role == OWNER
    name = "namespaceAdmin" if owner else f"user-{pair_slug(grant.email)}-clusterrole-{grant.role}"
    annotations = {"user": grant.email, "role": "admin" if owner else grant.role}
    return make(version, kind, name, grant.namespace, annotations=annotations, **fields)
