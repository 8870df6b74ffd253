"""SSM parameters."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

from sandbox.aws.provider.api import Api, Tags, first, given, if_there, tag_list, tag_map
from sandbox.aws.provider.resource_type import Change, ResourceType, paths
from sandbox.aws.provider.values import CheckFailure, Properties


class Parameter(ResourceType):
    """Source: hashicorp/terraform-provider-aws, internal/service/ssm/parameter.go. A parameter that was made
    with `value_wo` is read, too, but what is read stays out of the state, at each refresh as well."""

    token = "aws:ssm/parameter:Parameter"
    handles = paths("name type value valueWo valueWoVersion description tier keyId")
    force_new = paths("name")
    defaults = MappingProxyType({"description": "", "tier": "Standard"})
    computed = paths("name keyId tier")
    secrets = paths("value valueWo")
    write_only = paths("valueWo")
    volatile = paths("version")
    name_prefix = ""
    choices = MappingProxyType(
        {
            "type": ("String", "StringList", "SecureString"),
            "tier": ("Standard", "Advanced", "Intelligent-Tiering"),
        }
    )
    fields = paths("name type value version dataType description tier keyId")

    def check(self, inputs: Properties) -> list[CheckFailure]:
        found = super().check(inputs)
        if ("value" in inputs) == ("valueWo" in inputs):
            found.append(("value", "exactly one of value, valueWo must be specified"))
        if ("valueWo" in inputs) != ("valueWoVersion" in inputs):
            found.append(("valueWo", "all of valueWo, valueWoVersion must be specified"))
        if isinstance(inputs.get("description"), str) and len(inputs["description"]) > 1024:
            found.append(("description", "expected at most 1024 characters"))
        return found

    def create(self, api: Api, inputs: Properties) -> str:
        # The API takes tags only with a parameter that is new.
        value = inputs.get("valueWo") or inputs["value"]
        self._put(api, inputs, value, Tags=tag_list(inputs.get("tagsAll") or {}))
        return str(inputs["name"])

    def _put(self, api: Api, inputs: Properties, value: str, **options: Any) -> None:
        api.ssm.put_parameter(
            Name=inputs["name"],
            Type=inputs["type"],
            Value=value,
            Tier=inputs["tier"],
            Description=inputs["description"],
            **given(KeyId=inputs.get("keyId") if inputs["type"] == "SecureString" else None),
            **options,
        )

    def update(self, api: Api, id: str, change: Change) -> None:
        """Any change puts the whole parameter, value included: the API has no other way. With the
        value under ignoreChanges that is the one in state, so a live value that only the API knows
        is lost; of a write-only one, whose version did not change, the state knows none. The real
        provider does the same; it is here on purpose."""
        written = change.new.get("valueWo") if change.of("valueWoVersion") else None
        self._put(api, change.new, written or change.new.get("value", ""), Overwrite=True)

    def find(self, api: Api, id: str) -> Any:
        answer = if_there(api.ssm.get_parameter, Name=id, WithDecryption=True)
        if answer is None:
            return None
        chosen = [{"Key": "Name", "Option": "Equals", "Values": [id]}]
        described = first(api.ssm.describe_parameters(ParameterFilters=chosen), "Parameters")
        return {"Description": "", **described, **answer["Parameter"]}

    def details(self, api: Api, id: str, found: dict[str, Any], known: Properties) -> Properties:
        tags = api.ssm.list_tags_for_resource(ResourceType="Parameter", ResourceId=id)["TagList"]
        write_only = "valueWo" in known or known.get("hasValueWo")
        return {
            "arn": found["ARN"],
            "tagsAll": tag_map(tags),
            "valueWoVersion": known.get("valueWoVersion"),
            **({"value": None, "hasValueWo": True} if write_only else {}),
        }

    def retag(self, api: Api, id: str, removed: list[str], tags: Tags) -> None:
        target = {"ResourceType": "Parameter", "ResourceId": id}
        if removed:
            api.ssm.remove_tags_from_resource(**target, TagKeys=removed)
        if tags:
            api.ssm.add_tags_to_resource(**target, Tags=tag_list(tags))

    def delete(self, api: Api, id: str, state: Properties) -> None:
        api.ssm.delete_parameter(Name=id)
