"""KMS keys and aliases."""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import Any

from sandbox.aws.provider import policy
from sandbox.aws.provider.api import Api, Tags, given, if_there, tag_list, tag_map
from sandbox.aws.provider.resource_type import Change, ResourceType, paths
from sandbox.aws.provider.values import CheckFailure, Properties

_ALIAS = re.compile(r"alias/[\w/-]+", re.ASCII)


class Key(ResourceType):
    token = "aws:kms/key:Key"
    handles = paths("description policy enableKeyRotation deletionWindowInDays")
    defaults = MappingProxyType(
        {
            "description": "Managed by Pulumi",
            "enableKeyRotation": False,
            "isEnabled": True,
            "multiRegion": False,
        }
    )
    computed = paths("policy rotationPeriodInDays")
    local = paths("deletionWindowInDays")
    same = MappingProxyType({"policy": policy.same})
    documents = ("policy",)
    ranges = MappingProxyType({"deletionWindowInDays": (7, 30)})
    fields = paths("arn keyId description keyUsage customerMasterKeySpec multiRegion")

    def create(self, api: Api, inputs: Properties) -> str:
        answer = api.kms.create_key(
            Description=inputs["description"],
            Tags=tag_list(inputs.get("tagsAll") or {}, "TagKey", "TagValue"),
            **given(Policy=inputs.get("policy")),
        )
        return str(answer["KeyMetadata"]["KeyId"])

    def finish(self, api: Api, id: str, inputs: Properties) -> None:
        if inputs["enableKeyRotation"]:
            api.kms.enable_key_rotation(KeyId=id)

    def update(self, api: Api, id: str, change: Change) -> None:
        new = change.new
        if change.of("enableKeyRotation"):
            rotate = api.kms.enable_key_rotation if new["enableKeyRotation"] else api.kms.disable_key_rotation
            rotate(KeyId=id)
        if change.of("description"):
            api.kms.update_key_description(KeyId=id, Description=new["description"])
        if change.of("policy"):
            api.kms.put_key_policy(KeyId=id, PolicyName="default", Policy=new["policy"])

    def retag(self, api: Api, id: str, removed: list[str], tags: Tags) -> None:
        if removed:
            api.kms.untag_resource(KeyId=id, TagKeys=removed)
        if tags:
            api.kms.tag_resource(KeyId=id, Tags=tag_list(tags, "TagKey", "TagValue"))

    def find(self, api: Api, id: str) -> Any:
        key = (if_there(api.kms.describe_key, KeyId=id) or {}).get("KeyMetadata")
        return None if key is None or key["KeyState"] == "PendingDeletion" else key

    def details(self, api: Api, id: str, found: dict[str, Any], known: Properties) -> Properties:
        rotation = api.kms.get_key_rotation_status(KeyId=id)
        tags = api.kms.list_resource_tags(KeyId=id)["Tags"]
        return {
            "isEnabled": found["Enabled"],
            "policy": api.kms.get_key_policy(KeyId=id, PolicyName="default")["Policy"],
            "enableKeyRotation": rotation["KeyRotationEnabled"],
            "rotationPeriodInDays": rotation.get("RotationPeriodInDays"),
            "tagsAll": tag_map(tags, "TagKey", "TagValue"),
        }

    def delete(self, api: Api, id: str, state: Properties) -> None:
        window = given(PendingWindowInDays=state.get("deletionWindowInDays"))
        api.kms.schedule_key_deletion(KeyId=id, **window)


class Alias(ResourceType):
    token = "aws:kms/alias:Alias"
    handles = paths("name targetKeyId")
    force_new = paths("name")
    computed = paths("name")
    name_prefix = "alias/"

    def check(self, inputs: Properties) -> list[CheckFailure]:
        name = inputs["name"]
        if isinstance(name, str) and (not _ALIAS.fullmatch(name) or name.startswith("alias/aws/")):
            return [("name", f"expected alias/ and letters, digits, /_-, not alias/aws/..., got {name!r}")]
        return []

    def create(self, api: Api, inputs: Properties) -> str:
        api.kms.create_alias(AliasName=inputs["name"], TargetKeyId=inputs["targetKeyId"])
        return str(inputs["name"])

    def update(self, api: Api, id: str, change: Change) -> None:
        api.kms.update_alias(AliasName=id, TargetKeyId=change.new["targetKeyId"])

    def read(self, api: Api, id: str, known: Properties) -> Properties | None:
        pages = api.kms.get_paginator("list_aliases").paginate()
        for alias in (item for page in pages for item in page["Aliases"]):
            if alias["AliasName"] == id and alias.get("TargetKeyId"):
                arn = api.arn("kms", f"key/{alias['TargetKeyId']}")
                declared = known.get("targetKeyId")  # an id or an ARN: both name the same key
                return {
                    "name": id,
                    "arn": alias["AliasArn"],
                    "targetKeyId": arn if declared == arn else alias["TargetKeyId"],
                    "targetKeyArn": arn,
                }
        return None

    def delete(self, api: Api, id: str, state: Properties) -> None:
        api.kms.delete_alias(AliasName=id)
