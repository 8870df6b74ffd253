"""The provider's own settings. Every endpoint must be on this machine."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from sandbox.aws.provider import schema
from sandbox.aws.provider.api import SERVICES, Api, aws_errors
from sandbox.aws.provider.difference import join
from sandbox.aws.provider.resource_type import paths
from sandbox.aws.provider.values import CheckFailure, ProviderError, has_unknown
from sandbox.config import is_loopback as is_loopback_host

# Settings of the real provider that mean something here, or that rightly mean nothing.
_HANDLED = paths(
    "accessKey allowedAccountIds defaultTags endpoints forbiddenAccountIds maxRetries region s3UsePathStyle"
    " secretKey skipCredentialsValidation skipMetadataApiCheck skipRegionValidation skipRequestingAccountId"
    " token"
)


def parse(variables: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as values: SDKs send everything that is not a string as JSON text."""
    fields = schema.provider().fields
    text = {name for name in variables if name not in fields or fields[name].kind == "string"}
    return {name: value if name in text else _decoded(name, value) for name, value in variables.items()}


def _decoded(name: str, value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        raise ProviderError("", f"{name}: expected a JSON value, got {value!r}") from None


def failures(settings: Mapping[str, Any]) -> list[CheckFailure]:
    """Everything that is wrong with parsed settings."""
    found = list(schema.provider().failures(dict(settings)))
    for name in sorted(schema.provider().fields.keys() & settings.keys() - _HANDLED):
        found.append((name, "this setting is not implemented by the stand-in provider"))
    if not settings.get("region"):
        found.append(("region", "missing: the stand-in provider takes no region from elsewhere"))
    return found or list(_endpoint_failures(settings.get("endpoints")))


def _endpoint_failures(endpoints: Any) -> Iterator[CheckFailure]:
    if has_unknown(endpoints):
        return
    merged = merge_endpoints(endpoints or [])
    for service in SERVICES:
        if service not in merged:
            yield ("endpoints", f"no endpoint for {service}: the stand-in provider never calls AWS itself")
    for service, url in merged.items():
        if not is_loopback(url):
            reason = f"{url!r} is not a loopback address: the stand-in provider talks to an emulator only"
            yield (join("endpoints[0]", service), reason)


def merge_endpoints(endpoints: list[dict[str, str]]) -> dict[str, str]:
    return {service: url for block in endpoints for service, url in block.items() if url is not None}


def is_loopback(url: str) -> bool:
    """Whether a URL names this machine."""
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and is_loopback_host(parts.hostname or "")
    except ValueError:
        return False


def connect(settings: Mapping[str, Any]) -> Api:
    """A ready API. Raises ProviderError for bad settings and for an account that is not allowed."""
    found = failures(settings)
    if found:
        raise ProviderError("", "; ".join(f"{path}: {reason}" for path, reason in found))
    names = {"accessKey": "AWS_ACCESS_KEY_ID", "secretKey": "AWS_SECRET_ACCESS_KEY"}
    credentials = {env.lower(): settings.get(key) or os.environ.get(env, "") for key, env in names.items()}
    if not all(credentials.values()):
        wanted = " and ".join(names.values())
        raise ProviderError("", f"no credentials: set accessKey and secretKey, or {wanted}")
    tags = (settings.get("defaultTags") or {}).get("tags") or {}
    endpoints = merge_endpoints(settings["endpoints"])
    api = Api(endpoints, settings["region"], credentials, dict(tags))
    with aws_errors():
        api.identify()
    allowed = settings.get("allowedAccountIds") or [api.account]
    if api.account not in allowed or api.account in (settings.get("forbiddenAccountIds") or []):
        raise ProviderError("", f"AWS account ID not allowed: {api.account}")
    return api
