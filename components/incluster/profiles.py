"""A namespace for each person, with a quota and with defaults that make the quota bearable.

We create the namespace ourselves, with the annotation that Kubeflow's controller looks for. So it
adopts the namespace instead of owning it, and removing a Profile keeps the person's data.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from components.incluster.contributors import plan_contributor, plan_denied
from components.incluster.objects import Object, make
from config.model import Person, PersonState, Settings
from config.people import grants

# What Kubeflow's profile controller puts on a namespace it makes; it keeps values that are there.
_KUBEFLOW_LABELS = {
    "app.kubernetes.io/part-of": "kubeflow-profile",
    "istio-injection": "enabled",
    "katib.kubeflow.org/metrics-collector-injection": "enabled",
    "pipelines.kubeflow.org/enabled": "true",
    "serving.kubeflow.org/inferenceservice": "enabled",
}
# The API server itself refuses pods beyond the level: no path of the host, no network of the host, no
# privileged container, and so no way from an editor of a namespace to its node or to the master's.
_POD_SECURITY = "pod-security.kubernetes.io/enforce"
_QUOTA_NAME = "kubepark-quota"
_DEFAULTS_NAME = "kubepark-defaults"


def plan_profiles(settings: Settings) -> tuple[Object, ...]:
    """The objects of all people, person by person, then who may use whose namespace."""
    kubeflow = settings.kubeflow.has_controller
    people = [person for person in settings.people if person.has_namespace]
    labels = {**(_KUBEFLOW_LABELS if kubeflow else {}), _POD_SECURITY: settings.pod_security.value}
    own = [planned for person in people for planned in _plan_person(person, kubeflow, labels)]
    shared = [
        planned
        for grant in grants(settings.people, settings.groups)
        for planned in plan_contributor(grant, kubeflow=kubeflow)
    ]
    return (*own, *shared)


def _plan_person(person: Person, kubeflow: bool, labels: Mapping[str, str]) -> tuple[Object, ...]:
    """Of somebody who was removed only the namespace stays, with the data in it."""
    planned = [_namespace(person, labels)]
    if person.state is not PersonState.REMOVED:
        planned.append(_profile(person) if kubeflow else _resource_quota(person))
        if person.tier.default_request or person.tier.default_limit:
            planned.append(_limit_range(person))
    if kubeflow and not person.active:
        planned.append(plan_denied(person))
    return tuple(planned)


def _namespace(person: Person, labels: Mapping[str, str]) -> Object:
    return make(
        "v1",
        "Namespace",
        person.namespace,
        labels={**labels, "kubepark/person": person.key},
        # Without it, or with another owner, the controller refuses the namespace.
        annotations={"owner": person.email},
    )


def _profile(person: Person) -> Object:
    spec = {
        "owner": {"kind": "User", "name": person.email},
        "resourceQuotaSpec": {"hard": dict(person.tier.quota)},
    }
    return make("kubeflow.org/v1", "Profile", person.namespace, spec=spec)


def _resource_quota(person: Person) -> Object:
    return make("v1", "ResourceQuota", _QUOTA_NAME, person.namespace, spec={"hard": dict(person.tier.quota)})


def _limit_range(person: Person) -> Object:
    """With a quota every container must say what it needs, sidecars too; this says it for them.

    No GPU here, ever: a default would give each container of the namespace one.
    """
    limits: dict[str, Any] = {"type": "Container"}
    if person.tier.default_request:
        limits["defaultRequest"] = dict(person.tier.default_request)
    if person.tier.default_limit:
        limits["default"] = dict(person.tier.default_limit)
    return make("v1", "LimitRange", _DEFAULTS_NAME, person.namespace, spec={"limits": [limits]})
