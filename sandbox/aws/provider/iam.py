"""Roles, their policies, instance profiles, identity providers."""

from __future__ import annotations

import json
import re
from types import MappingProxyType
from typing import Any, ClassVar

from sandbox.aws.provider import policy
from sandbox.aws.provider.api import Api, Tags, first, given, if_there, tag_list, tag_map
from sandbox.aws.provider.resource_type import Change, ResourceType, as_set, paths
from sandbox.aws.provider.values import CheckFailure, Properties, ProviderError

_NAME = re.compile(r"[\w+=,.@-]+", re.ASCII)


class _Named(ResourceType):
    """An IAM object that is known by a name, given or automatic."""

    longest: ClassVar[int] = 128
    # Properties that are policy documents.
    documents: ClassVar[tuple[str, ...]] = ()
    computed = paths("name")
    name_prefix = ""

    def check(self, inputs: Properties) -> list[CheckFailure]:
        found, name = policy.failures(inputs, *self.documents), inputs.get("name")
        if isinstance(name, str) and not (_NAME.fullmatch(name) and len(name) <= self.longest):
            found.append(
                ("name", f"expected 1 to {self.longest} of letters, digits and +=,.@_-, got {name!r}")
            )
        return found


class Role(_Named):
    token = "aws:iam/role:Role"
    longest = 64
    documents = ("assumeRolePolicy",)
    handles = paths("name path assumeRolePolicy description")
    force_new = paths("name path")
    defaults = MappingProxyType({"description": "", "path": "/", "maxSessionDuration": 3600})
    same = MappingProxyType({"assumeRolePolicy": policy.same})

    def create(self, api: Api, inputs: Properties) -> str:
        answer = api.iam.create_role(
            RoleName=inputs["name"],
            Path=inputs["path"],
            AssumeRolePolicyDocument=inputs["assumeRolePolicy"],
            Description=inputs["description"],
            Tags=tag_list(inputs.get("tagsAll") or {}),
        )
        return str(answer["Role"]["RoleName"])

    def read(self, api: Api, id: str, known: Properties) -> Properties | None:
        answer = if_there(api.iam.get_role, RoleName=id)
        if answer is None:
            return None
        role = answer["Role"]
        return {
            "arn": role["Arn"],
            "name": role["RoleName"],
            "path": role["Path"],
            "description": role.get("Description", ""),
            "maxSessionDuration": role["MaxSessionDuration"],
            "assumeRolePolicy": _document(role["AssumeRolePolicyDocument"]),
            "createDate": role["CreateDate"].isoformat(),
            "uniqueId": role["RoleId"],
            "tagsAll": tag_map(role.get("Tags")),
        }

    def update(self, api: Api, id: str, change: Change) -> None:
        if change.of("assumeRolePolicy"):
            api.iam.update_assume_role_policy(RoleName=id, PolicyDocument=change.new["assumeRolePolicy"])
        if change.of("description"):
            api.iam.update_role_description(RoleName=id, Description=change.new["description"])

    def retag(self, api: Api, id: str, removed: list[str], tags: Tags) -> None:
        if removed:
            api.iam.untag_role(RoleName=id, TagKeys=removed)
        if tags:
            api.iam.tag_role(RoleName=id, Tags=tag_list(tags))

    def delete(self, api: Api, id: str, state: Properties) -> None:
        for profile in api.iam.list_instance_profiles_for_role(RoleName=id)["InstanceProfiles"]:
            name = profile["InstanceProfileName"]
            api.iam.remove_role_from_instance_profile(InstanceProfileName=name, RoleName=id)
        api.iam.delete_role(RoleName=id)


def _document(value: Any) -> str:
    """A policy document of an answer: botocore has parsed it already."""
    return value if isinstance(value, str) else json.dumps(value)


class RolePolicy(_Named):
    token = "aws:iam/rolePolicy:RolePolicy"
    documents = ("policy",)
    handles = paths("name role policy")
    force_new = paths("name role")
    same = MappingProxyType({"policy": policy.same})

    def create(self, api: Api, inputs: Properties) -> str:
        api.iam.put_role_policy(
            RoleName=inputs["role"], PolicyName=inputs["name"], PolicyDocument=inputs["policy"]
        )
        return f"{inputs['role']}:{inputs['name']}"

    def update(self, api: Api, id: str, change: Change) -> None:
        self.create(api, change.new)

    def read(self, api: Api, id: str, known: Properties) -> Properties | None:
        role, _, name = id.partition(":")
        answer = if_there(api.iam.get_role_policy, RoleName=role, PolicyName=name)
        if answer is None:
            return None
        return {"role": role, "name": name, "policy": _document(answer["PolicyDocument"])}

    def delete(self, api: Api, id: str, state: Properties) -> None:
        role, _, name = id.partition(":")
        api.iam.delete_role_policy(RoleName=role, PolicyName=name)


