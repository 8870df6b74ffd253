"""What an instance's role may do, by the policies that the emulator holds.

moto's own IAM mode looks at neither resources nor conditions. This evaluates the few calls that a node
makes as AWS does within one account: an explicit deny wins; a permissions boundary has to allow too;
a key's own policy has to let IAM decide, or allows by itself. Organizations' and sessions' policies
do not exist in the emulator. Source: "Policy evaluation logic" in the IAM user guide.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sandbox.aws.cloud import Cloud, Versioned
from sandbox.aws.statements import Call, Statement, applies, listed, statements
from sandbox.config import ACCOUNT_ID

_ROOT = (ACCOUNT_ID, f"arn:aws:iam::{ACCOUNT_ID}:root")  # the account as a principal: IAM decides


@dataclass(frozen=True)
class Role:
    """A role with the statements of all its policies, and of its boundary if it has one."""

    name: str
    statements: tuple[Statement, ...]
    boundary: tuple[Statement, ...] | None = None

    @property
    def arn(self) -> str:
        return f"arn:aws:iam::{ACCOUNT_ID}:role/{self.name}"


@dataclass(frozen=True)
class Decision:
    """`statement` decided and `pattern` is its resource; none did where the call is denied by default.

    `why` ends AWS's sentence about a denied call.
    """

    allowed: bool
    statement: Statement | None = None
    pattern: str = ""
    why: str = ""


class Permissions:
    """Evaluates calls of the roles behind instance profiles."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud
        self.iam = cloud.iam
        self._roles: Versioned[Role | None] = Versioned(lambda: cloud.version("iam"))
        self._keys: Versioned[tuple[Statement, ...]] = Versioned(lambda: cloud.version("kms"))

    def role(self, profile: str | None) -> Role | None:
        """The role of an instance profile; None where there is no such profile or it has no role."""
        return self._roles.get(profile, lambda: self._read(profile)) if profile else None

    def evaluate(self, profile: str | None, call: Call) -> Decision:
        """Whether a machine with this instance profile may make the call. Raises a `CloudError`."""
        role = self.role(profile)
        if role is None:
            return _by_default("identity-based policy", call)
        return self.decide(role, call)

    def decide(self, role: Role, call: Call) -> Decision:
        """Whether a role may make the call. Raises a `CloudError`."""
        call = Call(call.action, call.resource, {**call.context, "aws:PrincipalArn": role.arn})
        own = _evaluate(role.statements, call, "identity-based policy")
        parts = [own]
        if role.boundary is not None:
            parts.append(_evaluate(role.boundary, call, "permissions boundary"))
        if call.action.startswith("kms:"):
            key = self._evaluate_key_policy(role, call)
            granted = key.allowed and key.statement is not None and _names(key.statement, (role.arn, "*"))
            if granted and own.statement is None:
                parts[0] = key  # the key's policy alone is enough
            parts.append(key)
        denied = [each for each in parts if not each.allowed]
        return min(denied, key=lambda each: each.statement is None) if denied else parts[0]

    def _evaluate_key_policy(self, role: Role, call: Call) -> Decision:
        """By the key's policy: what it says about the role, else about the whole account."""
        key = call.resource
        policy = self._keys.get(key, lambda: self._key_policy(key))
        theirs = tuple(each for each in policy if _names(each, (role.arn, "*")))
        account = tuple(each for each in policy if _names(each, _ROOT))
        return _evaluate((*theirs, *account), call, "resource-based policy")

    def _key_policy(self, key: str) -> tuple[Statement, ...]:
        text = self.cloud.kms.get_key_policy(KeyId=key, PolicyName="default")["Policy"]
        # A key's policy may say `*` or the key's ARN, which both mean this key.
        return tuple(statements("key policy", json.loads(text)))

    # -- reading ---------------------------------------------------------------------------------

    def _read(self, profile: str) -> Role | None:
        name = self.cloud.role(profile)
        return None if name is None else self.named(name)

    def named(self, name: str) -> Role:
        """A role as it is now. Raises a `CloudError`."""
        boundary = self.iam.get_role(RoleName=name)["Role"].get("PermissionsBoundary")
        limit = self._managed(boundary["PermissionsBoundaryArn"]) if boundary else None
        return Role(name, self._policies(name), limit)

    def _policies(self, role: str) -> tuple[Statement, ...]:
        found: list[Statement] = []
        for name in self.iam.list_role_policies(RoleName=role)["PolicyNames"]:
            policy = self.iam.get_role_policy(RoleName=role, PolicyName=name)
            found += statements(name, policy["PolicyDocument"])
        for attached in self.iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"]:
            found += self._managed(attached["PolicyArn"])
        return tuple(found)

    def _managed(self, arn: str) -> tuple[Statement, ...]:
        version = self.iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
        policy = self.iam.get_policy_version(PolicyArn=arn, VersionId=version)
        document: Mapping[str, Any] = policy["PolicyVersion"]["Document"]
        return tuple(statements(arn.rsplit("/", 1)[-1], document))


def _evaluate(candidates: tuple[Statement, ...], call: Call, policy: str) -> Decision:
    """By one policy or several of one type: explicit deny, then allow, else deny."""
    found = [each for each in candidates if applies(each.body, call)]
    for each in found:
        if each.body["Effect"] == "Deny":
            article = "an" if policy[0] in "aeiou" else "a"
            why = f"with an explicit deny in {article} {policy}"
            return Decision(False, each, each.pattern(call), why)
    for each in found:
        return Decision(True, each, each.pattern(call))
    return _by_default(policy, call)


def _by_default(policy: str, call: Call) -> Decision:
    return Decision(False, why=f"because no {policy} allows the {call.action} action")


def _names(statement: Statement, principals: tuple[str, ...]) -> bool:
    """Whether a statement of a key's policy is about one of these principals."""
    principal = statement.body.get("Principal")
    named = principal.get("AWS") if isinstance(principal, Mapping) else principal
    return any(each in principals for each in listed(named))
