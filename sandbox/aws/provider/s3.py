"""S3 buckets, and what is set on a bucket: each setting is a resource that is known by the bucket's name.

Source: hashicorp/terraform-provider-aws, internal/service/s3/bucket*.go.
"""

from __future__ import annotations

import re
from types import MappingProxyType

from sandbox.aws.provider import policy
from sandbox.aws.provider.api import Api, Tags, if_there, tag_list, tag_map
from sandbox.aws.provider.resource_type import Change, ResourceType, paths
from sandbox.aws.provider.values import CheckFailure, Properties

# https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
_NAME = re.compile(r"(?!xn--|sthree-|amzn-s3-demo-)[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", re.ASCII)
_NO_LOCATION = "us-east-1"  # the one region that CreateBucket takes no LocationConstraint for
_BLOCKS = {
    "blockPublicAcls": "BlockPublicAcls",
    "blockPublicPolicy": "BlockPublicPolicy",
    "ignorePublicAcls": "IgnorePublicAcls",
    "restrictPublicBuckets": "RestrictPublicBuckets",
}


class Bucket(ResourceType):
    token = "aws:s3/bucket:Bucket"
    handles = paths("bucket forceDestroy")
    force_new = paths("bucket")
    defaults = MappingProxyType({"forceDestroy": False})
    local = paths("forceDestroy")

    def check(self, inputs: Properties) -> list[CheckFailure]:
        name = inputs.get("bucket")
        if name is None:
            return [("bucket", "the stand-in provider makes no automatic names of buckets")]
        if isinstance(name, str) and (not _NAME.fullmatch(name) or ".." in name):
            return [("bucket", f"{name!r} is not the name of a bucket")]
        if inputs.get("forceDestroy") is True:
            return [("forceDestroy", "not implemented by the stand-in provider")]
        return []

    def create(self, api: Api, inputs: Properties) -> str:
        here = {} if api.region == _NO_LOCATION else {"LocationConstraint": api.region}
        where = {"CreateBucketConfiguration": here} if here else {}
        api.s3.create_bucket(Bucket=inputs["bucket"], **where)
        return str(inputs["bucket"])

    def finish(self, api: Api, id: str, inputs: Properties) -> None:
        if inputs.get("tagsAll"):
            self._tag(api, id, inputs["tagsAll"])

    @staticmethod
    def _tag(api: Api, id: str, tags: Tags) -> None:
        api.s3.put_bucket_tagging(Bucket=id, Tagging={"TagSet": tag_list(tags)})

    @staticmethod
    def _tags(api: Api, id: str) -> Tags:
        return tag_map((if_there(api.s3.get_bucket_tagging, Bucket=id) or {}).get("TagSet"))

    def read(self, api: Api, id: str, known: Properties) -> Properties | None:
        if if_there(api.s3.head_bucket, Bucket=id) is None:
            return None
        return {
            "arn": f"arn:aws:s3:::{id}",
            "bucket": id,
            "bucketRegion": api.region,
            "bucketDomainName": f"{id}.s3.amazonaws.com",
            "bucketRegionalDomainName": f"{id}.s3.{api.region}.amazonaws.com",
            "tagsAll": self._tags(api, id),
        }

    def retag(self, api: Api, id: str, removed: list[str], tags: Tags) -> None:
        """S3 takes the whole set only."""
        kept = {key: value for key, value in self._tags(api, id).items() if key not in removed}
        self._tag(api, id, {**kept, **tags})

    def delete(self, api: Api, id: str, state: Properties) -> None:
        api.s3.delete_bucket(Bucket=id)


class _Setting(ResourceType):
    """Something that is set on a bucket: what creates it changes it, too."""

    force_new = paths("bucket")

    def create(self, api: Api, inputs: Properties) -> str:
        self.put(api, str(inputs["bucket"]), inputs)
        return str(inputs["bucket"])

    def update(self, api: Api, id: str, change: Change) -> None:
        self.put(api, id, change.new)

    def put(self, api: Api, bucket: str, inputs: Properties) -> None:
        raise NotImplementedError