class InstanceProfile(_Named):
    token = "aws:iam/instanceProfile:InstanceProfile"
    handles = paths("name role")
    force_new = paths("name")
    defaults = MappingProxyType({"path": "/"})

    def create(self, api: Api, inputs: Properties) -> str:
        tags = tag_list(inputs.get("tagsAll") or {})
        answer = api.iam.create_instance_profile(InstanceProfileName=inputs["name"], Tags=tags)
        return str(answer["InstanceProfile"]["InstanceProfileName"])

    def finish(self, api: Api, id: str, inputs: Properties) -> None:
        if inputs.get("role"):
            api.iam.add_role_to_instance_profile(InstanceProfileName=id, RoleName=inputs["role"])

    def update(self, api: Api, id: str, change: Change) -> None:
        self._remove_role(api, id)
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
        return {
            "arn": profile["Arn"],
            "name": profile["InstanceProfileName"],
            "path": profile["Path"],
            **given(role=(first(profile, "Roles") or {}).get("RoleName")),
            "createDate": profile["CreateDate"].isoformat(),
            "uniqueId": profile["InstanceProfileId"],
            "tagsAll": tag_map(profile.get("Tags")),
        }

    def delete(self, api: Api, id: str, state: Properties) -> None:
        self._remove_role(api, id)
        api.iam.delete_instance_profile(InstanceProfileName=id)

    def _remove_role(self, api: Api, id: str) -> None:
        for role in api.iam.get_instance_profile(InstanceProfileName=id)["InstanceProfile"]["Roles"]:
            api.iam.remove_role_from_instance_profile(InstanceProfileName=id, RoleName=role["RoleName"])


class OpenIdConnectProvider(ResourceType):
    """Source: hashicorp/terraform-provider-aws, internal/service/iam/openid_connect_provider.go."""

    token = "aws:iam/openIdConnectProvider:OpenIdConnectProvider"
    handles = paths("url clientIdLists")
    force_new = paths("url")
    computed = paths("thumbprintLists")
    # IAM answers without the scheme.
    same = MappingProxyType({"url": lambda old, new: _host(old) == _host(new), "clientIdLists": as_set})

    def check(self, inputs: Properties) -> list[CheckFailure]:
        url = inputs["url"]
        if isinstance(url, str) and not url.startswith("https://"):
            return [("url", f"expected an https URL, got {url!r}")]
        return []

    def create(self, api: Api, inputs: Properties) -> str:
        answer = api.iam.create_open_id_connect_provider(
            Url=inputs["url"],
            ClientIDList=inputs["clientIdLists"],
            Tags=tag_list(inputs.get("tagsAll") or {}),
        )
        return str(answer["OpenIDConnectProviderArn"])

    def read(self, api: Api, id: str, known: Properties) -> Properties | None:
        found = if_there(api.iam.get_open_id_connect_provider, OpenIDConnectProviderArn=id)
        if found is None:
            return None
        return {
            "arn": id,
            "url": found["Url"],
            "clientIdLists": found["ClientIDList"],
            "thumbprintLists": found["ThumbprintList"],
            "tagsAll": tag_map(found.get("Tags")),
        }

    def update(self, api: Api, id: str, change: Change) -> None:
        raise ProviderError("", "moto changes no client ids of an identity provider")

    def retag(self, api: Api, id: str, removed: list[str], tags: Tags) -> None:
        if removed:
            api.iam.untag_open_id_connect_provider(OpenIDConnectProviderArn=id, TagKeys=removed)
        if tags:
            api.iam.tag_open_id_connect_provider(OpenIDConnectProviderArn=id, Tags=tag_list(tags))

    def delete(self, api: Api, id: str, state: Properties) -> None:
        api.iam.delete_open_id_connect_provider(OpenIDConnectProviderArn=id)


def _host(url: Any) -> str:
    return str(url).removeprefix("https://")
