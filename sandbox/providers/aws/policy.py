"""Policy documents: what IAM and KMS check and the emulator does not."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from sandbox.providers.aws.api import AwsError
from sandbox.providers.backend import UNKNOWN, CheckFailure, Properties

_MEMBERS = {"Version", "Id", "Statement"}
_STATEMENT = {
    "Sid", "Effect", "Principal", "NotPrincipal", "Action", "NotAction", "Resource", "NotResource",
    "Condition",
}  # fmt: skip


def failures(inputs: Properties, *names: str) -> list[CheckFailure]:
    """Properties that are not JSON objects; the provider refuses those before any call."""
    found = []
    for name in names:
        text = inputs.get(name)
        if text is None or text is UNKNOWN:
            continue
        try:
            document = json.loads(text)
        except ValueError as error:
            found.append((name, f"contains an invalid JSON policy: {error}"))
            continue
        if not isinstance(document, dict):
            found.append((name, "contains an invalid JSON policy: not a JSON object"))
    return found


def same(old: Any, new: Any) -> bool:
    """Whether two documents say the same: order of keys and of lists, and one-element lists, are
    spelling."""
    try:
        return bool(_normal(json.loads(old)) == _normal(json.loads(new)))
    except (TypeError, ValueError):
        return False


def _normal(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _normal(item) for key, item in value.items()}
    if isinstance(value, list):
        items = sorted((_normal(item) for item in value), key=lambda item: json.dumps(item, sort_keys=True))
        return items[0] if len(items) == 1 and not isinstance(items[0], dict) else items
    return value


def require_identity_policy(text: str, code: str = "MalformedPolicyDocument") -> None:
    """A policy of a role or user: actions and resources, no principal."""
    for statement in _statements(text, code):
        _require(statement, code, "Action", "NotAction")
        _require(statement, code, "Resource", "NotResource")
        if "Principal" in statement or "NotPrincipal" in statement:
            raise AwsError(code, "Policy document should not specify a principal.")
    if len(re.sub(r"\s", "", text)) > 10240:
        raise AwsError("LimitExceeded", "Maximum policy size of 10240 bytes exceeded")


def require_trust_policy(text: str) -> None:
    """Who may assume a role: principals, no resource."""
    code = "MalformedPolicyDocument"
    for statement in _statements(text, code):
        _require(statement, code, "Action", "NotAction")
        _require(statement, code, "Principal", "NotPrincipal")
        if "Resource" in statement or "NotResource" in statement:
            raise AwsError(code, "Has prohibited field Resource")


def require_key_policy(text: str, account: str, exists: Callable[[str], bool], *, bypass: bool) -> None:
    """A KMS key policy: principals that exist, and a way to change the policy again.

    `exists` says whether the role or user of an ARN is there; `bypass` is the key's
    bypassPolicyLockoutSafetyCheck."""
    code = "MalformedPolicyDocumentException"
    administrators = False
    for statement in _statements(text, code):
        _require(statement, code, "Action", "NotAction")
        _require(statement, code, "Principal", "NotPrincipal")
        _require(statement, code, "Resource", "NotResource")
        for arn in _principals(statement):
            if re.fullmatch(rf"arn:aws:iam::{account}:(role|user)/.+", arn) and not exists(arn):
                raise AwsError(code, "Policy contains a statement with one or more invalid principals.")
        administrators = administrators or _administers(statement, account)
    if not administrators and not bypass:
        raise AwsError(code, "The new key policy will not allow you to update the key policy in the future.")


def _administers(statement: dict[str, Any], account: str) -> bool:
    actions = {action.lower() for action in _listed(statement.get("Action"))}
    ours = {"*", account, f"arn:aws:iam::{account}:root"}
    who = any(arn in ours or arn.startswith(f"arn:aws:iam::{account}:") for arn in _principals(statement))
    return (
        statement["Effect"] == "Allow"
        and who
        and bool(actions & {"*", "kms:*", "kms:put*", "kms:putkeypolicy"})
    )


def _principals(statement: dict[str, Any]) -> list[str]:
    principal = statement.get("Principal", {})
    return _listed(principal.get("AWS")) if isinstance(principal, dict) else [str(principal)]


def _statements(text: str, code: str) -> list[dict[str, Any]]:
    try:
        document = json.loads(text)
    except ValueError:
        raise AwsError(code, "This policy contains invalid Json") from None
    if not isinstance(document, dict) or not document.keys() <= _MEMBERS or "Statement" not in document:
        raise AwsError(code, "Syntax errors in policy.")
    if document.get("Version", "2012-10-17") not in ("2012-10-17", "2008-10-17"):
        raise AwsError(code, "The policy must contain a valid version string")
    statements = document["Statement"]
    statements = statements if isinstance(statements, list) else [statements]
    for statement in statements:
        if not isinstance(statement, dict) or not statement.keys() <= _STATEMENT:
            raise AwsError(code, "Syntax errors in policy.")
        if statement.get("Effect") not in ("Allow", "Deny"):
            raise AwsError(code, "Syntax error: each statement needs the effect Allow or Deny.")
    if not statements:
        raise AwsError(code, "Syntax errors in policy.")
    return statements


def _require(statement: dict[str, Any], code: str, name: str, opposite: str) -> None:
    if not statement.get(name) and not statement.get(opposite):
        kind = {"Action": "actions", "Resource": "resources", "Principal": "principals"}[name]
        raise AwsError(code, f"Policy statement must contain {kind}.")


def _listed(value: Any) -> list[str]:
    return [str(item) for item in value] if isinstance(value, list) else [] if value is None else [str(value)]
