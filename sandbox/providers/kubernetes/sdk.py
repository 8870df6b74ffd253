"""What the installed `pulumi_kubernetes` package knows: resource types and provider settings.

Read from its generated source text; importing it would cost a quarter of a second at each start.
"""

from __future__ import annotations

import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from sandbox.providers.backend import ProviderError


@cache
def resource_types() -> frozenset[str]:
    """Every type token that the SDK has a class for, such as `kubernetes:apps/v1:Deployment`."""
    return frozenset(re.findall(r'"(kubernetes:[^"\s]+:[A-Za-z]+)": "', _source("__init__.py")))


@cache
def groups() -> frozenset[str]:
    """The API groups built into Kubernetes, as tokens spell them (`core`, `apps`, ...)."""
    return frozenset(token.split(":")[1].split("/")[0] for token in resource_types())


@cache
def settings() -> frozenset[str]:
    """Names of the provider's settings as the engine sees them (`clusterIdentifier`, ...)."""
    assigned = re.findall(r'__props__\.__dict__\["(\w+)"\]', _source("provider.py"))
    return frozenset(_camel(name) for name in assigned)


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)


def _source(name: str) -> str:
    spec = find_spec("pulumi_kubernetes")
    if spec is None or not spec.submodule_search_locations:
        raise ProviderError("", "the Python package pulumi_kubernetes is not installed")
    return (Path(spec.submodule_search_locations[0]) / name).read_text(encoding="utf-8")
