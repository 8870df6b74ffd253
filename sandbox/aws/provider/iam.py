"""Roles, their policies, instance profiles, identity providers."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
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
    computed = paths("name")
    name_prefix = ""

    def check(self, inputs: Properties) -> list[CheckFailure]:
        found, name = super().check(inputs), inputs.get("name")
        if isinstance(name, str) and not (_NAME.fullmatch(name) and len(name) <= self.longest):
            found.append(
                ("name", f"expected 1 to {self.longest} of letters, digits and +=,.@_-, got {name!r}")
            )
        return found


class _Tagged(ResourceType):
    """An IAM object with tags. Its `noun` and `id_name` name its calls and their argument."""

    noun: ClassVar[str]
    id_name: ClassVar[str]

    def call(self, api: Api, verb: str) -> Callable[..., Any]:
        call: Callable[..., Any] = getattr(api.iam, f"{verb}_{self.noun}")
        return call

    def find(self, api: Api, id: str) -> Any:
        answer = if_there(self.call(api, "get"), **{self.id_name: id})
        return answer and answer.get(self.id_name.removesuffix("Name"), answer)

    def common(self, api: Api, id: str, found: dict[str, Any]) -> Properties:
        return {"arn": found.get("Arn", id), "tagsAll": tag_map(found.get("Tags"))}

    def retag(self, api: Api, id: str, removed: list[str], tags: Tags) -> None:
        if removed:
            self.call(api, "untag")(**{self.id_name: id}, TagKeys=removed)
        if tags:
            self.call(api, "tag")(**{self.id_name: id}, Tags=tag_list(tags))

    def delete(self, api: Api, id: str, state: Properties) -> None:
        self.call(api, "delete")(**{self.id_name: id})


class Role(_Tagged, _Named):
    token = "aws:iam/role:Role"
    noun, id_name = "role", "RoleName"
    longest = 64
    documents = ("assumeRolePolicy",)
    handles = paths("name path assumeRolePolicy description")
    force_new = paths("name path")
    defaults = MappingProxyType({"description": "", "path": "/", "maxSessionDuration": 3600})
    same = MappingProxyType({"assumeRolePolicy": policy.same})
    fields = paths("path maxSessionDuration")

    def create(self, api: Api, inputs: Properties) -> str:
        answer = api.iam.create_role(
            RoleName=inputs["name"],
            Path=inputs["path"],
            AssumeRolePolicyDocument=inputs["assumeRolePolicy"],
            Description=inputs["description"],
            Tags=tag_list(inputs.get("tagsAll") or {}),
        )
        return str(answer["Role"]["RoleName"])

    def details(self, api: Api, id: str, found: dict[str, Any], known: Properties) -> Properties:
        return {
            "name": found["RoleName"],
            "description": found.get("Description", ""),
            "assumeRolePolicy": _document(found["AssumeRolePolicyDocument"]),
            "createDate": found["CreateDate"].isoformat(),
            "uniqueId": found["RoleId"],
        }

    def update(self, api: Api, id: str, change: Change) -> None:
        if change.of("assumeRolePolicy"):
            api.iam.update_assume_role_policy(RoleName=id, PolicyDocument=change.new["assumeRolePolicy"])
        if change.of("description"):
            api.iam.update_role_description(RoleName=id, Description=change.new["description"])

    def delete(self, api: Api, id: str, state: Properties) -> None:
        for profile in api.iam.list_instance_profiles_for_role(RoleName=id)["InstanceProfiles"]:
            name = profile["InstanceProfileName"]
            api.iam.remove_role_from_instance_profile(InstanceProfileName=name, RoleName=id)
        super().delete(api, id, state)


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

    def find(self, api: Api, id: str) -> Any:
        role, _, name = id.partition(":")
        return if_there(api.iam.get_role_policy, RoleName=role, PolicyName=name)

    def details(self, api: Api, id: str, found: dict[str, Any], known: Properties) -> Properties:
        role, _, name = id.partition(":")
        return {"role": role, "name": name, "policy": _document(found["PolicyDocument"])}

    def delete(self, api: Api, id: str, state: Properties) -> None:
        role, _, name = id.partition(":")
        api.iam.delete_role_policy(RoleName=role, PolicyName=name)


class InstanceProfile(_Tagged, _Named):
    token = "aws:iam/instanceProfile:InstanceProfile"
    noun, id_name = "instance_profile", "InstanceProfileName"
    handles = paths("name role")
    force_new = paths("name")
    defaults = MappingProxyType({"path": "/"})
    fields = paths("path")

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

    def details(self, api: Api, id: str, found: dict[str, Any], known: Properties) -> Properties:
        return {
            "name": found["InstanceProfileName"],
            **given(role=(first(found, "Roles") or {}).get("RoleName")),
            "createDate": found["CreateDate"].isoformat(),
            "uniqueId": found["InstanceProfileId"],
        }

    def delete(self, api: Api, id: str, state: Properties) -> None:
        self._remove_role(api, id)
        super().delete(api, id, state)

    def _remove_role(self, api: Api, id: str) -> None:
        for role in api.iam.get_instance_profile(InstanceProfileName=id)["InstanceProfile"]["Roles"]:
            api.iam.remove_role_from_instance_profile(InstanceProfileName=id, RoleName=role["RoleName"])


class OpenIdConnectProvider(_Tagged):
    """Source: hashicorp/terraform-provider-aws, internal/service/iam/openid_connect_provider.go."""

    token = "aws:iam/openIdConnectProvider:OpenIdConnectProvider"
    noun, id_name = "open_id_connect_provider", "OpenIDConnectProviderArn"
    fields = paths("url")
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

    def details(self, api: Api, id: str, found: dict[str, Any], known: Properties) -> Properties:
        return {"clientIdLists": found["ClientIDList"], "thumbprintLists": found["ThumbprintList"]}

    def update(self, api: Api, id: str, change: Change) -> None:
        raise ProviderError("", "moto changes no client ids of an identity provider")


def _host(url: Any) -> str:
    return str(url).removeprefix("https://")
