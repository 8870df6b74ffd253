"""S3 buckets, and what is set on a bucket: each setting is a resource that is known by the bucket's name.

Source: hashicorp/terraform-provider-aws, internal/service/s3/bucket*.go.
"""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Callable
from types import MappingProxyType
from typing import Any, ClassVar

from sandbox.aws.provider import policy
from sandbox.aws.provider.api import Api, Tags, given, if_there, tag_list, tag_map
from sandbox.aws.provider.resource_type import Change, ResourceType, capital, paths
from sandbox.aws.provider.values import CheckFailure, Properties

# https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
_NAME = re.compile(r"(?!xn--|sthree-|amzn-s3-demo-)[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", re.ASCII)
_NO_LOCATION = "us-east-1"  # the one region that CreateBucket takes no LocationConstraint for
_BLOCKS = paths("blockPublicAcls blockPublicPolicy ignorePublicAcls restrictPublicBuckets")
_BY_DEFAULT = {"sseAlgorithm": "SSEAlgorithm", "kmsMasterKeyId": "KMSMasterKeyID"}


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
        there = None if api.region == _NO_LOCATION else {"LocationConstraint": api.region}
        api.s3.create_bucket(Bucket=inputs["bucket"], **given(CreateBucketConfiguration=there))
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

    def find(self, api: Api, id: str) -> Any:
        return if_there(api.s3.head_bucket, Bucket=id)

    def details(self, api: Api, id: str, found: dict[str, Any], known: Properties) -> Properties:
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
    """Something that is set on a bucket: what creates it changes it, too. Its `noun` names its calls."""

    noun: ClassVar[str]
    force_new = paths("bucket")

    def call(self, api: Api, verb: str) -> Callable[..., Any]:
        call: Callable[..., Any] = getattr(api.s3, f"{verb}_{self.noun}")
        return call

    @abstractmethod
    def request(self, inputs: Properties) -> dict[str, Any]:
        """The arguments that put it on a bucket."""

    def create(self, api: Api, inputs: Properties) -> str:
        self.call(api, "put")(Bucket=inputs["bucket"], **self.request(inputs))
        return str(inputs["bucket"])

    def update(self, api: Api, id: str, change: Change) -> None:
        self.create(api, {**change.new, "bucket": id})

    def find(self, api: Api, id: str) -> Any:
        return if_there(self.call(api, "get"), Bucket=id)

    def common(self, api: Api, id: str, found: dict[str, Any]) -> Properties:
        return {"bucket": id}

    def delete(self, api: Api, id: str, state: Properties) -> None:
        self.call(api, "delete")(Bucket=id)


class Versioning(_Setting):
    token = "aws:s3/bucketVersioning:BucketVersioning"
    noun = "bucket_versioning"
    handles = paths("bucket versioningConfiguration.status")

    def check(self, inputs: Properties) -> list[CheckFailure]:
        declared = inputs["versioningConfiguration"]
        status = declared.get("status") if isinstance(declared, dict) else None
        if isinstance(status, str) and status not in ("Enabled", "Suspended"):
            return [("versioningConfiguration.status", f"expected Enabled or Suspended, got {status}")]
        return []

    def request(self, inputs: Properties) -> dict[str, Any]:
        return {"VersioningConfiguration": {"Status": inputs["versioningConfiguration"]["status"]}}

    def find(self, api: Api, id: str) -> Any:
        found = super().find(api, id)
        return found if found and "Status" in found else None

    def details(self, api: Api, id: str, found: dict[str, Any], known: Properties) -> Properties:
        return {"versioningConfiguration": {"status": found["Status"]}}

    def delete(self, api: Api, id: str, state: Properties) -> None:
        """A bucket is never without versioning again."""
        self.call(api, "put")(Bucket=id, VersioningConfiguration={"Status": "Suspended"})


class Encryption(_Setting):
    token = "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration"
    noun = "bucket_encryption"
    handles = paths("bucket rules")

    def check(self, inputs: Properties) -> list[CheckFailure]:
        rules = inputs.get("rules")
        known = [each for each in rules if isinstance(each, dict)] if isinstance(rules, list) else []
        if any(set(each) - {"applyServerSideEncryptionByDefault", "bucketKeyEnabled"} for each in known):
            return [("rules", "not implemented by the stand-in provider")]
        return []

    def request(self, inputs: Properties) -> dict[str, Any]:
        rules = []
        for rule in inputs["rules"]:
            default = rule["applyServerSideEncryptionByDefault"]
            theirs = {theirs: default[ours] for ours, theirs in _BY_DEFAULT.items()}
            bucket_key = bool(rule.get("bucketKeyEnabled"))
            rules.append({"ApplyServerSideEncryptionByDefault": theirs, "BucketKeyEnabled": bucket_key})
        return {"ServerSideEncryptionConfiguration": {"Rules": rules}}

    def details(self, api: Api, id: str, found: dict[str, Any], known: Properties) -> Properties:
        rules = []
        for rule in found["ServerSideEncryptionConfiguration"]["Rules"]:
            default = rule["ApplyServerSideEncryptionByDefault"]
            ours = {ours: default[theirs] for ours, theirs in _BY_DEFAULT.items()}
            bucket_key = rule.get("BucketKeyEnabled", False)
            rules.append({"applyServerSideEncryptionByDefault": ours, "bucketKeyEnabled": bucket_key})
        return {"rules": rules}


class PublicAccessBlock(_Setting):
    token = "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock"
    noun = "public_access_block"
    handles = paths("bucket") | _BLOCKS
    defaults = MappingProxyType(dict.fromkeys(_BLOCKS, False))

    def request(self, inputs: Properties) -> dict[str, Any]:
        return {"PublicAccessBlockConfiguration": {capital(name): inputs[name] for name in _BLOCKS}}

    def details(self, api: Api, id: str, found: dict[str, Any], known: Properties) -> Properties:
        return {name: found["PublicAccessBlockConfiguration"][capital(name)] for name in _BLOCKS}


class BucketPolicy(_Setting):
    token = "aws:s3/bucketPolicy:BucketPolicy"
    noun = "bucket_policy"
    handles = paths("bucket policy")
    same = MappingProxyType({"policy": policy.same})
    documents = ("policy",)
    fields = paths("policy")

    def request(self, inputs: Properties) -> dict[str, Any]:
        return {"Policy": inputs["policy"]}
