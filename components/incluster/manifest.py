"""Registers Kubernetes objects one by one, so that a first preview shows each of them.

The provider's own expansions (ConfigFile, Chart, Directory) register no child while the kubeconfig is
unknown: the preview would hide them, and policies would not see them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pulumi

from components.incluster.objects import Object, in_order, needs, resource_names, type_token

_SECRET_FIELDS = ("data", "stringData")
# The name under which we own fields at the API server. The provider would draw one for each object; one whose
# creation was cut off by kill -9 is in no state, and the object could not be updated under another.
FIELD_MANAGER = {"pulumi.com/patchFieldManager": "kubepark"}


class KubernetesObject(pulumi.CustomResource):
    """Any object, as the plain manifest. One class for all kinds: the SDK's 900 classes take long to import.

    Replaced when the Kubernetes provider says so (name, namespace, immutable fields).
    """

    def __init__(self, name: str, manifest: Object, opts: pulumi.ResourceOptions) -> None:
        metadata = manifest["metadata"]
        annotations = {**(metadata.get("annotations") or {}), **FIELD_MANAGER}
        properties = {**manifest, "metadata": {**metadata, "annotations": annotations}}
        hidden = _SECRET_FIELDS if manifest["kind"] == "Secret" and manifest["apiVersion"] == "v1" else ()
        for field in hidden:
            if field in properties:
                properties[field] = pulumi.Output.secret(properties[field])
        # The server answers stringData as data: both are secret, whichever was given.
        opts = pulumi.ResourceOptions.merge(
            opts, pulumi.ResourceOptions(additional_secret_outputs=list(hidden) or None)
        )
        super().__init__(type_token(manifest), name, properties, opts)


def register(
    parent: pulumi.ComponentResource,
    manifests: Iterable[Object],
    depends_on: Sequence[pulumi.Resource] = (),
) -> list[KubernetesObject]:
    """Register `manifests` under `parent`, each after what it needs among them and after `depends_on`."""
    planned = in_order(manifests)
    made: list[KubernetesObject] = []
    for name, manifest, places in zip(resource_names(planned), planned, needs(planned), strict=True):
        first = [made[place] for place in places]
        opts = pulumi.ResourceOptions(parent=parent, depends_on=[*depends_on, *first])
        made.append(KubernetesObject(name, manifest, opts))
    return made


class Manifest(pulumi.ComponentResource):
    """Objects that came from elsewhere, one child each; `manifests` as `sources.load_all` returns them."""

    objects: list[KubernetesObject]

    def __init__(
        self, name: str, manifests: Sequence[Object], opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("kubepark:index:Manifest", name, None, opts)
        self.objects = register(self, manifests)
        self.register_outputs({})