class Versioning(_Setting):
    token = "aws:s3/bucketVersioning:BucketVersioning"
    handles = paths("bucket versioningConfiguration.status")

    def check(self, inputs: Properties) -> list[CheckFailure]:
        given = inputs.get("versioningConfiguration")
        status = given.get("status") if isinstance(given, dict) else None
        if isinstance(status, str) and status not in ("Enabled", "Suspended"):
            return [("versioningConfiguration.status", f"expected Enabled or Suspended, got {status}")]
        return []

    def put(self, api: Api, bucket: str, inputs: Properties) -> None:
        status = inputs["versioningConfiguration"]["status"]
        api.s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": status})

    def read(self, api: Api, id: str, known: Properties) -> Properties | None:
        found = if_there(api.s3.get_bucket_versioning, Bucket=id)
        if found is None or "Status" not in found:
            return None
        return {"bucket": id, "versioningConfiguration": {"status": found["Status"]}}

    def delete(self, api: Api, id: str, state: Properties) -> None:
        """A bucket is never without versioning again."""
        api.s3.put_bucket_versioning(Bucket=id, VersioningConfiguration={"Status": "Suspended"})


class Encryption(_Setting):
    token = "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration"
    handles = paths("bucket rules")

    def check(self, inputs: Properties) -> list[CheckFailure]:
        rules = inputs.get("rules")
        known = [each for each in rules if isinstance(each, dict)] if isinstance(rules, list) else []
        if any(set(each) - {"applyServerSideEncryptionByDefault", "bucketKeyEnabled"} for each in known):
            return [("rules", "not implemented by the stand-in provider")]
        return []

    def put(self, api: Api, bucket: str, inputs: Properties) -> None:
        rules = [
            {
                "ApplyServerSideEncryptionByDefault": {
                    "SSEAlgorithm": rule["applyServerSideEncryptionByDefault"]["sseAlgorithm"],
                    "KMSMasterKeyID": rule["applyServerSideEncryptionByDefault"]["kmsMasterKeyId"],
                },
                "BucketKeyEnabled": bool(rule.get("bucketKeyEnabled")),
            }
            for rule in inputs["rules"]
        ]
        api.s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": rules})

    def read(self, api: Api, id: str, known: Properties) -> Properties | None:
        found = if_there(api.s3.get_bucket_encryption, Bucket=id)
        if found is None:
            return None
        rules = [
            {
                "applyServerSideEncryptionByDefault": {
                    "sseAlgorithm": rule["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"],
                    "kmsMasterKeyId": rule["ApplyServerSideEncryptionByDefault"]["KMSMasterKeyID"],
                },
                "bucketKeyEnabled": rule.get("BucketKeyEnabled", False),
            }
            for rule in found["ServerSideEncryptionConfiguration"]["Rules"]
        ]
        return {"bucket": id, "rules": rules}

    def delete(self, api: Api, id: str, state: Properties) -> None:
        api.s3.delete_bucket_encryption(Bucket=id)


class PublicAccessBlock(_Setting):
    token = "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock"
    handles = paths("bucket") | _BLOCKS.keys()
    defaults = MappingProxyType(dict.fromkeys(_BLOCKS, False))

    def put(self, api: Api, bucket: str, inputs: Properties) -> None:
        blocks = {theirs: inputs[ours] for ours, theirs in _BLOCKS.items()}
        api.s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=blocks)

    def read(self, api: Api, id: str, known: Properties) -> Properties | None:
        found = if_there(api.s3.get_public_access_block, Bucket=id)
        if found is None:
            return None
        blocks = found["PublicAccessBlockConfiguration"]
        return {"bucket": id, **{ours: blocks[theirs] for ours, theirs in _BLOCKS.items()}}

    def delete(self, api: Api, id: str, state: Properties) -> None:
        api.s3.delete_public_access_block(Bucket=id)


class BucketPolicy(_Setting):
    token = "aws:s3/bucketPolicy:BucketPolicy"
    handles = paths("bucket policy")
    same = MappingProxyType({"policy": policy.same})

    def check(self, inputs: Properties) -> list[CheckFailure]:
        return policy.failures(inputs, "policy")

    def put(self, api: Api, bucket: str, inputs: Properties) -> None:
        api.s3.put_bucket_policy(Bucket=bucket, Policy=inputs["policy"])

    def read(self, api: Api, id: str, known: Properties) -> Properties | None:
        found = if_there(api.s3.get_bucket_policy, Bucket=id)
        return None if found is None else {"bucket": id, "policy": found["Policy"]}

    def delete(self, api: Api, id: str, state: Properties) -> None:
        api.s3.delete_bucket_policy(Bucket=id)
