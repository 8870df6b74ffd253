"""Policy documents: what IAM, KMS and S3 refuse and moto accepts.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html,
https://docs.aws.amazon.com/kms/latest/developerguide/key-policy-default.html (lockout)
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from sandbox.aws.awswire import Refusal
from sandbox.aws.statements import listed
from sandbox.aws.stores import Stores
from sandbox.aws.strict_ec2 import Arguments, Check
from sandbox.config import ACCOUNT_ID

_MEMBERS = {"Version", "Id", "Statement"}
_STATEMENT = {
    "Sid", "Effect", "Principal", "NotPrincipal", "Action", "NotAction", "Resource", "NotResource",
    "Condition",
}  # fmt: skip
_MALFORMED = "MalformedPolicyDocument"
_INLINE_LIMIT = 10240  # characters of all inline policies of a role, white space not counted


def _role_policy(aws: Stores, call: Arguments) -> None:
    """Actions and resources, no principal."""
    text = call["PolicyDocument"]
    for statement in _statements(text, _MALFORMED, "Action", "Resource"):
        if "Principal" in statement or "NotPrincipal" in statement:
            raise Refusal(_MALFORMED, "Policy document should not specify a principal.")
    if len(re.sub(r"\s", "", text)) > _INLINE_LIMIT:
        raise Refusal("LimitExceeded", f"Maximum policy size of {_INLINE_LIMIT} bytes exceeded")


def _trust_policy(aws: Stores, call: Arguments) -> None:
    """Who may assume a role: principals, no resource."""
    text = call.get("AssumeRolePolicyDocument") or call["PolicyDocument"]
    for statement in _statements(text, _MALFORMED, "Action", "Principal"):
        if "Resource" in statement or "NotResource" in statement:
            raise Refusal(_MALFORMED, "Has prohibited field Resource")


def _bucket_policy(aws: Stores, call: Arguments) -> None:
    """Principals, and resources in that bucket."""
    code, own = "MalformedPolicy", f"arn:aws:s3:::{call['Bucket']}"
    for statement in _statements(call["Policy"], code, "Action", "Principal", "Resource"):
        for resource in _listed(statement.get("Resource")):
            if resource != own and not resource.startswith(f"{own}/"):
                raise Refusal(code, "Policy has invalid resource")


def _key_policy(aws: Stores, call: Arguments) -> None:
    """Principals that exist, and a way to change the policy again."""
    if not call.get("Policy"):
        return
    code = "MalformedPolicyDocumentException"
    statements = _statements(call["Policy"], code, "Action", "Principal", "Resource")
    known = {who.arn for who in (*aws.iam.get_roles(), *aws.iam.users.values())}
    for arn in (arn for statement in statements for arn in _principals(statement)):
        if re.fullmatch(rf"arn:aws:iam::{ACCOUNT_ID}:(role|user)/.+", arn) and arn not in known:
            raise Refusal(code, "Policy contains a statement with one or more invalid principals.")
    if not call.get("BypassPolicyLockoutSafetyCheck") and not any(map(_administers, statements)):
        raise Refusal(code, "The new key policy will not allow you to update the key policy in the future.")


def _administers(statement: dict[str, Any]) -> bool:
    actions = {action.lower() for action in _listed(statement.get("Action"))}
    ours = f"arn:aws:iam::{ACCOUNT_ID}:"
    who = any(arn in ("*", ACCOUNT_ID) or arn.startswith(ours) for arn in _principals(statement))
    changes_policy = not actions.isdisjoint({"*", "kms:*", "kms:put*", "kms:putkeypolicy"})
    return statement["Effect"] == "Allow" and who and changes_policy


def _principals(statement: dict[str, Any]) -> list[str]:
    principal = statement.get("Principal", {})
    return _listed(principal.get("AWS")) if isinstance(principal, dict) else [str(principal)]


def _statements(text: str, code: str, *needed: str) -> list[dict[str, Any]]:
    """The statements of a document, each with the members `needed` or their opposites."""
    try:
        document = json.loads(text)
    except ValueError:
        raise Refusal(code, "This policy contains invalid Json") from None
    if not isinstance(document, dict) or not document.keys() <= _MEMBERS or "Statement" not in document:
        raise Refusal(code, "Syntax errors in policy.")
    if document.get("Version", "2012-10-17") not in ("2012-10-17", "2008-10-17"):
        raise Refusal(code, "The policy must contain a valid version string")
    found = document["Statement"]
    statements: list[dict[str, Any]] = found if isinstance(found, list) else [found]
    if not statements:
        raise Refusal(code, "Syntax errors in policy.")
    for statement in statements:
        if not isinstance(statement, dict) or not statement.keys() <= _STATEMENT:
            raise Refusal(code, "Syntax errors in policy.")
        if statement.get("Effect") not in ("Allow", "Deny"):
            raise Refusal(code, "Syntax error: each statement needs the effect Allow or Deny.")
        for name in needed:
            if not statement.get(name) and not statement.get(f"Not{name}"):
                raise Refusal(code, f"Policy statement must contain {name.lower()}s.")
    return statements


def _listed(value: Any) -> list[str]:
    return [str(each) for each in listed(value)]


CHECKS: Mapping[str, Check] = {
    "iam:CreateRole": _trust_policy,
    "iam:PutRolePolicy": _role_policy,
    "iam:UpdateAssumeRolePolicy": _trust_policy,
    "kms:CreateKey": _key_policy,
    "kms:PutKeyPolicy": _key_policy,
    "s3:PutBucketPolicy": _bucket_policy,
}
