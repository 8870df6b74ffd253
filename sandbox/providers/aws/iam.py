"""Roles, their policies, instance profiles."""

from __future__ import annotations

import json
import re
from types import MappingProxyType
from typing import Any

from sandbox.providers.aws import policy
from sandbox.providers.aws.api import Api, AwsError, Tags, given, if_there, tag_list, tag_map
from sandbox.providers.aws.table import Change, Row, paths
from sandbox.providers.backend import CheckFailure, Properties

_NAME = re.compile(r"[\w+=,.@-]+", re.ASCII)


def name_failures(inputs: Properties, longest: int) -> list[CheckFailure]:
    name = inputs.get("name")
    if isinstance(name, str) and not (_NAME.fullmatch(name) and len(name) <= longest):
        return [("name", f"expected 1 to {longest} of letters, digits and +=,.@_-, got {name!r}")]
    return []


class Role(Row):
    token = "aws:iam/role:Role"
    handles = paths("name assumeRolePolicy description path maxSessionDuration forceDetachPolicies")
    force_new = paths("name path")
    defaults = MappingProxyType(
        {"description": "", "path": "/", "maxSessionDuration": 3600, "forceDetachPolicies": False}
    )
    computed = paths("name")
    local = paths("forceDetachPolicies")
    same = MappingProxyType({"assumeRolePolicy": policy.same})
    name_prefix = ""

    def check(self, inputs: Properties) -> list[CheckFailure]:
        return name_failures(inputs, 64) + policy.failures(inputs, "assumeRolePolicy")

    def create(self, api: Api, inputs: Properties) -> str:
        policy.require_trust_policy(inputs["assumeRolePolicy"])
        answer = api.iam.create_role(
            RoleName=inputs["name"],
            AssumeRolePolicyDocument=inputs["assumeRolePolicy"],
            Path=inputs["path"],
            MaxSessionDuration=inputs["maxSessionDuration"],
            Description=inputs["description"],
            Tags=tag_list(inputs.get("tagsAll") or {}),
        )
        return str(answer["Role"]["RoleName"])

    def read(self, api: Api, id: str, known: Properties) -> Properties | None:
        answer = if_there(api.iam.get_role, RoleName=id)
        if answer is None:
            return None
        role = answer["Role"]
        attached = api.iam.list_attached_role_policies(RoleName=id)["AttachedPolicies"]
        return {
            "arn": role["Arn"],
            "name": role["RoleName"],
            "path": role["Path"],
            "description": role.get("Description", ""),
            "maxSessionDuration": role["MaxSessionDuration"],
            "assumeRolePolicy": document(role["AssumeRolePolicyDocument"]),
            "createDate": role["CreateDate"].isoformat(),
            "uniqueId": role["RoleId"],
            "managedPolicyArns": sorted(item["PolicyArn"] for item in attached),
            "tagsAll": tag_map(role.get("Tags")),
        }

    def update(self, api: Api, id: str, change: Change) -> None:
        if change.of("assumeRolePolicy"):
            policy.require_trust_policy(change.new["assumeRolePolicy"])
            api.iam.update_assume_role_policy(RoleName=id, PolicyDocument=change.new["assumeRolePolicy"])
        if change.of("description", "maxSessionDuration"):
            api.iam.update_role(
                RoleName=id,
                Description=change.new["description"],
                MaxSessionDuration=change.new["maxSessionDuration"],
            )

    def retag(self, api: Api, id: str, removed: list[str], tags: Tags) -> None:
        if removed:
            api.iam.untag_role(RoleName=id, TagKeys=removed)
        if tags:
            api.iam.tag_role(RoleName=id, Tags=tag_list(tags))

    def delete(self, api: Api, id: str, state: Properties) -> None:
        for profile in api.iam.list_instance_profiles_for_role(RoleName=id)["InstanceProfiles"]:
            api.iam.remove_role_from_instance_profile(
                InstanceProfileName=profile["InstanceProfileName"], RoleName=id
            )
        attached = api.iam.list_attached_role_policies(RoleName=id)["AttachedPolicies"]
        inline = api.iam.list_role_policies(RoleName=id)["PolicyNames"]
        if (attached or inline) and not state.get("forceDetachPolicies"):
            raise AwsError("DeleteConflict", "Cannot delete entity, must detach all policies first.")
        for item in attached:
            api.iam.detach_role_policy(RoleName=id, PolicyArn=item["PolicyArn"])
        for name in inline:
            api.iam.delete_role_policy(RoleName=id, PolicyName=name)
        api.iam.delete_role(RoleName=id)


def document(value: Any) -> str:
    """A policy document of an answer: botocore has parsed it already."""
    return value if isinstance(value, str) else json.dumps(value)


