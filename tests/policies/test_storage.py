"""The rules about keys and buckets."""

from __future__ import annotations

import pytest

from policies.storage import (
    ACCESS_BLOCK,
    BLOCKS,
    BUCKET_CLOSED,
    BUCKETS,
    ENCRYPTION,
    KEY,
    KMS_KEY_ROTATION,
    VERSIONING,
)
from tests.policies.support import UNKNOWN, evaluate, evaluate_stack, resource

CLOSED = dict.fromkeys(BLOCKS, True)
VERSIONED = {"versioningConfiguration": {"status": "Enabled"}}
ENCRYPTED = {"rules": [{"applyServerSideEncryptionByDefault": {"sseAlgorithm": "aws:kms"}}]}


@pytest.mark.parametrize(
    "props",
    [
        {"enableKeyRotation": True},
        {"enableKeyRotation": True, "rotationPeriodInDays": 90},
    ],
)
def test_a_key_that_rotates_is_compliant(props):
    assert evaluate(KMS_KEY_ROTATION, KEY, props).violations == ()
    asymmetric = {"customerMasterKeySpec": "RSA_4096"}
    assert not evaluate(KMS_KEY_ROTATION, KEY, asymmetric).applicable


@pytest.mark.parametrize("props", [{}, {"enableKeyRotation": False}])
def test_a_key_that_stays_is_a_violation(props):
    assert evaluate(KMS_KEY_ROTATION, KEY, props).violations == ("enableKeyRotation is not set.",)


def test_an_unknown_rotation_does_not_hide_a_long_period():
    props = {"enableKeyRotation": UNKNOWN, "rotationPeriodInDays": 366.0}
    result = evaluate(KMS_KEY_ROTATION, KEY, props)
    assert result.violations == ("rotationPeriodInDays is 366; at most 365.",)
    assert result.unknown == "enableKeyRotation"
    assert evaluate(KMS_KEY_ROTATION, KEY, props, config={"days": 400}).violations == ()


def bucket(type_=BUCKETS[0], name="state", **props):
    return resource(type_, props, name)


def about(made, closed=CLOSED, versioned=VERSIONED, encrypted=ENCRYPTED):
    """What belongs to a bucket whose name is not known yet; None leaves one away."""
    parts = ((ACCESS_BLOCK, closed), (VERSIONING[0], versioned), (ENCRYPTION[0], encrypted))
    return [
        resource(type_, {"bucket": UNKNOWN, **props}, type_, [made])
        for type_, props in parts
        if props is not None
    ]


@pytest.mark.parametrize("type_", BUCKETS)
def test_a_closed_encrypted_and_versioned_bucket_is_compliant(type_):
    made = bucket(type_)
    result = evaluate_stack(BUCKET_CLOSED, [made, *about(made)])
    assert (result.violations, result.unknown) == ((), None)


def test_a_bucket_may_be_named():
    parts = [(ACCESS_BLOCK, CLOSED), (VERSIONING[1], VERSIONED), (ENCRYPTION[1], ENCRYPTED)]
    others = [resource(type_, {"bucket": "lab-state", **props}, type_) for type_, props in parts]
    assert evaluate_stack(BUCKET_CLOSED, [bucket(bucket="lab-state"), *others]).violations == ()
    assert len(evaluate_stack(BUCKET_CLOSED, [bucket(bucket="lab-logs"), *others]).violations) == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"closed": None}, "state: state has no BucketPublicAccessBlock with blockPublicAcls, "),
        ({"closed": CLOSED | {"ignorePublicAcls": False}}, "state: state has no BucketPublicAccessBlock"),
        ({"versioned": None}, "state: state has no BucketVersioning with status Enabled."),
        ({"versioned": {"versioningConfiguration": {"status": "Suspended"}}}, "state: state has no Bucket"),
        ({"encrypted": None}, "state: state has no BucketServerSideEncryptionConfiguration with aws:kms"),
        ({"encrypted": {"rules": []}}, "state: state has no BucketServerSideEncryptionConfiguration"),
        (
            {"encrypted": {"rules": [{"applyServerSideEncryptionByDefault": {"sseAlgorithm": "AES256"}}]}},
            "state: state has no BucketServerSideEncryptionConfiguration",
        ),
    ],
)
def test_a_bucket_without_one_of_them_is_a_violation(change, message):
    made = bucket()
    [found] = evaluate_stack(BUCKET_CLOSED, [made, *about(made, **change)]).violations
    assert found.startswith(message)


def test_an_unknown_bucket_does_not_hide_another_and_encryption_is_configured():
    first, second = bucket(name="first"), bucket(name="second")
    aes = {"rules": [{"applyServerSideEncryptionByDefault": {"sseAlgorithm": "AES256"}}]}
    resources = [
        first,
        *about(first, closed={"blockPublicAcls": UNKNOWN}),
        second,
        *about(second, encrypted=aes),
    ]
    result = evaluate_stack(BUCKET_CLOSED, resources)
    assert len(result.violations) == 1
    assert result.violations[0].startswith("second: second has no BucketServerSideEncryptionConfiguration")
    assert result.unknown == "blockPublicAcls"
    config = {"algorithms": ["aws:kms", "AES256"]}
    assert evaluate_stack(BUCKET_CLOSED, resources, config=config).violations == ()
