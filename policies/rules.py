"""The rules of the pack. Importing this has no side effect; `__main__.py` serves them."""

from __future__ import annotations

from pulumi_policy import ResourceValidationPolicy

from policies.compute import IMDSV2_REQUIRED, INSTANCE_TYPE_ALLOWED, VOLUMES_ENCRYPTED
from policies.gpu import GPU_REQUEST_EQUALS_LIMIT
from policies.identity import NO_WILDCARD_MUTATION
from policies.network import NO_SSH, NO_WORLD_OPEN_INGRESS
from policies.secrecy import NO_SECRET_IN_CONFIG_MAP, SECURE_STRING_FOR_SECRETS
from policies.tagging import REQUIRED_TAGS

POLICIES: tuple[ResourceValidationPolicy, ...] = (
    NO_WORLD_OPEN_INGRESS,
    NO_SSH,
    IMDSV2_REQUIRED,
    VOLUMES_ENCRYPTED,
    NO_WILDCARD_MUTATION,
    INSTANCE_TYPE_ALLOWED,
    REQUIRED_TAGS,
    SECURE_STRING_FOR_SECRETS,
    GPU_REQUEST_EQUALS_LIMIT,
    NO_SECRET_IN_CONFIG_MAP,
)
