"""A cluster with one node of each role, as user-data tests need it."""

from __future__ import annotations

import gzip
import os
from copy import deepcopy
from dataclasses import replace
from functools import cache
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import yaml

import userdata
from config.model import (
    AwsSettings,
    ControlPlaneSettings,
    GpuSettings,
    KubeflowSettings,
    Market,
    NetworkSettings,
    NodePlan,
    NodeSettings,
    Power,
    Settings,
)
from config.nodes import plan_nodes
from config.versions import RELEASES

ROLES = ("master", "worker", "gpu")
# Whose every step is made to fail: a worker's are a GPU node's without the GPU, so `make test-long` has them.
ROLES_OF_FAULTS = ROLES if os.environ.get("KUBEPARK_SOAK") else ("master", "gpu")
GOLDEN = Path(__file__).parent / "golden" / "userdata"


def _node(name: str, instance_type: str) -> NodeSettings:
    return NodeSettings(name=name, instance_type=instance_type, ami="ami-0", volume_gb=40, generation=1)


SETTINGS = Settings(
    cluster="sample",
    aws=AwsSettings(region="eu-central-1", account_id="123456789012", endpoint=None),
    release=RELEASES["1.36"],
    platform="ubuntu-24.04",
    network=NetworkSettings(
        vpc_cidr=IPv4Network("10.20.0.0/16"),
        pod_cidr=IPv4Network("192.168.0.0/16"),
        service_cidr=IPv4Network("10.96.0.0/16"),
        availability_zone="eu-central-1a",
        second_availability_zone="eu-central-1b",
        admin_cidrs=(IPv4Network("203.0.113.7/32"),),
    ),
    control_plane=ControlPlaneSettings(
        node=_node("master1", "m6i.large"), api_endpoint=None, identity=1, protected=False, wait_minutes=30
    ),
    workers=(_node("worker01", "m6i.xlarge"),),
    gpu=GpuSettings(
        power=Power.AUTO,
        availability_zone="eu-central-1a",
        nodes=(_node("gpu01", "g4dn.xlarge"),),
        time_slicing_replicas=1,
        labels={"team": "vision"},
    ),
    people=(),
    kubeflow=KubeflowSettings(profiles="none"),
    manifests={},
    tags={},
    password_hashes={"ada": "planted-password-hash"},
    oidc_client_id="planted-client-id",
    oidc_client_secret="planted-client-secret",
)


# What a master is that stops and starts GPU nodes: its user data is another.
GUARDED = replace(SETTINGS, gpu=replace(SETTINGS.gpu, idle_minutes=60, wake_on_demand=True))
# With a GPU node that is a Spot Instance: its user data is another.
SPOT = replace(
    SETTINGS,
    gpu=replace(SETTINGS.gpu, nodes=tuple(replace(each, market=Market.SPOT) for each in SETTINGS.gpu.nodes)),
)


def plan(role: str, settings: Settings = SETTINGS) -> NodePlan:
    """The sample's node of this role."""
    (found,) = (node for node in plan_nodes(settings, IPv4Network("10.20.0.0/22")) if node.role == role)
    return found


def text(role: str, settings: Settings = SETTINGS) -> str:
    """The user data of the sample's node of this role, unpacked."""
    return gzip.decompress(userdata.render(plan(role, settings), settings)).decode()


def document(role: str, settings: Settings = SETTINGS) -> dict[str, Any]:
    return deepcopy(_parsed(text(role, settings)))


@cache
def _parsed(text: str) -> dict[str, Any]:
    """Dozens of tests boot the same node, and PyYAML reads slowly."""
    loaded: dict[str, Any] = yaml.safe_load(text)
    return loaded


def files(role: str, settings: Settings = SETTINGS) -> dict[str, str]:
    """Path on the node to content."""
    return {entry["path"]: entry["content"] for entry in document(role, settings)["write_files"]}


def with_endpoints(aws: str, api: str | None) -> Settings:
    """The sample with another AWS endpoint and another address of the API."""
    return replace(
        SETTINGS,
        aws=replace(SETTINGS.aws, endpoint=aws),
        control_plane=replace(SETTINGS.control_plane, api_endpoint=api),
    )
