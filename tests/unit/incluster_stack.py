"""Settings for the tests of what lives in the cluster. Passwords are made up at run time."""

from __future__ import annotations

import secrets
from dataclasses import replace
from ipaddress import IPv4Network
from typing import Any

import bcrypt

from components.incluster.calico import plan_calico
from components.incluster.dex import plan_dex
from components.incluster.gpu import plan_gpu
from components.incluster.profiles import plan_profiles
from components.incluster.sources import load_all
from config.model import (
    AwsSettings,
    ControlPlaneSettings,
    GpuSettings,
    KubeflowSettings,
    ManifestSource,
    NetworkSettings,
    NodeSettings,
    Person,
    Power,
    Settings,
    Tier,
)
from config.versions import RELEASES

TIER = Tier(
    name="gpu",
    quota={
        "requests.cpu": "8",
        "requests.memory": "24Gi",
        "limits.cpu": "16",
        "limits.memory": "48Gi",
        "requests.nvidia.com/gpu": "1",
    },
    default_request={"cpu": "100m", "memory": "256Mi"},
    default_limit={"cpu": "1", "memory": "1Gi"},
)


def person(key: str, email: str | None = None) -> Person:
    return Person(
        key=key, email=email or f"{key}@example.org", display_name=key.title(), namespace=key, tier=TIER
    )


def make_hash() -> str:
    """A real bcrypt hash of a password that nobody knows (cost 4: fast; settings are not read here)."""
    return bcrypt.hashpw(secrets.token_urlsafe(16).encode(), bcrypt.gensalt(rounds=4)).decode()


def settings(**changes: Any) -> Settings:
    """A stack with one GPU node, two people and the stand-in manifests."""
    people = changes.pop("people", (person("ana"), person("bob-lee")))
    base = Settings(
        cluster="lab",
        aws=AwsSettings(region="us-east-1", account_id="123456789012", endpoint=None),
        release=RELEASES["1.36"],
        platform="ubuntu-24.04",
        network=NetworkSettings(
            vpc_cidr=IPv4Network("10.20.0.0/16"),
            pod_cidr=IPv4Network("192.168.0.0/16"),
            service_cidr=IPv4Network("10.96.0.0/12"),
            availability_zone="us-east-1a",
            second_availability_zone="us-east-1b",
            admin_cidrs=(IPv4Network("203.0.113.7/32"),),
        ),
        control_plane=ControlPlaneSettings(
            node=node("master1", "m7i.large"), api_endpoint=None, identity=1, protected=False, wait_minutes=30
        ),
        workers=(node("worker01", "m7i.xlarge"),),
        gpu=gpu(),
        people=people,
        kubeflow=KubeflowSettings(profiles="controller"),
        manifests={name: stand_in(name) for name in ("calico", "kubeflow")},
        tags={},
        password_hashes={one.key: make_hash() for one in people},
        oidc_client_id="kubepark",
        oidc_client_secret=secrets.token_hex(32),
    )
    return replace(base, **changes)


def node(name: str, instance_type: str) -> NodeSettings:
    return NodeSettings(
        name=name, instance_type=instance_type, ami="ami-00000000", volume_gb=40, generation=1
    )


def gpu(replicas: int = 1) -> GpuSettings:
    return GpuSettings(
        power=Power.AUTO,
        availability_zone="us-east-1a",
        nodes=(node("gpu01", "g4dn.xlarge"),),
        time_slicing_replicas=replicas,
        labels={},
    )


def no_gpu() -> GpuSettings:
    return replace(gpu(), power=Power.ABSENT, nodes=())


def stand_in(name: str) -> ManifestSource:
    return ManifestSource(name=name, locations=(f"sandbox/manifests/{name}.yaml",))


def every_object() -> list[dict[str, Any]]:
    """What a stack registers in the cluster with Profiles and time slicing, and its quota without them."""
    with_all = settings(gpu=gpu(replicas=4))
    loaded = load_all(with_all.manifests)
    plain = settings(kubeflow=KubeflowSettings(profiles="none"), people=(person("plain"),))
    return [
        *loaded["calico"],
        *loaded["kubeflow"],
        *plan_calico(with_all),
        *plan_gpu(with_all),
        *plan_dex(with_all),
        *plan_profiles(with_all),
        *plan_profiles(plain),
    ]
