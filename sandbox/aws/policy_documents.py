"""Policy documents: what IAM, KMS and S3 refuse and moto accepts.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html,
https://docs.aws.amazon.com/kms/latest/developerguide/key-policy-default.html (lockout)
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from sandbox.aws.awswire import Refusal

_MEMBERS = {"Version", "Id", "Statement"}
_STATEMENT = {
    "Sid", "Effect", "Principal", "NotPrincipal", "Action", "NotAction", "Resource", "NotResource",
    "Condition",
}  # fmt: skip
_MALFORMED = "MalformedPolicyDocument"
_INLINE_LIMIT = 10240  # characters of all inline policies of a role, white space not counted


def require_identity_policy(text: str) -> None:
    """A policy of a role or user: actions and resources, no principal."""
    for statement in _statements(text, _MALFORMED, "Action", "Resource"):
        if "Principal" in statement or "NotPrincipal" in statement:
            raise Refusal(_MALFORMED, "Policy document should not specify a principal.")
    if len(re.sub(r"\s", "", text)) > _INLINE_LIMIT:
        raise Refusal("LimitExceeded", f"Maximum policy size of {_INLINE_LIMIT} bytes exceeded")


def require_trust_policy(text: str) -> None:
    """Who may assume a role: principals, no resource."""
    for statement in _statements(text, _MALFORMED, "Action", "Principal"):
        if "Resource" in statement or "NotResource" in statement:
            raise Refusal(_MALFORMED, "Has prohibited field Resource")


def require_bucket_policy(text: str, bucket: str) -> None:
    """A policy of a bucket: principals, and resources in that bucket."""
    code, own = "MalformedPolicy", f"arn:aws:s3:::{bucket}"
    for statement in _statements(text, code, "Action", "Principal", "Resource"):
        for resource in _listed(statement.get("Resource")):
            if resource != own and not resource.startswith(f"{own}/"):
                raise Refusal(code, "Policy has invalid resource")


def require_key_policy(text: str, account: str, exists: Callable[[str], bool], *, bypass: bool) -> None:
    """A KMS key policy: principals that exist, and a way to change the policy again.

    `exists` says whether the role or user of an ARN is there; `bypass` is the call's
    BypassPolicyLockoutSafetyCheck."""
    code = "MalformedPolicyDocumentException"
    statements = _statements(text, code, "Action", "Principal", "Resource")
    for arn in (arn for statement in statements for arn in _principals(statement)):
        if re.fullmatch(rf"arn:aws:iam::{account}:(role|user)/.+", arn) and not exists(arn):
            raise Refusal(code, "Policy contains a statement with one or more invalid principals.")
    if not bypass and not any(_administers(statement, account) for statement in statements):
        raise Refusal(code, "The new key policy will not allow you to update the key policy in the future.")


def _administers(statement: dict[str, Any], account: str) -> bool:
    actions = {action.lower() for action in _listed(statement.get("Action"))}
    who = any(
        arn in ("*", account) or arn.startswith(f"arn:aws:iam::{account}:") for arn in _principals(statement)
    )
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
    return [str(item) for item in value] if isinstance(value, list) else [] if value is None else [str(value)]
