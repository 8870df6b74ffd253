"""What data at rest is kept under: keys that rotate, buckets that are closed, encrypted and versioned."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from pulumi_policy import (
    PolicyConfigSchema,
    PolicyResource,
    ResourceValidationArgs,
    Severity,
    StackValidationArgs,
)

from policies.common import (
    Fail,
    FailOf,
    dig,
    every,
    is_true,
    mandatory,
    mandatory_for_stack,
    of_types,
    strings,
)

KEY = "aws:kms/key:Key"
BUCKETS = ("aws:s3/bucket:Bucket", "aws:s3/bucketV2:BucketV2")
ACCESS_BLOCK = "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock"
VERSIONING = ("aws:s3/bucketVersioning:BucketVersioning", "aws:s3/bucketVersioningV2:BucketVersioningV2")
ENCRYPTION = (
    "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration",
    "aws:s3/bucketServerSideEncryptionConfigurationV2:BucketServerSideEncryptionConfigurationV2",
)
BLOCKS = ("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets")
ALGORITHMS = ["aws:kms", "aws:kms:dsse"]  # under a key of KMS, whose policy counts as well
YEAR = 365  # days; AWS's own period


def _rotated(args: ResourceValidationArgs, fail: Fail) -> None:
    longest = int(args.get_config().get("days", YEAR))
    props = args.props

    def enabled() -> None:
        if not is_true(props.get("enableKeyRotation")):
            fail("enableKeyRotation is not set.")

    def period() -> None:
        days = int(props.get("rotationPeriodInDays") or YEAR)
        if days > longest:
            fail(f"rotationPeriodInDays is {days}; at most {longest}.")

    if (props.get("customerMasterKeySpec") or "SYMMETRIC_DEFAULT") != "SYMMETRIC_DEFAULT":
        args.not_applicable("AWS rotates symmetric keys only")
    every([enabled, period])


def _about(bucket: PolicyResource, other: PolicyResource) -> bool:
    """Whether a resource is about a bucket, whose name a preview may not know yet."""
    if bucket in other.property_dependencies.get("bucket", []):
        return True
    name = bucket.props.get("bucket")
    return name is not None and other.props.get("bucket") == name


def _bucket_closed(args: StackValidationArgs, fail: FailOf) -> None:
    algorithms = args.get_config().get("algorithms", ALGORITHMS)

    def blocked(props: Any) -> bool:
        return all(is_true(props.get(key)) for key in BLOCKS)

    def versioned(props: Any) -> bool:
        return bool(dig(props, "versioningConfiguration", "status") == "Enabled")

    def encrypted(props: Any) -> bool:
        rules = props.get("rules") or ()
        found = [dig(rule, "applyServerSideEncryptionByDefault", "sseAlgorithm") for rule in rules]
        return bool(found) and all(each in algorithms for each in found)

    def check(
        bucket: PolicyResource, types: tuple[str, ...], holds: Callable[[Any], bool], what: str
    ) -> None:
        others = [other for other in of_types(args, *types) if _about(bucket, other)]
        if not any(holds(other.props) for other in others):
            fail(bucket, f"{bucket.name} has no {types[0].rpartition(':')[2]} {what}.")

    every(
        partial(check, bucket, *wanted)
        for bucket in of_types(args, *BUCKETS)
        for wanted in (
            ((ACCESS_BLOCK,), blocked, f"with {', '.join(BLOCKS)}"),
            (VERSIONING, versioned, "with status Enabled"),
            (ENCRYPTION, encrypted, f"with {' or '.join(algorithms)}"),
        )
    )


KMS_KEY_ROTATION = mandatory(
    name="kms-key-rotation",
    description="KMS keys rotate, so that no version of the key material opens everything.",
    remedy="Set enable_key_rotation=True.",
    url="https://docs.aws.amazon.com/kms/latest/developerguide/rotate-keys.html",
    severity=Severity.MEDIUM,
    types=frozenset({KEY}),
    check=_rotated,
    config=PolicyConfigSchema(
        properties={
            "days": {"type": "integer", "minimum": 90, "maximum": 2560, "description": "the longest period"}
        }
    ),
)

BUCKET_CLOSED = mandatory_for_stack(
    name="bucket-closed",
    description="S3 buckets are closed to the public, encrypted under a key of KMS and versioned: state and "
    "backups are in them.",
    remedy="Register a BucketPublicAccessBlock, a BucketServerSideEncryptionConfiguration and a "
    "BucketVersioning for the bucket.",
    url="https://docs.aws.amazon.com/AmazonS3/latest/userguide/security-best-practices.html",
    severity=Severity.CRITICAL,
    check=_bucket_closed,
    config=PolicyConfigSchema(properties={"algorithms": strings("server-side encryption that counts")}),
)
