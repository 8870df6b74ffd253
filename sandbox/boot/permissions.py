"""What an instance's role may do, by the policies that the emulator holds.

moto's own IAM mode looks at neither resources nor conditions. This judges the few calls that a node
makes: explicit deny, then allow, else deny; a condition on a key that is not known here is not met.
Source: the evaluation logic in the IAM user guide.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from sandbox.boot.cloud import Cloud, Versioned

_Policies = list[Mapping[str, Any]]


@dataclass(frozen=True)
class Call:
    """One AWS call to judge: `ssm:PutParameter` on an ARN, with the values of condition keys."""

    action: str
    resource: str
    context: Mapping[str, str]


class Permissions:
    """Judges calls of the roles behind instance profiles."""

    def __init__(self, cloud: Cloud) -> None:
        self.iam = cloud.iam
        self._statements: Versioned[_Policies] = Versioned(lambda: cloud.version("iam"))

    def allowed(self, profile: str | None, call: Call) -> bool:
        """Whether a machine with this instance profile may make the call. No profile: nothing."""
        if profile is None:
            return False
        statements = self._statements.get(profile, lambda: self._read(profile))
        found = {statement["Effect"] for statement in statements if applies(statement, call)}
        return found == {"Allow"}

    def _read(self, profile: str) -> _Policies:
        documents = self._documents(profile)
        return [each for document in documents for each in _listed(document.get("Statement"))]

    def _documents(self, profile: str) -> _Policies:
        try:
            roles = self.iam.get_instance_profile(InstanceProfileName=profile)["InstanceProfile"]["Roles"]
        except ClientError as error:
            if error.response["Error"]["Code"] == "NoSuchEntity":
                return []
            raise
        documents: _Policies = []
        for role in (each["RoleName"] for each in roles):
            for name in self.iam.list_role_policies(RoleName=role)["PolicyNames"]:
                policy = self.iam.get_role_policy(RoleName=role, PolicyName=name)
                documents.append(policy["PolicyDocument"])
            for attached in self.iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"]:
                documents.append(self._managed(attached["PolicyArn"]))
        return documents

    def _managed(self, arn: str) -> Mapping[str, Any]:
        version = self.iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
        policy = self.iam.get_policy_version(PolicyArn=arn, VersionId=version)
        document: Mapping[str, Any] = policy["PolicyVersion"]["Document"]
        return document


def applies(statement: Mapping[str, Any], call: Call) -> bool:
    """Whether a statement speaks about this call: action, resource and every condition."""
    return (
        _named(statement, "Action", call.action.lower(), lower=True)
        and _named(statement, "Resource", call.resource, lower=False)
        and all(
            _holds(operator, key, _listed(wanted), call.context)
            for operator, pairs in statement.get("Condition", {}).items()
            for key, wanted in pairs.items()
        )
    )


def _named(statement: Mapping[str, Any], field: str, value: str, *, lower: bool) -> bool:
    """`Action`/`NotAction` and `Resource`/`NotResource`."""
    negated = f"Not{field}" in statement
    patterns = _listed(statement.get(f"Not{field}" if negated else field))
    matched = any(_like(str(each).lower() if lower else str(each), value) for each in patterns)
    return matched != negated


def _holds(operator: str, key: str, wanted: list[Any], context: Mapping[str, str]) -> bool:
    """One condition. An unknown operator or key is not met."""
    known = {name.lower(): value for name, value in context.items()}
    value = known.get(key.lower())
    if value is None:
        return False
    match operator:
        case "StringEquals":
            return value in map(str, wanted)
        case "StringLike" | "ArnLike" | "ArnEquals":
            return any(_like(str(each), value) for each in wanted)
        case "StringNotEquals":
            return value not in map(str, wanted)
        case "Bool":
            return value.lower() in (str(each).lower() for each in wanted)
        case _:
            return False


def _like(pattern: str, value: str) -> bool:
    """IAM wildcards: `*` any text, `?` one character, everything else as it is."""
    parts = (".*" if char == "*" else "." if char == "?" else re.escape(char) for char in pattern)
    return re.fullmatch("".join(parts), value, re.DOTALL) is not None


def _listed(value: Any) -> list[Any]:
    """IAM allows one value where a list is meant."""
    if value is None:
        return []
    return list(value) if isinstance(value, list) else [value]
