"""The rules of the pack. Importing this has no side effect; `__main__.py` serves them."""

from __future__ import annotations

from pulumi_policy import ResourceValidationArgs, ResourceValidationPolicy, StackValidationPolicy

from policies import waivers
from policies.cluster import GPUS_IN_BUDGET, NODE_ADDRESSES_UNIQUE, ONE_MASTER, PRODUCTION_PROTECTED
from policies.common import Fail, mandatory
from policies.compute import IMDSV2_REQUIRED, INSTANCE_TYPE_ALLOWED, VOLUMES_ENCRYPTED, VOLUMES_GP3
from policies.gpu import GPU_REQUEST_EQUALS_LIMIT
from policies.identity import NO_WILDCARD_MUTATION
from policies.namespaces import DEX_IS_CLOSED, NO_STAR_ROLE, QUOTA_HAS_DEFAULTS
from policies.network import NO_SSH, NO_WORLD_OPEN_INGRESS
from policies.pods import IMAGES_PINNED, LIMITS_COVER_REQUESTS, NO_PRIVILEGED_POD
from policies.secrecy import NO_SECRET_IN_CONFIG_MAP, SECURE_STRING_FOR_SECRETS
from policies.storage import BUCKET_CLOSED, KMS_KEY_ROTATION
from policies.tagging import REQUIRED_TAGS

STACK = "pulumi:pulumi:Stack"


def _waivers_in_force(args: ResourceValidationArgs, fail: Fail) -> None:
    rules = {policy.name for policy in POLICIES}
    for waiver in waivers.WAIVERS:
        what = f"The waiver of {waiver.resource} from {waiver.rule}"
        if waiver.rule not in rules:
            fail(f"{what} is from no rule of ours.")
        if waiver.expired:
            fail(f"{what} ended on {waiver.expires}: {waiver.reason}")


WAIVERS_IN_FORCE = mandatory(
    name="waivers-in-force",
    description="No waiver has ended, and each is from a rule that exists.",
    remedy="Make the resource comply and take the waiver out of policies/waivers.py, or agree to a later "
    "day.",
    url="https://www.pulumi.com/docs/discovery-governance/concepts/policy-as-code/policies/",
    types=frozenset({STACK}),
    check=_waivers_in_force,
)

POLICIES: tuple[ResourceValidationPolicy | StackValidationPolicy, ...] = (
    NO_WORLD_OPEN_INGRESS,
    NO_SSH,
    IMDSV2_REQUIRED,
    VOLUMES_ENCRYPTED,
    VOLUMES_GP3,
    NO_WILDCARD_MUTATION,
    INSTANCE_TYPE_ALLOWED,
    GPUS_IN_BUDGET,
    REQUIRED_TAGS,
    KMS_KEY_ROTATION,
    BUCKET_CLOSED,
    SECURE_STRING_FOR_SECRETS,
    GPU_REQUEST_EQUALS_LIMIT,
    LIMITS_COVER_REQUESTS,
    NO_SECRET_IN_CONFIG_MAP,
    NO_PRIVILEGED_POD,
    IMAGES_PINNED,
    NO_STAR_ROLE,
    QUOTA_HAS_DEFAULTS,
    DEX_IS_CLOSED,
    ONE_MASTER,
    NODE_ADDRESSES_UNIQUE,
    PRODUCTION_PROTECTED,
    WAIVERS_IN_FORCE,
)
