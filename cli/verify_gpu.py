"""`kubepark verify gpu`: a real pod adds two vectors on each GPU model, or we say why it cannot.

The Job lives outside the stack: it is a question to the cluster, not a part of it. It is deleted in
every case; should this process be killed, Kubernetes ends and removes it after a while.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import urllib3.exceptions
from kubernetes import client
from kubernetes.client.exceptions import ApiException

from cli.cluster import Kubeconfig, connected
from cli.errors import CommandError
from cli.gpu_reasons import accelerators, explain_pending
from config.naming import ACCELERATOR, GPU_RESOURCE, RUNTIME_CLASS
from config.versions import VECTOR_ADD_IMAGE

NAMESPACE = "default"
PASSED = "Test PASSED"

_POLL_SECONDS = 1.0
_REQUEST_SECONDS = 10
_LOG_LINES = 20
_TOLERATION = {"key": GPU_RESOURCE, "operator": "Exists", "effect": "NoSchedule"}

Out = Callable[[str], None]


def build_job(name: str, accelerator: str, *, timeout: float, tolerate: bool = True) -> dict[str, Any]:
    """The acceptance Job: one GPU of the model `accelerator`, asked for as a user's pod would."""
    one = {GPU_RESOURCE: "1"}  # whole cards; a request other than the limit is refused
    pod = {
        "restartPolicy": "Never",
        "runtimeClassName": RUNTIME_CLASS,
        "automountServiceAccountToken": False,
        "nodeSelector": {ACCELERATOR: accelerator},
        "tolerations": [dict(_TOLERATION)] if tolerate else [],
        "containers": [
            {
                "name": "cuda-vector-add",
                "image": VECTOR_ADD_IMAGE,
                "resources": {"requests": dict(one), "limits": dict(one)},
            }
        ],
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "backoffLimit": 0,
            "activeDeadlineSeconds": int(timeout) + 60,
            "ttlSecondsAfterFinished": 300,
            "template": {"spec": pod},
        },
    }


def verify_gpu(
    kubeconfig: Kubeconfig,
    *,
    timeout: float,
    out: Out,
    accelerator: str | None = None,
    tolerate: bool = True,
) -> int:
    """Run the Job on `accelerator`, or on each model that the nodes' labels name. 0: all passed.

    `timeout` is in seconds and for each Job. Without `tolerate` the pod has no toleration, which shows
    that the GPU nodes' taint keeps other pods away. Never raises for what a cluster can be in.
    """
    try:
        with connected(kubeconfig) as api:
            cluster = _Cluster(api)
            models = [accelerator] if accelerator else accelerators(cluster.nodes())
            if not models:
                out(f"no node has the label {ACCELERATOR}: gpu.power is absent, or no GPU node has joined")
                return 1
            passed = [_verify_model(cluster, model, timeout, tolerate, out) for model in models]
    except CommandError as error:
        out(f"error: {error}")
        return 1
    except ApiException as error:
        out(f"error: the Kubernetes API answers {error.status} {error.reason}")
        return 1
    except KeyboardInterrupt:
        out("interrupted")
        return 1
    return 0 if all(passed) else 1


def _verify_model(cluster: _Cluster, model: str, timeout: float, tolerate: bool, out: Out) -> bool:
    name = f"cuda-vector-add-{secrets.token_hex(3)}"
    job = build_job(name, model, timeout=timeout, tolerate=tolerate)
    out(f"Job {NAMESPACE}/{name} on {ACCELERATOR}={model}")
    cluster.create_job(job)
    try:
        return _follow(cluster, name, timeout, out)
    finally:
        cluster.delete_job(name)
        out(f"Job {NAMESPACE}/{name} deleted")


def _follow(cluster: _Cluster, name: str, timeout: float, out: Out) -> bool:
    """Print the Job's events until it ends or time is up; then evaluate it."""
    deadline = time.monotonic() + timeout
    seen: set[str] = set()
    reasons: list[str] = []
    while True:
        for line in cluster.new_events(name, seen):
            out(f"  {line}")
        outcome, pod = cluster.outcome(name), cluster.pod(name)
        if outcome is not None:
            log = cluster.log(pod["metadata"]["name"]) if pod else None
            return evaluate(outcome, pod, log, out)
        now = cluster.reasons(pod) if pod and pod["status"]["phase"] == "Pending" else []
        for reason in now:
            if reason not in reasons:
                out(f"  waiting: {reason}")
        reasons = now
        if time.monotonic() >= deadline:
            state = pod["status"]["phase"] if pod else "without a pod"
            out(f"FAILED: after {timeout:.0f} s the Job is {state}")
            for reason in reasons:
                out(f"  because {reason}")
            return False
        time.sleep(_POLL_SECONDS)


