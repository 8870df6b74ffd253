"""What destroy asks of the cluster: load balancers are let go of, and volumes that drivers made are known."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
from kubernetes import client
from kubernetes.client.exceptions import ApiException

from cli import destroy_cluster
from cli.destroy_cluster import Claimed, claimed_volumes, claims, mark_volumes, release
from cli.errors import CommandError


def volume(handle: str, driver: str = "ebs.csi.aws.com", made: bool = True, claim: bool = True) -> Any:
    metadata = client.V1ObjectMeta(
        name=handle, annotations={"pv.kubernetes.io/provisioned-by": driver} if made else None
    )
    reference = client.V1ObjectReference(namespace="ana", name="data") if claim else None
    csi = client.V1CSIPersistentVolumeSource(driver=driver, volume_handle=handle)
    spec = client.V1PersistentVolumeSpec(csi=csi, claim_ref=reference)
    return client.V1PersistentVolume(metadata=metadata, spec=spec)


def test_only_volumes_that_the_driver_made_for_a_claim_are_the_cluster_s():
    local = client.V1PersistentVolume(metadata=client.V1ObjectMeta(), spec=client.V1PersistentVolumeSpec())
    others = [
        volume("fs-1", "efs.csi.aws.com"),
        volume("vol-2", made=False),
        volume("vol-3", claim=False),
        local,
    ]
    assert claimed_volumes([volume("vol-1"), *others]) == [Claimed("vol-1", "ana", "data")]


def test_a_volume_without_any_cluster_s_tag_gets_ours_and_no_other_does():
    tagged: list[dict[str, Any]] = []
    found = [
        {"VolumeId": "vol-1", "Tags": [{"Key": "ebs.csi.aws.com/cluster", "Value": "true"}]},
        {"VolumeId": "vol-2", "Tags": [{"Key": "kubernetes.io/cluster/other", "Value": "owned"}]},
        {"VolumeId": "vol-3", "Tags": [{"Key": "kubepark:cluster", "Value": "other"}]},
    ]
    paginator = SimpleNamespace(paginate=lambda **_: [{"Volumes": found}])
    ec2 = SimpleNamespace(
        get_paginator=lambda name: paginator, create_tags=lambda **call: tagged.append(call)
    )
    claims = [Claimed(f"vol-{number}", "ana", "data") for number in (1, 2, 3)]
    assert mark_volumes(ec2, "lab", claims) == ["vol-1"]
    (call,) = tagged
    assert call["Resources"] == ["vol-1"]
    assert {"Key": "kubepark:cluster", "Value": "lab"} in call["Tags"]
    assert {"Key": "kubernetes.io/created-for/pvc/namespace", "Value": "ana"} in call["Tags"]
    assert mark_volumes(None, "lab", []) == []


class Api:
    """A cluster: Services of type LoadBalancer by name, and for how many more lists each is there."""

    def __init__(self, **services: int) -> None:
        self.services, self.deleted = services, list[str]()
        self.now = 0.0

    def list_persistent_volume(self, **_: Any) -> Any:
        return SimpleNamespace(items=[volume("vol-1")])

    def list_service_for_all_namespaces(self, **_: Any) -> Any:
        plain = SimpleNamespace(
            metadata=client.V1ObjectMeta(name="plain", namespace="default"),
            spec=SimpleNamespace(type="ClusterIP"),
        )
        made = [
            SimpleNamespace(
                metadata=client.V1ObjectMeta(name=name, namespace="default"),
                spec=SimpleNamespace(type="LoadBalancer"),
            )
            for name, left in self.services.items()
            if left > 0
        ]
        for name in self.deleted:
            self.services[name] -= 1
        return SimpleNamespace(items=[plain, *made])

    def list_ingress_for_all_namespaces(self, **_: Any) -> Any:
        own = client.V1ObjectMeta(name="own", namespace="default", finalizers=["ingress.k8s.aws/resources"])
        nginx = client.V1ObjectMeta(name="nginx", namespace="default")
        there = [own, nginx] if "own" not in self.deleted else [nginx]
        return SimpleNamespace(items=[SimpleNamespace(metadata=each) for each in there])

    def delete_namespaced_service(self, name: str, namespace: str, **_: Any) -> None:
        self.deleted.append(name)

    def delete_namespaced_ingress(self, name: str, namespace: str, **_: Any) -> None:
        self.deleted.append(name)
        self.services[name] = 0
        raise ApiException(status=404)

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def released(monkeypatch):
    def run(api: Api, seconds: float = 60) -> list[str]:
        said: list[str] = []
        monkeypatch.setattr(destroy_cluster.cluster, "connected", lambda kubeconfig: nullcontext())
        for name in ("CoreV1Api", "NetworkingV1Api"):
            monkeypatch.setattr(client, name, lambda _: api)
        assert claims("file") == [Claimed("vol-1", "ana", "data")]
        release("file", said.append, seconds=seconds, sleep=api.sleep, clock=lambda: api.now)
        return said

    return run


def test_it_waits_until_controllers_let_go_and_deletes_nothing_else(released):
    api = Api(web=3, mail=1)
    said = released(api)
    assert sorted(api.deleted) == ["mail", "own", "web"], "neither the plain Service nor another's Ingress"
    assert said[-1] == "Service default/web: its controller let go of it"
    assert 0 < api.now < 60


def test_a_controller_that_never_lets_go_costs_the_deadline_and_is_named(released):
    api = Api(web=10_000)
    said = released(api, seconds=30)
    assert said[-1] == "no controller let go of Service default/web: what is in AWS is deleted directly"
    assert api.now == 30


def test_what_the_api_refuses_is_a_clean_error(released, monkeypatch):
    def refuse(self: Api, **_: Any) -> None:
        raise ApiException(status=403, reason="Forbidden")

    monkeypatch.setattr(Api, "list_persistent_volume", refuse)
    with pytest.raises(CommandError, match="the Kubernetes API refuses: 403 Forbidden"):
        released(Api())