class RolePolicy(Row):
    token = "aws:iam/rolePolicy:RolePolicy"
    handles = paths("name role policy")
    force_new = paths("name role")
    computed = paths("name")
    same = MappingProxyType({"policy": policy.same})
    name_prefix = ""

    def check(self, inputs: Properties) -> list[CheckFailure]:
        return name_failures(inputs, 128) + policy.failures(inputs, "policy")

    def create(self, api: Api, inputs: Properties) -> str:
        self._put(api, inputs)
        return f"{inputs['role']}:{inputs['name']}"

    def _put(self, api: Api, inputs: Properties) -> None:
        policy.require_identity_policy(inputs["policy"])
        api.iam.put_role_policy(
            RoleName=inputs["role"], PolicyName=inputs["name"], PolicyDocument=inputs["policy"]
        )

    def update(self, api: Api, id: str, change: Change) -> None:
        self._put(api, change.new)

    def read(self, api: Api, id: str, known: Properties) -> Properties | None:
        role, _, name = id.partition(":")
        answer = if_there(api.iam.get_role_policy, RoleName=role, PolicyName=name)
        if answer is None:
            return None
        return {"role": role, "name": name, "policy": document(answer["PolicyDocument"])}

    def delete(self, api: Api, id: str, state: Properties) -> None:
        role, _, name = id.partition(":")
        api.iam.delete_role_policy(RoleName=role, PolicyName=name)


class RolePolicyAttachment(Row):
    token = "aws:iam/rolePolicyAttachment:RolePolicyAttachment"
    handles = paths("role policyArn")
    force_new = handles

    def create(self, api: Api, inputs: Properties) -> str:
        api.iam.attach_role_policy(RoleName=inputs["role"], PolicyArn=inputs["policyArn"])
        return f"{inputs['role']}/{inputs['policyArn']}"

    def read(self, api: Api, id: str, known: Properties) -> Properties | None:
        role, _, arn = id.partition("/")
        answer = if_there(api.iam.list_attached_role_policies, RoleName=role)
        if answer is None or arn not in {item["PolicyArn"] for item in answer["AttachedPolicies"]}:
            return None
        return {"role": role, "policyArn": arn}

    def delete(self, api: Api, id: str, state: Properties) -> None:
        role, _, arn = id.partition("/")
        api.iam.detach_role_policy(RoleName=role, PolicyArn=arn)


class InstanceProfile(Row):
    token = "aws:iam/instanceProfile:InstanceProfile"
    handles = paths("name role path")
    force_new = paths("name path")
    defaults = MappingProxyType({"path": "/"})
    computed = paths("name")
    name_prefix = ""

    def check(self, inputs: Properties) -> list[CheckFailure]:
        return name_failures(inputs, 128)

    def create(self, api: Api, inputs: Properties) -> str:
        answer = api.iam.create_instance_profile(
            InstanceProfileName=inputs["name"],
            Path=inputs["path"],
            Tags=tag_list(inputs.get("tagsAll") or {}),
        )
        return str(answer["InstanceProfile"]["InstanceProfileName"])

    def finish(self, api: Api, id: str, inputs: Properties) -> None:
        if inputs.get("role"):
            api.iam.add_role_to_instance_profile(InstanceProfileName=id, RoleName=inputs["role"])

    def update(self, api: Api, id: str, change: Change) -> None:
        if change.old.get("role"):
            api.iam.remove_role_from_instance_profile(InstanceProfileName=id, RoleName=change.old["role"])
        self.finish(api, id, change.new)

    def retag(self, api: Api, id: str, removed: list[str], tags: Tags) -> None:
        if removed:
            api.iam.untag_instance_profile(InstanceProfileName=id, TagKeys=removed)
        if tags:
            api.iam.tag_instance_profile(InstanceProfileName=id, Tags=tag_list(tags))

    def read(self, api: Api, id: str, known: Properties) -> Properties | None:
        answer = if_there(api.iam.get_instance_profile, InstanceProfileName=id)
        if answer is None:
            return None
        profile = answer["InstanceProfile"]
        roles = [role["RoleName"] for role in profile["Roles"]]
        return {
            "arn": profile["Arn"],
            "name": profile["InstanceProfileName"],
            "path": profile["Path"],
            **given(role=roles[0] if roles else None),
            "createDate": profile["CreateDate"].isoformat(),
            "uniqueId": profile["InstanceProfileId"],
            "tagsAll": tag_map(profile.get("Tags")),
        }

    def delete(self, api: Api, id: str, state: Properties) -> None:
        live = self.read(api, id, state) or {}
        if live.get("role"):
            api.iam.remove_role_from_instance_profile(InstanceProfileName=id, RoleName=live["role"])
        api.iam.delete_instance_profile(InstanceProfileName=id)
