"""Kinds: from Pulumi's type tokens to the REST paths that this API server serves them under."""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass

from sandbox.providers.backend import ProviderError
from sandbox.providers.kubernetes import sdk
from sandbox.providers.kubernetes.api import Api, Object

_TOKEN = re.compile(r"kubernetes:([a-z0-9.-]+)/(v[a-z0-9]+):([A-Z][A-Za-z0-9]*)")
_NO_OBJECTS = ("helm.sh", "kustomize", "yaml", "meta")


@dataclass(frozen=True)
class Kind:
    """Group (empty for the core group), version and kind."""

    group: str
    version: str
    name: str

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def built_in(self) -> bool:
        """Part of Kubernetes itself, not brought by a CustomResourceDefinition."""
        return (self.group or "core") in sdk.groups()

    def __str__(self) -> str:
        return f"{self.api_version}/{self.name}"


@dataclass(frozen=True)
class Endpoint:
    """Where the objects of one kind live."""

    root: str
    plural: str
    namespaced: bool

    def collection(self, namespace: str) -> str:
        return f"{self.root}/namespaces/{namespace}/{self.plural}" if self.namespaced else self.everywhere

    @property
    def everywhere(self) -> str:
        """All objects of the kind, in every namespace."""
        return f"{self.root}/{self.plural}"

    def item(self, namespace: str, name: str) -> str:
        return f"{self.collection(namespace)}/{name}"


def parse(token: str) -> Kind:
    """The kind that a type token names. Raises ProviderError for a token that names none."""
    match = _TOKEN.fullmatch(token)
    if match is None:
        raise ProviderError("", f"{token}: expected kubernetes:GROUP/VERSION:KIND")
    group, version, name = match.groups()
    if group in _NO_OBJECTS:
        raise ProviderError("", f"{token}: the stand-in registers Kubernetes objects only, no {group} types")
    kind = Kind("" if group == "core" else group, version, name)
    if kind.built_in and token not in sdk.resource_types():
        raise ProviderError("", f"{token}: unknown resource type: Kubernetes has no such kind")
    if kind.built_in and name.endswith(("Patch", "List")):
        raise ProviderError(
            "", f"{token}: the stand-in supports no {'Patch' if name[-1] == 'h' else 'List'} types"
        )
    return kind


class Discovery:
    """What the server serves, asked per group and version and remembered until told to forget."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._lock = threading.Lock()
        self._known: dict[str, dict[str, Endpoint]] = {}

    def find(self, kind: Kind) -> Endpoint | None:
        """Where a kind is served, None if it is not. Raises Unreachable."""
        with self._lock:
            endpoint = self._known.get(kind.api_version, {}).get(kind.name)
        if endpoint is None:
            served = self._ask(kind)
            with self._lock:
                self._known[kind.api_version] = served
            endpoint = served.get(kind.name)
        return endpoint

    def forget(self, group: str) -> None:
        """Ask again for the kinds of a group: one of its definitions has come or gone."""
        with self._lock:
            for api_version in [known for known in self._known if known.startswith(f"{group}/")]:
                del self._known[api_version]

    def _ask(self, kind: Kind) -> dict[str, Endpoint]:
        root = f"/apis/{kind.api_version}" if kind.group else f"/api/{kind.version}"
        listing: Object = self._api.find(root) or {}
        return {
            entry["kind"]: Endpoint(root, entry["name"], bool(entry["namespaced"]))
            for entry in listing.get("resources") or []
            if "/" not in entry["name"]  # subresources: pods/log
        }
