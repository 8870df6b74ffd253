"""What `kubepark destroy` asks of the cluster itself while its API answers: that controllers take back the
load balancers that they made, and which volumes they made.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from cli import cluster
from cli.cluster import Kubeconfig
from cli.errors import CommandError
from cli.leftovers import free
from config.naming import TAG_CLUSTER

_POLL_SECONDS = 2.0
_TIMEOUT = (5, 30)  # seconds: to connect to the API server, and for its answer
_EBS = "ebs.csi.aws.com"
_PROVISIONED_BY = "pv.kubernetes.io/provisioned-by"  # kubernetes-csi/external-provisioner
# Of Ingresses for which the AWS Load Balancer Controller has made something. Source: kubernetes-sigs/
# aws-load-balancer-controller, pkg/ingress/finalizer.go.
_INGRESS_FINALIZERS = ("ingress.k8s.aws/", "group.ingress.k8s.aws/")
_CLAIM = "kubernetes.io/created-for/pvc/"  # tags: see cli/inventory.py

Say = Callable[[str], None]


@dataclass(frozen=True)
class Claimed:
    """A volume that a driver made for a claim."""

    volume: str
    namespace: str
    name: str


def claims(kubeconfig: Kubeconfig) -> list[Claimed]:
    """The volumes that were made for claims. Raises: CommandError if the API does not answer, or refuses."""
    from kubernetes import client

    with _refusals(), cluster.connected(kubeconfig) as api:
        volumes = client.CoreV1Api(api).list_persistent_volume(_request_timeout=_TIMEOUT)
        return claimed_volumes(volumes.items)


def release(
    kubeconfig: Kubeconfig,
    say: Say,
    *,
    seconds: float,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Delete what controllers made load balancers for, and wait, `seconds` at most, until they let go of it.

    Raises: CommandError if the API does not answer, or refuses.
    """
    from kubernetes import client

    with _refusals(), cluster.connected(kubeconfig) as api:
        there = partial(_with_balancers, client.CoreV1Api(api), client.NetworkingV1Api(api))
        _delete_and_wait(there, say, end=clock() + seconds, sleep=sleep, clock=clock)


@contextmanager
def _refusals() -> Iterator[None]:
    """The API's refusals as errors that people can act on."""
    from kubernetes.client.exceptions import ApiException

    try:
        yield
    except ApiException as error:
        raise CommandError(f"the Kubernetes API refuses: {error.status} {error.reason}") from None


def claimed_volumes(items: Iterable[Any]) -> list[Claimed]:
    """Volumes of EBS that its driver made. One that a person made and gave to a claim is that person's."""
    found = []
    for item in items:
        csi, claim = item.spec.csi, item.spec.claim_ref
        made = (item.metadata.annotations or {}).get(_PROVISIONED_BY)
        if csi and csi.driver == _EBS and made == _EBS and claim:
            found.append(Claimed(csi.volume_handle, claim.namespace, claim.name))
    return found


def mark_volumes(ec2: Any, name: str, claimed: Iterable[Claimed]) -> list[str]:
    """Tag what a driver made without a cluster's tag, so that it is known as this cluster's without the API.

    Gives the ids. What has any cluster's tag is left alone.
    """
    by_id = {each.volume: each for each in claimed}
    if not by_id:
        return []
    filters = [{"Name": "volume-id", "Values": sorted(by_id)}]
    marked = []
    for page in ec2.get_paginator("describe_volumes").paginate(Filters=filters):
        for volume in page["Volumes"]:
            if not free({tag["Key"]: tag["Value"] for tag in volume.get("Tags") or ()}):
                continue
            claim = by_id[volume["VolumeId"]]
            tags = {
                TAG_CLUSTER: name,
                f"{_CLAIM}namespace": claim.namespace,
                f"{_CLAIM}name": claim.name,
            }
            ec2.create_tags(
                Resources=[claim.volume], Tags=[{"Key": key, "Value": value} for key, value in tags.items()]
            )
            marked.append(claim.volume)
    return marked


def _with_balancers(core: Any, networking: Any) -> Mapping[str, Callable[[], Any]]:
    """What has a load balancer: its name -> how it is deleted."""
    found: dict[str, Callable[[], Any]] = {}
    for service in core.list_service_for_all_namespaces(_request_timeout=_TIMEOUT).items:
        if service.spec.type == "LoadBalancer":
            meta = service.metadata
            found[f"Service {meta.namespace}/{meta.name}"] = _deletion(core.delete_namespaced_service, meta)
    for ingress in networking.list_ingress_for_all_namespaces(_request_timeout=_TIMEOUT).items:
        meta = ingress.metadata
        if any(each.startswith(_INGRESS_FINALIZERS) for each in meta.finalizers or ()):
            deleted = _deletion(networking.delete_namespaced_ingress, meta)
            found[f"Ingress {meta.namespace}/{meta.name}"] = deleted
    return found


def _deletion(delete: Callable[..., Any], meta: Any) -> Callable[[], Any]:
    def go() -> None:
        from kubernetes.client.exceptions import ApiException

        try:
            delete(meta.name, meta.namespace, _request_timeout=_TIMEOUT)
        except ApiException as error:
            if error.status != 404:  # somebody else was faster
                raise

    return go


def _delete_and_wait(
    there: Callable[[], Mapping[str, Callable[[], Any]]],
    say: Say,
    *,
    end: float,
    sleep: Callable[[float], None],
    clock: Callable[[], float],
) -> None:
    """Until none of what is there now is left; what is left at the end is named."""
    wanted = there()
    for name, delete in wanted.items():
        say(f"{name} is being deleted")
        delete()
    waiting = set(wanted)
    while waiting:
        still = waiting & set(there())
        for name in sorted(waiting - still):
            say(f"{name}: its controller let go of it")
        waiting = still
        left = end - clock()
        if waiting and left <= 0:
            say(f"no controller let go of {', '.join(sorted(waiting))}: what is in AWS is deleted directly")
            return
        if waiting:
            sleep(min(_POLL_SECONDS, left))