def evaluate(outcome: str, pod: Mapping[str, Any] | None, log: str | None, out: Out) -> bool:
    """A Job that completed has passed unless its log, where there is one, says otherwise."""
    node = pod["spec"].get("nodeName") if pod else None
    for line in (log or "").splitlines():
        out(f"  | {line}")
    if outcome != "Complete":
        out(f"FAILED: the Job ended as {outcome}" + (f" on node {node}" if node else ""))
        return False
    if log is None:
        out(f"passed: the pod completed on node {node} (its log is not served here and was not checked)")
        return True
    if PASSED not in log:
        out(f"FAILED: the pod completed on node {node}, but its log does not say {PASSED!r}")
        return False
    out(f"passed: {PASSED!r} on node {node}")
    return True


class _Cluster:
    """The few requests that are needed, answered as plain dictionaries."""

    def __init__(self, api: client.ApiClient) -> None:
        self._api = api
        self._core = client.CoreV1Api(api)
        self._batch = client.BatchV1Api(api)
        self._apps = client.AppsV1Api(api)

    def nodes(self) -> list[dict[str, Any]]:
        return self._items(self._core.list_node)

    def create_job(self, job: dict[str, Any]) -> None:
        self._ask(self._batch.create_namespaced_job, NAMESPACE, job, field_validation="Strict")

    def delete_job(self, name: str) -> None:
        """Delete Job and pod; it may be gone already."""
        try:
            self._ask(self._batch.delete_namespaced_job, name, NAMESPACE, propagation_policy="Background")
        except ApiException as error:
            if error.status != 404:
                raise

    def outcome(self, name: str) -> str | None:
        """`Complete` or `Failed: <why>` once the Job has ended."""
        job = self._ask(self._batch.read_namespaced_job, name, NAMESPACE)
        for condition in job["status"].get("conditions") or []:
            if condition["status"] == "True" and condition["type"] == "Complete":
                return "Complete"
            if condition["status"] == "True" and condition["type"] == "Failed":
                return f"Failed: {condition.get('message') or condition.get('reason')}"
        return None

    def pod(self, job: str) -> dict[str, Any] | None:
        label = f"batch.kubernetes.io/job-name={job}"
        return next(iter(self._items(self._core.list_namespaced_pod, NAMESPACE, label_selector=label)), None)

    def reasons(self, pod: Mapping[str, Any]) -> list[str]:
        """`explain_pending` with the cluster as it is now."""
        pods = self._items(self._core.list_pod_for_all_namespaces)
        daemon_sets = self._items(self._apps.list_daemon_set_for_all_namespaces)
        return explain_pending(pod, self.nodes(), pods, daemon_sets)

    def new_events(self, job: str, seen: set[str]) -> Iterator[str]:
        """Events of the Job and its pod that were not there before; `seen` is updated."""
        for event in self._items(self._core.list_namespaced_event, NAMESPACE):
            about = event["involvedObject"].get("name", "")
            if event["metadata"]["uid"] not in seen and (about == job or about.startswith(f"{job}-")):
                seen.add(event["metadata"]["uid"])
                yield f"{event.get('reason')}: {event.get('message')}"

    def log(self, pod: str) -> str | None:
        """The end of the pod's log; None where no kubelet serves it."""
        read = partial(self._core.read_namespaced_pod_log, _request_timeout=_REQUEST_SECONDS)
        try:
            # Raw: what the client makes of a log by itself is the text of a Python bytes literal.
            answer = read(pod, NAMESPACE, tail_lines=_LOG_LINES, _preload_content=False)
        except (ApiException, urllib3.exceptions.HTTPError):
            return None
        text: str = answer.data.decode(errors="replace")
        return text

    def _ask(self, call: Callable[..., Any], *arguments: Any, **options: Any) -> dict[str, Any]:
        answer = call(*arguments, _request_timeout=_REQUEST_SECONDS, **options)
        plain: dict[str, Any] = self._api.sanitize_for_serialization(answer)
        return plain

    def _items(self, call: Callable[..., Any], *arguments: Any, **options: Any) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._ask(call, *arguments, **options)["items"]
        return found
