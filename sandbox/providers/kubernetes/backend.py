"""The provider's verbs, by the official provider's rules, on a real API server."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sandbox.providers.backend import (
    CheckFailure,
    Created,
    DiffResult,
    PartialCreate,
    Properties,
    ProviderError,
    ReadResult,
    has_unknown,
)
from sandbox.providers.difference import differences
from sandbox.providers.kubernetes import kinds, objects, replacement, settings
from sandbox.providers.kubernetes.api import ApiError, Object, Unreachable
from sandbox.providers.kubernetes.cluster import Cluster, with_ignored
from sandbox.providers.kubernetes.kinds import Endpoint, Kind
from sandbox.providers.kubernetes.validation import failures
from sandbox.providers.kubernetes.waiting import NotReady, judge, seconds

_SECRET = "kubernetes:core/v1:Secret"
_DEFINITION = Kind("apiextensions.k8s.io", "v1", "CustomResourceDefinition")


class KubernetesBackend:
    """See `sandbox.providers.backend.Backend` for what each method promises."""

    name = "kubernetes"
    version = "4.34.2"

    def __init__(self) -> None:
        self._configured: Cluster | None = None

    @property
    def _cluster(self) -> Cluster:
        if self._configured is None:
            raise ProviderError("", "the Kubernetes provider is used before it is configured")
        return self._configured

    # -- configuration -----------------------------------------------------------------------------

    def check_config(self, variables: Mapping[str, Any]) -> list[CheckFailure]:
        return settings.problems(variables)

    def diff_config(self, old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[bool, list[str]]:
        return settings.replacing(old, new)

    def configure(self, variables: Mapping[str, Any]) -> None:
        self._configured = Cluster(settings.load(variables))

    def cancel(self) -> None:
        if self._configured is not None:
            self._configured.waiter.cancel()

    def secret_outputs(self, typ: str) -> Collection[str]:
        return ("data", "stringData") if typ == _SECRET else ()

    def invoke(self, token: str, args: Properties, *, preview: bool) -> Properties:
        raise ProviderError("", f"{token}: the stand-in for the Kubernetes provider has no functions")

    # -- inputs ------------------------------------------------------------------------------------

    def check(
        self, urn: str, typ: str, old_inputs: Properties, inputs: Properties, seed: bytes
    ) -> tuple[Properties, list[CheckFailure]]:
        return inputs, failures(typ, inputs)

    def diff(
        self, typ: str, id: str, old_inputs: Properties, old_outputs: Properties, inputs: Properties
    ) -> DiffResult:
        kind = kinds.parse(typ)
        old, new = objects.canonical(old_inputs), objects.canonical(inputs)
        for one, other in ((old, new), (new, old)):
            # Leaving out the namespace is the same as naming the default one.
            if objects.metadata(other).get("namespace") == self._cluster.settings.namespace:
                one.setdefault("metadata", {}).setdefault("namespace", self._cluster.settings.namespace)
        chosen = self._cluster.settings
        mutable = chosen.mutable_secrets if kind.name == "Secret" else chosen.mutable_config_maps
        place = [
            (objects.metadata(item).get("namespace"), objects.metadata(item).get("name"))
            for item in (old, new)
        ]
        return DiffResult(
            changes=differences(old, new),
            replaces=replacement.fixed_paths(kind, old, new, mutable=mutable),
            delete_before_replace=place[0] == place[1],
        )

    # -- create ------------------------------------------------------------------------------------

    def create(self, urn: str, typ: str, inputs: Properties, *, preview: bool, timeout: float) -> Created:
        kind, manifest = kinds.parse(typ), objects.canonical(inputs)
        manager = objects.field_manager(urn, {}, inputs)
        if preview:
            return Created("", self._foretold(kind, manifest, inputs, manager))
        try:
            endpoint = self._cluster.endpoint(kind)
            path = self._cluster.path(endpoint, manifest)
            upsert = self._cluster.settings.upsert
            if not upsert and self._cluster.api.find(path) is not None:
                raise _exists(manifest)
            created, live = self._cluster.apply(path, manifest, manager, dry_run=False)
            if not created and not upsert:  # somebody was faster
                raise _exists(manifest)
        except ApiError as error:
            raise ProviderError(
                "", f"resource {urn!r} was not successfully created by the Kubernetes API server: {error}"
            ) from None
        live = self._awaited(kind, path, live, manager, seconds(inputs, timeout))
        return Created(objects.identifier(live), objects.outputs(live, manager))

    def _foretold(self, kind: Kind, manifest: Properties, inputs: Properties, manager: str) -> Properties:
        """What a dry run says. The inputs as they are where it can say nothing: values unknown, no
        cluster, a definition or a namespace that the same run will make, an object that will be
        replaced, a user who may not."""
        if has_unknown(manifest):
            return inputs
        try:
            endpoint = self._preview_endpoint(kind)
            if endpoint is None:
                return inputs
            path = self._cluster.path(endpoint, manifest)
            if self._cluster.api.find(path) is not None:
                return inputs
            _, applied = self._cluster.apply(path, manifest, manager, dry_run=True)
        except Unreachable:
            return inputs
        except ApiError as error:
            if error.status in (403, 404):
                return inputs
            raise
        return objects.foretold(applied, manager, exists=False)

    def _preview_endpoint(self, kind: Kind) -> Endpoint | None:
        found = self._cluster.discovery.find(kind)
        if found is None and kind.built_in:
            raise ProviderError("", f"this API server does not serve {kind}")
        return found

    def _awaited(self, kind: Kind, path: str, live: Object, manager: str, timeout: float) -> Object:
        """The object once it is ready. Raises PartialCreate: it exists, whatever happens now."""
        try:
            ready = self._cluster.waiter.until_ready(path, str(kind), live, timeout)
        except NotReady as hanging:
            live, reasons = hanging.live, hanging.reasons
        except ProviderError as error:
            reasons = [str(error)]
        else:
            if kind == _DEFINITION:
                self._cluster.discovery.forget(ready["spec"]["group"])
            return ready
        raise _unready(kind, objects.identifier(live), objects.outputs(live, manager), reasons)

    # -- read --------------------------------------------------------------------------------------

    def read(self, urn: str, typ: str, id: str, inputs: Properties, outputs: Properties) -> ReadResult | None:
        kind = kinds.parse(typ)
        namespace, _, name = id.rpartition("/")
        try:
            endpoint = self._cluster.discovery.find(kind)
            live = self._look(endpoint, namespace, name) if endpoint else None
        except Unreachable as error:
            if self._cluster.settings.delete_unreachable:
                return None
            raise _lost(error) from None
        if live is None:
            return None
        manager = objects.field_manager(urn, outputs, inputs)
        found = objects.outputs(live, manager)
        if not inputs:
            return ReadResult(id, objects.imported(live), found)
        now = objects.refreshed(inputs, live, outputs)
        verdict = judge(str(kind), live, self._cluster.api)
        if not verdict.ready:
            raise _unready(kind, id, found, verdict.reasons, now)
        return ReadResult(id, now, found)

    def _look(self, endpoint: Endpoint, namespace: str, name: str) -> Object | None:
        if endpoint.namespaced != bool(namespace):
            form = "NAMESPACE/NAME" if endpoint.namespaced else "NAME"
            raise ProviderError("", f"the id of an object of {endpoint.plural} has the form {form}")
        return self._cluster.api.find(endpoint.item(namespace, name))

    # -- update ------------------------------------------------------------------------------------

    def update(
        self,
        urn: str,
        typ: str,
        id: str,
        old_inputs: Properties,
        old_outputs: Properties,
        inputs: Properties,
        *,
        preview: bool,
        ignore_changes: Sequence[str],
        timeout: float,
    ) -> Properties:
        kind, manifest = kinds.parse(typ), objects.canonical(inputs)
        manager = objects.field_manager(urn, old_outputs, inputs)
        if preview and has_unknown(manifest):
            return inputs
        try:
            endpoint = self._cluster.discovery.find(kind) if preview else self._cluster.endpoint(kind)
            if endpoint is None:
                return inputs
            path = self._cluster.path(endpoint, manifest)
            live = self._cluster.api.get(path)
            manifest = with_ignored(manifest, live, ignore_changes)
            _, live = self._cluster.apply(path, manifest, manager, dry_run=preview)
        except Unreachable:
            if preview:
                return inputs
            raise
        except ApiError as error:
            if preview and error.status in (403, 404):
                return inputs
            raise ProviderError("", f"update of resource {urn!r} failed: {error}") from None
        if preview:
            return objects.foretold(live, manager, exists=True)
        live = self._awaited(kind, path, live, manager, seconds(inputs, timeout))
        return objects.outputs(live, manager)

    # -- delete ------------------------------------------------------------------------------------

    def delete(
        self, urn: str, typ: str, id: str, inputs: Properties, outputs: Properties, *, timeout: float
    ) -> None:
        kind = kinds.parse(typ)
        namespace, _, name = id.rpartition("/")
        try:
            endpoint = self._cluster.discovery.find(kind)
            if endpoint is None:  # its definition is gone, and every object with it
                return
            path = endpoint.item(namespace, name)
            self._cluster.delete(path, inputs or outputs, seconds(inputs or outputs, timeout, deleting=True))
        except Unreachable as error:
            if not self._cluster.settings.delete_unreachable:
                raise _lost(error) from None
        if kind == _DEFINITION:
            self._cluster.discovery.forget(name.partition(".")[2])


def _exists(manifest: Properties) -> ApiError:
    meta = objects.metadata(manifest)
    where = f" in the namespace {meta['namespace']!r}" if meta.get("namespace") else ""
    return ApiError(
        409,
        f"{manifest['kind']} {meta['name']!r}{where} already exists; import it, delete it, or set "
        "PULUMI_K8S_UPSERT_EXISTING_OBJECTS=true for one run to take it over",
    )


def _unready(
    kind: Kind, id: str, outputs: Properties, reasons: Sequence[str], inputs: Properties | None = None
) -> PartialCreate:
    told = [f"{kind.name} {id} exists, but is not ready: {reasons[0]}", *reasons[1:]]
    return PartialCreate(id, outputs, told, inputs)


def _lost(error: Unreachable) -> ProviderError:
    return ProviderError(
        "",
        f"{error}; if the cluster was deleted, rerun the operation with PULUMI_K8S_DELETE_UNREACHABLE=true "
        "to drop its resources from the state",
    )
