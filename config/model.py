"""The plain values that the program is planned from.

Frozen dataclasses only: no Pulumi, no I/O. `settings.load()` makes a `Settings` out of the stack
configuration; planners and `userdata.render` take it from there, so all of them can be tested and
compared without an engine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import time
from enum import StrEnum
from ipaddress import IPv4Network
from typing import Any

from config.versions import KubernetesRelease


class NodeRole(StrEnum):
    """What a node is for. The master is the only one that can write join data."""

    MASTER = "master"
    WORKER = "worker"
    GPU = "gpu"


class Power(StrEnum):
    """Whether the instances of a pool run. `auto`: as park, unpark or a person in the console left them, and
    no update changes that. `absent`: there are none."""

    AUTO = "auto"
    RUNNING = "running"
    STOPPED = "stopped"
    ABSENT = "absent"


class Market(StrEnum):
    """How EC2 sells an instance. A Spot Instance costs less, and AWS may stop it at any time."""

    ON_DEMAND = "on-demand"
    SPOT = "spot"


@dataclass(frozen=True, kw_only=True)
class Taint:
    """A Kubernetes node taint, set by the kubelet at first registration."""

    key: str
    value: str
    effect: str


@dataclass(frozen=True, kw_only=True)
class AwsSettings:
    """Which account and region. `endpoint` replaces every AWS endpoint (an emulator, a proxy)."""

    region: str
    account_id: str
    endpoint: str | None


@dataclass(frozen=True, kw_only=True)
class NetworkSettings:
    """Address plan. The three networks never overlap (checked by `settings.load`)."""

    vpc_cidr: IPv4Network
    pod_cidr: IPv4Network
    service_cidr: IPv4Network
    availability_zone: str
    second_availability_zone: str
    admin_cidrs: tuple[IPv4Network, ...]


@dataclass(frozen=True, kw_only=True)
class NodeSettings:
    """One node as configured. `volume_gb` is the root disk; `generation` rebuilds it when bumped.

    `further_types`: what it becomes, in this order, where a start finds no capacity for `instance_type`.
    """

    name: str
    instance_type: str
    ami: str
    volume_gb: int
    generation: int
    further_types: tuple[str, ...] = ()
    market: Market = Market.ON_DEMAND


@dataclass(frozen=True, kw_only=True)
class ControlPlaneSettings:
    """The master. `identity` changes only when the cluster is made anew (new CA, empty etcd).

    `api_endpoint` is the URL operators reach the API at (`https://host:port`); None means the
    Elastic IP on port 6443. `protected`: neither AWS nor Pulumi deletes the master (etcd is on its disk).
    """

    node: NodeSettings
    api_endpoint: str | None
    identity: int
    protected: bool
    wait_minutes: int  # how long `up` waits for a node before it names it
    power: Power = Power.AUTO  # never absent


class Day(StrEnum):
    """Days of the week, the first one as Python counts them."""

    MON = "Mon"
    TUE = "Tue"
    WED = "Wed"
    THU = "Thu"
    FRI = "Fri"
    SAT = "Sat"
    SUN = "Sun"


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """The hours in which nodes run: from `start` to `stop` by the clocks of an IANA time zone.

    `days`: those on which the hours begin. A `stop` that is no later than `start` is on the next day.
    """

    start: time
    stop: time
    timezone: str
    days: tuple[Day, ...]  # in the order of the week


@dataclass(frozen=True, kw_only=True)
class GpuSettings:
    """The GPU pool. `nodes` is empty when `power` is `absent`, and where there is a `schedule` it is `auto`.

    `availability_zone`: one of the two of the network. It may change: that replaces the pool's nodes.
    `idle_minutes`: after how long without a use the master stops a node (None: never). `wake_on_demand`:
    whether it starts one for a pod that waits for a GPU.
    """

    power: Power
    availability_zone: str
    nodes: tuple[NodeSettings, ...]
    time_slicing_replicas: int  # 1: no sharing
    labels: Mapping[str, str]
    schedule: Schedule | None = None
    idle_minutes: int | None = None
    wake_on_demand: bool = False

    @property
    def guarded(self) -> bool:
        """Whether the master decides about who runs, too."""
        return self.idle_minutes is not None or self.wake_on_demand


@dataclass(frozen=True, kw_only=True)
class Tier:
    """What a person may use: ResourceQuota `hard` entries and LimitRange defaults."""

    name: str
    quota: Mapping[str, str]
    default_request: Mapping[str, str]
    default_limit: Mapping[str, str]


class PersonRole(StrEnum):
    """What a person is to the team. A viewer has no namespace and may only look."""

    ADMIN = "admin"
    MEMBER = "member"
    VIEWER = "viewer"


class PersonState(StrEnum):
    """Suspended: no login and no access, everything is kept. Removed: see `Person.purge`."""

    ACTIVE = "active"
    SUSPENDED = "suspended"
    REMOVED = "removed"


class AccessLevel(StrEnum):
    """What a contributor may do in somebody else's namespace."""

    VIEW = "view"
    EDIT = "edit"


