"""What a role may do: no wildcard where something can be changed or a secret be read."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

from pulumi_policy import ResourceValidationArgs

from policies.common import Fail, each, every, mandatory

ROLE = "aws:iam/role:Role"
POLICY_DOCUMENTS = frozenset(
    {
        "aws:iam/policy:Policy",
        "aws:iam/rolePolicy:RolePolicy",
        "aws:iam/userPolicy:UserPolicy",
        "aws:iam/groupPolicy:GroupPolicy",
    }
)
ATTACHMENTS = frozenset(
    {
        "aws:iam/rolePolicyAttachment:RolePolicyAttachment",
        "aws:iam/userPolicyAttachment:UserPolicyAttachment",
        "aws:iam/groupPolicyAttachment:GroupPolicyAttachment",
        "aws:iam/policyAttachment:PolicyAttachment",
    }
)

READ = re.compile(r"[a-z0-9-]+:(get|list|describe)[a-z0-9*?]*")

# Reads that give away a secret count as changes. Lower case, as IAM compares actions.
SECRET_READS = (
    "ssm:getparameter",
    "ssm:getparameters",
    "ssm:getparametersbypath",
    "ssm:getparameterhistory",
    "secretsmanager:getsecretvalue",
    "s3:getobject",
)

# Actions that may name every resource, each with the reason. Exact names only.
# Source: the service authorization reference, and the Systems Manager user guide ("Create a custom IAM
# role for Session Manager").
ONLY_STAR = {
    "ssm:updateinstanceinformation": "the agent's report on its own instance; AWS's own minimum has *",
    "ssmmessages:createcontrolchannel": "Session Manager's control channel has no resource type",
    "ssmmessages:createdatachannel": "Session Manager's data channel has no resource type",
    "ssmmessages:opencontrolchannel": "Session Manager's control channel has no resource type",
    "ssmmessages:opendatachannel": "Session Manager's data channel has no resource type",
}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _is_read(action: str) -> bool:
    if any(fnmatchcase(secret, action) for secret in SECRET_READS):
        return False
    return READ.fullmatch(action) is not None


def _is_everything(resource: str, conditional: bool) -> bool:
    """Whether a resource names all of a service, or (unless a condition narrows it) all of a kind."""
    name = resource.split(":", 5)[-1]
    return name == "*" or (not conditional and re.fullmatch(r"[^/:]+[/:]\*", name) is not None)


def _check_statement(statement: Mapping[str, Any], fail: Fail) -> None:
    if statement.get("Effect") != "Allow":
        return
    for inverted in ("NotAction", "NotResource"):
        if inverted in statement:
            fail(f"{inverted} allows everything that it does not name.")
    resources = [str(item) for item in _list(statement.get("Resource"))]
    wide = [item for item in resources if _is_everything(item, bool(statement.get("Condition")))]
    for action in (str(item) for item in _list(statement.get("Action"))):
        key = action.lower()
        if _is_read(key):
            continue
        if "*" in key or "?" in key:
            fail(f"Action {action} has a wildcard and is more than reading.")
        elif wide and key not in ONLY_STAR:
            fail(f"Action {action} is allowed on {', '.join(wide)}.")


def _statements(text: Any, fail: Fail) -> list[Any]:
    """The statements of a policy document; a document that cannot be read fails."""
    try:
        return _list(json.loads(text)["Statement"])
    except (ValueError, KeyError, TypeError):
        fail("The policy document is not JSON with a Statement.")
        return []


def _check_document(text: Any, fail: Fail) -> None:
    for statement in _statements(text, fail):
        _check_statement(statement, fail)


def _check_trust(text: Any, fail: Fail) -> None:
    for statement in _statements(text, fail):
        principal = statement.get("Principal")
        named = principal.values() if isinstance(principal, Mapping) else [principal]
        if statement.get("Effect") == "Allow" and any("*" in _list(item) for item in named):
            fail("Anybody may assume the role: Principal is *.")


def _check_attached(arn: Any, fail: Fail) -> None:
    if isinstance(arn, str) and arn.split(":")[4:5] == ["aws"]:
        fail(f"{arn} is AWS's own policy: no preview shows what it allows, and it may grow.")


def _no_wildcards(args: ResourceValidationArgs, fail: Fail) -> None:
    props = args.props
    if args.resource_type in ATTACHMENTS:
        _check_attached(props.get("policyArn"), fail)
    elif args.resource_type in POLICY_DOCUMENTS:
        _check_document(props.get("policy"), fail)
    else:
        every(
            [
                lambda: _check_trust(props.get("assumeRolePolicy"), fail),
                lambda: each(
                    props.get("inlinePolicies"), lambda item: _check_document(item.get("policy"), fail)
                ),
                lambda: each(props.get("managedPolicyArns"), lambda arn: _check_attached(arn, fail)),
            ]
        )


NO_WILDCARD_MUTATION = mandatory(
    name="iam-no-wildcard-mutation",
    description="IAM allows no wildcard where something can be changed or a secret be read.",
    remedy="Name each action and the ARNs it is for. An action that AWS cannot narrow goes, with its "
    "reason, into ONLY_STAR in policies/identity.py.",
    url="https://docs.aws.amazon.com/IAM/latest/UserGuide/best-practices.html",
    types=POLICY_DOCUMENTS | ATTACHMENTS | {ROLE},
    check=_no_wildcards,
)
