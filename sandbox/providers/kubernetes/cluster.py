"""Reading, applying and deleting objects of one cluster, by kind."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from sandbox.providers.backend import Properties, ProviderError
from sandbox.providers.kubernetes.api import APPLY, Api, ApiError, Object
from sandbox.providers.kubernetes.kinds import Discovery, Endpoint, Kind
from sandbox.providers.kubernetes.objects import annotation, at, metadata
from sandbox.providers.kubernetes.settings import Settings
from sandbox.providers.kubernetes.waiting import NotReady, Waiter

# Managers whose fields the official provider takes over without asking: plain `kubectl apply`.
_YIELDING = ("kubectl", "before-first-apply")
# The kinds whose end the official provider does not wait for when the annotation says `skipAwait`.
_WORKLOADS = (
    "DaemonSet",
    "Deployment",
    "Job",
    "Namespace",
    "Pod",
    "ReplicationController",
    "StatefulSet",
)
_PROPAGATION = {"foreground": "Foreground", "background": "Background", "orphan": "Orphan"}


class Cluster:
    """One configured provider's view of its API server."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.api = Api(settings.target)
        self.discovery = Discovery(self.api)
        self.waiter = Waiter(self.api)

    # -- where -------------------------------------------------------------------------------------

    def endpoint(self, kind: Kind) -> Endpoint:
        """Where a kind is served. One of a definition that is just being made is waited for, a while.

        Raises ProviderError if it is not served.
        """
        found = self.discovery.find(kind)
        if found is None and not kind.built_in:
            found = self.waiter.until_found(lambda: self._listed(kind))
        if found is None:
            raise ProviderError(
                "",
                f"the Kubernetes API server reported that the apiVersion for this resource does not exist: "
                f"it serves no {kind}; verify that any required CRDs have been created",
            )
        return found

    def _listed(self, kind: Kind) -> Endpoint | None:
        """A kind that is not only announced but answers."""
        found = self.discovery.find(kind)
        return found if found and self._answers(found) else None

    def _answers(self, endpoint: Endpoint) -> bool:
        return self.api.find(f"{endpoint.everywhere}?limit=1") is not None

    def path(self, endpoint: Endpoint, manifest: Properties) -> str:
        """Raises ProviderError if a cluster-scoped object names a namespace."""
        meta = metadata(manifest)
        if not endpoint.namespaced and meta.get("namespace"):
            raise ProviderError(
                "", f"metadata.namespace: {manifest['kind']} is cluster-scoped and lives in no namespace"
            )
        return endpoint.item(meta.get("namespace") or self.settings.namespace, meta["name"])

    # -- what --------------------------------------------------------------------------------------

    def apply(self, path: str, manifest: Properties, manager: str, *, dry_run: bool) -> tuple[bool, Object]:
        """Server-side apply: (whether it was created, the object). Raises ApiError, Unreachable.

        Fields of others are never taken over, but for those of plain `kubectl apply` and where the
        object's annotation or the provider's setting says so.
        """
        force = annotation(manifest, "patchForce") == "true" or self.settings.patch_force
        try:
            return self._apply(path, manifest, manager, force=force, dry_run=dry_run)
        except ApiError as error:
            managers = _conflicting(error)
            if not managers:
                raise
            if not managers.difference(_YIELDING):
                return self._apply(path, manifest, manager, force=True, dry_run=dry_run)
            raise ApiError(
                error.status,
                f"Server-Side Apply field conflict detected: {error.message} (to take these fields over, "
                'set the annotation pulumi.com/patchForce: "true")',
            ) from None

    def _apply(
        self, path: str, manifest: Properties, manager: str, *, force: bool, dry_run: bool
    ) -> tuple[bool, Object]:
        query = {"fieldManager": manager, "force": str(force).lower(), "fieldValidation": "Strict"}
        if dry_run:
            query["dryRun"] = "All"
        status, live = self.api.send("PATCH", path, query, manifest, APPLY)
        return status == 201, live

    def delete(self, path: str, inputs: Properties, timeout: float) -> None:
        """Delete what is there, with its dependents, and wait until it is gone. Raises ProviderError."""
        live = self.api.find(path)
        if live is None:
            return
        policy = annotation(inputs, "deletionPropagationPolicy") or "foreground"
        if policy not in _PROPAGATION:
            raise ProviderError("", f"pulumi.com/deletionPropagationPolicy: {policy!r} is no policy")
        options = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": _PROPAGATION[policy],
            "preconditions": {"uid": metadata(live)["uid"]},
        }
        try:
            self.api.send("DELETE", path, body=options)
            if annotation(inputs, "skipAwait") != "true" or live["kind"] not in _WORKLOADS:
                self.waiter.until_gone(path, live, timeout)
        except ApiError as error:
            if error.status != 404:
                raise
        except NotReady as hanging:
            raise ProviderError("", f"{live['kind']} {path.rpartition('/')[2]}: {hanging}") from None


def with_ignored(manifest: Properties, live: Object, ignored: Sequence[str]) -> Properties:
    """The manifest with the live value at every path of `ignoreChanges`, so that applying it neither
    changes nor conflicts there. Paths into lists are refused."""
    for path in ignored:
        keys = _keys(path)
        value = at(live, *keys)
        if value is not None:
            manifest = _replaced(manifest, keys, value)
    return manifest


def _keys(path: str) -> list[str]:
    if re.search(r"\[(\d+|\*)\]", path):
        raise ProviderError("", f"ignoreChanges: the stand-in ignores no list elements, got {path!r}")
    return [quoted or plain for quoted, plain in re.findall(r'\["([^"]*)"\]|([^.\[\]]+)', path)]


def _replaced(item: Mapping[str, object], keys: Sequence[str], value: object) -> Properties:
    first, *rest = keys
    inner = item.get(first)
    nested = inner if isinstance(inner, Mapping) else {}
    return {**item, first: _replaced(nested, rest, value) if rest else value}


def _conflicting(error: ApiError) -> set[str]:
    """The managers named by an apply conflict; empty for any other error."""
    causes = [cause for cause in error.causes if cause.get("reason") == "FieldManagerConflict"]
    found = (re.search(r'conflict with "([^"]+)"', str(cause.get("message"))) for cause in causes)
    return {match[1] for match in found if match}
