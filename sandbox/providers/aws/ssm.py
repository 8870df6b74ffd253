"""SSM parameters, with the limits that the emulator does not know."""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import Any

from sandbox.providers.aws.api import Api, AwsError, Tags, first, given, if_there, tag_list, tag_map
from sandbox.providers.aws.table import Change, Row, paths
from sandbox.providers.backend import UNKNOWN, CheckFailure, Properties

# Characters that a value may have, by tier.
_LIMITS = {"Standard": 4096, "Advanced": 8192, "Intelligent-Tiering": 8192}
_TYPES = ("String", "StringList", "SecureString")
_DEEPEST = 15
_NAME = re.compile(r"/?[\w.-]+(/[\w.-]+)*", re.ASCII)


class Parameter(Row):
    token = "aws:ssm/parameter:Parameter"
    handles = paths("name type value insecureValue description tier keyId overwrite")
    force_new = paths("name")
    defaults = MappingProxyType({"description": "", "tier": "Standard", "overwrite": False})
    computed = paths("name keyId tier")
    local = paths("overwrite")
    secrets = paths("value valueWo")
    volatile = paths("version")
    name_prefix = ""

    def check(self, inputs: Properties) -> list[CheckFailure]:
        found: list[CheckFailure] = []
        if ("value" in inputs) == ("insecureValue" in inputs):
            found.append(("value", "exactly one of value, insecureValue must be given"))
        for name, allowed in (("type", _TYPES), ("tier", tuple(_LIMITS))):
            if inputs.get(name) not in (None, UNKNOWN, *allowed):
                found.append((name, f"expected {name} to be one of: {', '.join(allowed)}"))
        if "insecureValue" in inputs and inputs.get("type") == "SecureString":
            found.append(("insecureValue", "not allowed for the type SecureString"))
        if isinstance(inputs.get("description"), str) and len(inputs["description"]) > 1024:
            found.append(("description", "expected at most 1024 characters"))
        return found

    def create(self, api: Api, inputs: Properties) -> str:
        _require_name(inputs["name"])
        # The API takes tags only with a parameter that is new.
        tags = {} if inputs["overwrite"] else {"Tags": tag_list(inputs.get("tagsAll") or {})}
        self._put(api, inputs, Overwrite=inputs["overwrite"], **tags)
        return str(inputs["name"])

    def finish(self, api: Api, id: str, inputs: Properties) -> None:
        if inputs["overwrite"]:
            self.retag(api, id, [], inputs.get("tagsAll") or {})

    def _put(self, api: Api, inputs: Properties, **options: Any) -> None:
        value = inputs["insecureValue"] if "insecureValue" in inputs else inputs["value"]
        _require_value(value, inputs["tier"])
        secure = inputs["type"] == "SecureString"
        if secure and inputs.get("keyId"):
            _require_key(api, inputs["keyId"])
        api.ssm.put_parameter(
            Name=inputs["name"],
            Type=inputs["type"],
            Value=value,
            Tier=inputs["tier"],
            Description=inputs["description"],
            **given(KeyId=inputs.get("keyId") if secure else None),
            **options,
        )

    def update(self, api: Api, id: str, change: Change) -> None:
        """Any change puts the whole parameter, value included: the API has no other way. With the
        value under ignoreChanges that is the one in state, so a live value that only the API knows
        is lost. The real provider does the same; it is here on purpose."""
        if change.old.get("tier") == "Advanced" and change.new["tier"] == "Standard":
            message = "You can't downgrade a parameter from the advanced to the standard tier."
            raise AwsError("ValidationException", message)
        self._put(api, change.new, Overwrite=True)

    def read(self, api: Api, id: str, known: Properties) -> Properties | None:
        answer = if_there(api.ssm.get_parameter, Name=id, WithDecryption=True)
        if answer is None:
            return None
        parameter = answer["Parameter"]
        chosen = [{"Key": "Name", "Option": "Equals", "Values": [id]}]
        details = first(api.ssm.describe_parameters(ParameterFilters=chosen), "Parameters") or {}
        tags = api.ssm.list_tags_for_resource(ResourceType="Parameter", ResourceId=id)["TagList"]
        plain = known.get("insecureValue") is not None
        return {
            "arn": parameter["ARN"],
            "name": parameter["Name"],
            "type": parameter["Type"],
            "insecureValue" if plain else "value": parameter["Value"],
            "version": parameter["Version"],
            "dataType": parameter.get("DataType", "text"),
            "description": details.get("Description", ""),
            "tier": details.get("Tier", "Standard"),
            "keyId": details.get("KeyId"),
            "tagsAll": tag_map(tags),
        }

    def retag(self, api: Api, id: str, removed: list[str], tags: Tags) -> None:
        target = {"ResourceType": "Parameter", "ResourceId": id}
        if removed:
            api.ssm.remove_tags_from_resource(**target, TagKeys=removed)
        if tags:
            api.ssm.add_tags_to_resource(**target, Tags=tag_list(tags))

    def delete(self, api: Api, id: str, state: Properties) -> None:
        api.ssm.delete_parameter(Name=id)


def _require_name(name: str) -> None:
    if not _NAME.fullmatch(name) or ("/" in name and not name.startswith("/")):
        message = (
            "Parameter name must be a fully qualified name of letters, digits and _.-, parts separated by /"
        )
        raise AwsError("ValidationException", message)
    if re.match(r"/?(aws|ssm)", name, re.IGNORECASE):
        message = 'Parameter name: can\'t be prefixed with "aws" or "ssm" (case-insensitive).'
        raise AwsError("ValidationException", message)
    if name.count("/") > _DEEPEST:
        message = f"A hierarchy can have a maximum of {_DEEPEST} levels: {name}"
        raise AwsError("HierarchyLevelLimitExceededException", message)


def _require_value(value: str, tier: str) -> None:
    # The messages never show the value: it may be a secret.
    if not value:
        raise AwsError("ValidationException", "Value: Member must have length greater than or equal to 1")
    if "{{" in value:
        message = 'Parameter value can\'t nest another parameter. Do not use "{{}}" in the value.'
        raise AwsError("ValidationException", message)
    if len(value) > _LIMITS[tier]:
        message = f"{tier} tier parameters support a maximum parameter value of {_LIMITS[tier]} characters."
        raise AwsError("ValidationException", message)


def _require_key(api: Api, key: str) -> None:
    answer = if_there(api.kms.describe_key, KeyId=key)
    if answer is None:
        raise AwsError("InvalidKeyId", f"Invalid keyId {key}")
    if answer["KeyMetadata"]["KeyState"] != "Enabled":
        raise AwsError("InvalidKeyId", f"{answer['KeyMetadata']['Arn']} is not enabled.")
