"""Samples of the types of `foundation/`: buckets, what is set on them, GitHub's identity provider."""

from __future__ import annotations

import json
from typing import Any

from sandbox.tests.aws.aws_provider import World, unique

BUCKET = "aws:s3/bucket:Bucket"
PROVIDER = "aws:iam/openIdConnectProvider:OpenIdConnectProvider"


def bucket(world: World) -> str:
    return world.cloud.make(BUCKET, {"bucket": unique("state")}).id


def _closed(world: World) -> dict[str, Any]:
    blocks = ("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets")
    return {"bucket": bucket(world), **dict.fromkeys(blocks, True)}


def _rules(key: str) -> list[dict[str, Any]]:
    default = {"sseAlgorithm": "aws:kms", "kmsMasterKeyId": key}
    return [{"applyServerSideEncryptionByDefault": default, "bucketKeyEnabled": False}]


def only_tls(name: str) -> str:
    statement = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:*",
        "Resource": [f"arn:aws:s3:::{name}", f"arn:aws:s3:::{name}/*"],
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def _policy(world: World) -> dict[str, Any]:
    name = bucket(world)
    return {"bucket": name, "policy": only_tls(name)}


# Arguments of `Sample`, by type.
SAMPLES: dict[str, dict[str, Any]] = {
    BUCKET: {"inputs": lambda w: {"bucket": unique("state")}, "change": {"tags": {"a": "b"}}},
    "aws:s3/bucketVersioning:BucketVersioning": {
        "inputs": lambda w: {"bucket": bucket(w), "versioningConfiguration": {"status": "Enabled"}},
        "change": {"versioningConfiguration": {"status": "Suspended"}},
        "survives": True,  # suspended, which a bucket stays
    },
    "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration": {
        "inputs": lambda w: {"bucket": bucket(w), "rules": _rules(w.key().outputs["arn"])},
        "change": {"rules": _rules("arn:aws:kms:us-east-1:123456789012:key/other")},
    },
    "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock": {
        "inputs": _closed,
        "change": {"restrictPublicBuckets": False},
    },
    "aws:s3/bucketPolicy:BucketPolicy": {"inputs": _policy},
    PROVIDER: {
        "inputs": lambda w: {
            "url": f"https://{unique('token')}.example.com",
            "clientIdLists": ["sts.amazonaws.com"],
        },
        "change": {"tags": {"a": "b"}},
    },
}