@dataclass(frozen=True, kw_only=True)
class Person:
    """One person of the list. `email` is as logins bring it to Kubeflow, in lower case where there is no
    connector; `namespace` is DNS-1123 and unique.

    `namespace` is "" for viewers, who have none. `access` maps other people's keys to what this person
    may do in their namespaces. `former_email` acknowledges that the e-mail was changed. `purge` says
    that the data of a removed person goes too.
    """

    key: str
    email: str
    display_name: str
    namespace: str
    tier: Tier
    role: PersonRole = PersonRole.MEMBER
    groups: tuple[str, ...] = ()
    access: Mapping[str, AccessLevel] = field(default_factory=dict)
    state: PersonState = PersonState.ACTIVE
    purge: bool = False
    former_email: str = ""

    @property
    def active(self) -> bool:
        return self.state is PersonState.ACTIVE

    @property
    def has_namespace(self) -> bool:
        """Whether a namespace of theirs is to exist."""
        return bool(self.namespace) and not self.purge


@dataclass(frozen=True, kw_only=True)
class Group:
    """What its members may do in whose namespace. Expanded to single bindings: Kubeflow ignores groups."""

    name: str
    access: Mapping[str, AccessLevel]


@dataclass(frozen=True, kw_only=True)
class Connector:
    """A way for people to log in with an account that they have elsewhere.

    `config`: Dex's own keys for this type, without the client's secret and the redirect, which follows from
    the issuer.
    """

    type: str
    id: str
    name: str
    config: Mapping[str, Any]


class PodSecurity(StrEnum):
    """The levels of Kubernetes' Pod Security Standards, from everything to least.

    Source: https://kubernetes.io/docs/concepts/security/pod-security-standards/
    """

    PRIVILEGED = "privileged"
    BASELINE = "baseline"
    RESTRICTED = "restricted"


@dataclass(frozen=True, kw_only=True)
class KubeflowSettings:
    """`profiles`: "controller" registers Profiles (something in the cluster acts on them);
    "none" makes Namespace, ResourceQuota and LimitRange ourselves."""

    profiles: str

    @property
    def has_controller(self) -> bool:
        return self.profiles == "controller"


@dataclass(frozen=True, kw_only=True)
class ManifestSource:
    """Upstream YAML: URLs (sha256 pinned in manifests.lock.yaml) or one path below the root."""

    name: str
    locations: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class BudgetSettings:
    """USD that a stack may cost in a month, running; None: as much as it does.

    `acknowledged_usd`: up to where somebody agreed that it costs more than `monthly_usd`.
    """

    monthly_usd: int | None = None
    acknowledged_usd: int | None = None


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything one stack says. Secrets are excluded from repr."""

    cluster: str
    aws: AwsSettings
    release: KubernetesRelease
    platform: str
    network: NetworkSettings
    control_plane: ControlPlaneSettings
    workers: tuple[NodeSettings, ...]  # empty when `workers_power` is `absent`
    workers_power: Power = Power.AUTO
    gpu: GpuSettings
    people: tuple[Person, ...]
    people_path: str = "kubepark:people"  # where the list is: its key, or its file
    groups: tuple[Group, ...] = ()
    pod_security: PodSecurity = PodSecurity.BASELINE  # what pods in people's namespaces may be
    connectors: tuple[Connector, ...] = ()
    oidc_issuer: str | None = None  # where browsers reach Dex; None: only the cluster does
    kubeflow: KubeflowSettings
    manifests: Mapping[str, ManifestSource]
    budget: BudgetSettings = BudgetSettings()
    tags: Mapping[str, str]
    password_hashes: Mapping[str, str] = field(repr=False)  # person key -> bcrypt
    oidc_client_id: str
    oidc_client_secret: str = field(repr=False)
    connector_secrets: Mapping[str, str] = field(default_factory=dict, repr=False)  # by connector id


@dataclass(frozen=True, kw_only=True)
class NodePlan(NodeSettings):
    """One node with everything that is fixed before it exists."""

    role: NodeRole
    availability_zone: str
    private_ip: str
    labels: Mapping[str, str]
    taints: tuple[Taint, ...]
