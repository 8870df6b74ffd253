"""What park and unpark ask of the Kubernetes API: nodes, pods, cordons and evictions, as plain data."""

from __future__ import annotations

import json
from collections.abc import Callable, Container, Mapping
from contextlib import suppress
from typing import Any

from kubernetes import client
from kubernetes.client.exceptions import ApiException

from cli.errors import CommandError
from cli.power_plan import Pod
from config.naming import CORDONED, INSTANCE_TYPE_LABEL

_REQUEST_SECONDS = 10
_GONE = (404, 409)  # it is not there, or another one of its name is


class KubeNodes:
    """A cluster's nodes and pods."""

    def __init__(self, api: client.ApiClient) -> None:
        self._api = api
        self._core = client.CoreV1Api(api)

    def nodes(self) -> dict[str, dict[str, Any]]:
        """Every Node by name."""
        return {each["metadata"]["name"]: each for each in self._items(self._core.list_node)}

    def pods(self) -> list[dict[str, Any]]:
        return self._items(self._core.list_pod_for_all_namespaces)

    def cordon(self, node: str, boot_id: str) -> None:
        """Let no further pod onto a node, and note that this was a park, and in which boot."""
        self._patch(node, {"metadata": {"annotations": {CORDONED: boot_id}}, "spec": {"unschedulable": True}})

    def uncordon(self, node: str) -> None:
        """Undo `cordon`."""
        self._patch(node, {"metadata": {"annotations": {CORDONED: None}}, "spec": {"unschedulable": None}})

    def note_type(self, node: str, instance_type: str) -> None:
        """The instance was resized while it was stopped: a kubelet sets this label when it registers only."""
        self._patch(node, {"metadata": {"labels": {INSTANCE_TYPE_LABEL: instance_type}}})

    def evict(self, pod: Pod) -> str:
        """Ask for a pod's eviction: "" if it is granted, or the pod is gone; else why not now.

        Not now is 429 of a PodDisruptionBudget, and 500 where several are about the pod. Source:
        https://kubernetes.io/docs/concepts/scheduling-eviction/api-eviction/
        """
        meta = client.V1ObjectMeta(name=pod.name, namespace=pod.namespace)
        only = client.V1DeleteOptions(preconditions=client.V1Preconditions(uid=pod.uid))
        body = client.V1Eviction(metadata=meta, delete_options=only)
        try:
            call = self._core.create_namespaced_pod_eviction
            self._ask(call, pod.name, pod.namespace, body, meant=(*_GONE, 429, 500))
        except ApiException as error:
            return "" if error.status in _GONE else _reason(error)
        return ""

    def delete(self, pod: Pod) -> None:
        """Delete a pod, whatever a PodDisruptionBudget says; it may be gone already."""
        only = client.V1DeleteOptions(preconditions=client.V1Preconditions(uid=pod.uid))
        with suppress(ApiException):
            self._ask(self._core.delete_namespaced_pod, pod.name, pod.namespace, body=only, meant=_GONE)

    def _patch(self, node: str, body: Mapping[str, Any]) -> None:
        self._ask(self._core.patch_node, node, body)

    def _ask(
        self, call: Callable[..., Any], *arguments: Any, meant: Container[int] = (), **options: Any
    ) -> dict[str, Any]:
        """The answer. Raises: ApiException for a status that is `meant`, else CommandError."""
        try:
            answer = call(*arguments, _request_timeout=_REQUEST_SECONDS, **options)
        except ApiException as error:
            if error.status in meant:
                raise
            raise CommandError(f"the Kubernetes API refuses: {error.status} {_reason(error)}") from None
        plain: dict[str, Any] = self._api.sanitize_for_serialization(answer)
        return plain

    def _items(self, call: Callable[..., Any]) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._ask(call)["items"]
        return found


def _reason(error: ApiException) -> str:
    """What the API server says of a refused call; of a budget, its name and how many pods it needs."""
    try:
        status = json.loads(error.body or "")
    except ValueError:
        return str(error.reason)
    causes = (status.get("details") or {}).get("causes") or []
    said = [cause["message"] for cause in causes if cause.get("message")]
    return "; ".join(said) or str(status.get("message") or error.reason)
