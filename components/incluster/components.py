"""Components of what lives in the cluster: each registers its plan, which its module of that name makes."""

from __future__ import annotations

from collections.abc import Sequence

import pulumi

from components.incluster.calico import plan_calico
from components.incluster.crds import without_managed
from components.incluster.dex import plan_dex
from components.incluster.dex_config import ISSUER
from components.incluster.gpu import plan_gpu
from components.incluster.manifest import KubernetesObject, Manifest, register
from components.incluster.objects import Object
from components.incluster.profiles import plan_profiles
from config.model import Settings


class Calico(pulumi.ComponentResource):
    """Operator, CRDs that it does not make itself, and the Installation. Nodes turn Ready through it."""

    objects: list[KubernetesObject]

    def __init__(
        self,
        name: str,
        settings: Settings,
        upstream: Sequence[Object],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("kubepark:index:Calico", name, None, opts)
        needed = without_managed(upstream)
        operator = Manifest(f"{name}-operator", needed, pulumi.ResourceOptions(parent=self))
        # Its kind is there seconds after the operator has started; the provider asks again for half a minute.
        own = register(self, plan_calico(settings), depends_on=[operator])
        self.objects = [*operator.objects, *own]
        self.register_outputs({})


class Gpu(pulumi.ComponentResource):
    """RuntimeClass and device plugin. It stays, empty, when the stack has no GPU node.

    Everything depends on `instances`, the GPU nodes', so that with the last of them it goes first: the
    deletion of a DaemonSet waits for its pods, and a pod on a machine that is gone does not end.
    """

    objects: list[KubernetesObject]

    def __init__(
        self,
        name: str,
        settings: Settings,
        instances: Sequence[pulumi.Resource],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("kubepark:index:Gpu", name, None, opts)
        self.objects = register(self, plan_gpu(settings), instances)
        self.register_outputs({})


class Dex(pulumi.ComponentResource):
    """All of Dex. A changed hash, person or client updates in place and rolls the Deployment."""

    issuer: str
    objects: list[KubernetesObject]

    def __init__(self, name: str, settings: Settings, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("kubepark:index:Dex", name, None, opts)
        self.objects = register(self, plan_dex(settings))
        self.issuer = settings.oidc_issuer or ISSUER
        self.register_outputs({"issuer": self.issuer})


class Profiles(pulumi.ComponentResource):
    """What each person may use. `namespaces` names them, in the order of configuration."""

    namespaces: list[str]
    objects: list[KubernetesObject]

    def __init__(self, name: str, settings: Settings, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("kubepark:index:Profiles", name, None, opts)
        self.objects = register(self, plan_profiles(settings))
        self.namespaces = [person.namespace for person in settings.people if person.has_namespace]
        self.register_outputs({"namespaces": self.namespaces})
