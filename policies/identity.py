"""What a role may do, and who may use a role, a key or a bucket: no wildcards."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from typing import Any

from pulumi_policy import PolicyConfigSchema, ResourceValidationArgs, Severity

from policies.common import Fail, each, every, mandatory, strings

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

# Policies that hang on what they are about: in them `*` as the resource means that alone.
OWN_POLICIES = {"aws:kms/key:Key": "use the key", "aws:s3/bucketPolicy:BucketPolicy": "use the bucket"}

READ = re.compile(r"[a-z0-9-]+:(get|list|describe)[a-z0-9]*")

# Conditions that narrow "every resource" to ours, lower case: by its tags, or by a key's aliases.
# Sources: IAM user guide, "Controlling access to AWS resources using tags"; KMS developer guide, "ABAC".
NARROWING_KEY = re.compile(r"[a-z0-9-]+:resourcetag/.+|kms:resourcealiases")
# They hold only where the key is there and has the value: none that is negated or ends in IfExists.
NARROWING_OPERATOR = re.compile(r"(foranyvalue:)?string(equals|equalsignorecase|like)")

# Services whose ARNs end in a name alone; others say the kind before it, as in `key/NAME`.
# Source: the service authorization reference, "Resource types defined by" each.
NAMES_ALONE = frozenset({"s3", "sns", "sqs"})

# Reads that give away a secret count as changes. Lower case, as IAM compares actions.
SECRET_READS = (
    "ssm:getparameter",
    "ssm:getparameters",
    "ssm:getparametersbypath",
    "ssm:getparameterhistory",
    "secretsmanager:getsecretvalue",
    "s3:getobject",
    "ec2:getpassworddata",
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
    return action not in SECRET_READS and READ.fullmatch(action) is not None


def _is_narrowed(condition: Any) -> bool:
    """Whether the statement is about resources with a tag or an alias of ours, and no others."""
    return any(
        NARROWING_OPERATOR.fullmatch(operator.lower())
        and NARROWING_KEY.fullmatch(key.lower())
        and not any(re.fullmatch(r"[*?]*", str(value)) for value in _list(values))
        for operator, pairs in (condition or {}).items()
        for key, values in pairs.items()
    )


def _is_everything(resource: str) -> bool:
    """Whether a wildcard leaves no part of a name: `*`, `arn:aws:s3:::*`, `...:key/*`, `...:k*`."""
    parts = resource.split(":", 5)
    before = re.split(r"[*?]", parts[-1], maxsplit=1)
    kind_only = r"" if parts[2:3] and parts[2] in NAMES_ALONE else r"[^/:]*[/:]?"
    return len(before) == 2 and re.fullmatch(kind_only, before[0]) is not None


def _check_statement(statement: Mapping[str, Any], fail: Fail, declared: Collection[str] = ()) -> None:
    if statement.get("Effect") != "Allow":
        return
    for inverted in ("NotAction", "NotResource"):
        if inverted in statement:
            fail(f"{inverted} allows everything that it does not name.")
    resources = [str(item) for item in _list(statement.get("Resource"))]
    wide = [item for item in resources if _is_everything(item)]
    if _is_narrowed(statement.get("Condition")):
        wide = []
    for action in (str(item) for item in _list(statement.get("Action")) if item not in declared):
        key = action.lower()
        if "*" in key or "?" in key:
            fail(f"Action {action} has a wildcard.")
        elif wide and not _is_read(key) and key not in ONLY_STAR:
            fail(f"Action {action} is allowed on {', '.join(wide)}.")


def _statements(text: Any, fail: Fail) -> list[Any]:
    """The statements of a policy document; a document that cannot be read fails."""
    try:
        return _list(json.loads(text)["Statement"])
    except (ValueError, KeyError, TypeError):
        fail("The policy document is not JSON with a Statement.")
        return []


def _check_document(text: Any, fail: Fail, declared: Collection[str] = ()) -> None:
    for statement in _statements(text, fail):
        _check_statement(statement, fail, declared)


def _check_principals(text: Any, what: str, fail: Fail) -> None:
    for statement in _statements(text, fail):
        principal = statement.get("Principal")
        named = principal.values() if isinstance(principal, Mapping) else [principal]
        if statement.get("Effect") == "Allow" and any("*" in _list(item) for item in named):
            fail(f"Anybody may {what}: Principal is *.")


def _check_attached(arn: Any, fail: Fail) -> None:
    if isinstance(arn, str) and arn.split(":")[4:5] == ["aws"]:
        fail(f"{arn} is AWS's own policy: no preview shows what it allows, and it may grow.")


def _no_wildcards(args: ResourceValidationArgs, fail: Fail) -> None:
    props = args.props
    if args.resource_type in ATTACHMENTS:
        _check_attached(props.get("policyArn"), fail)
    elif args.resource_type in POLICY_DOCUMENTS:
        _check_document(props.get("policy"), fail, args.get_config().get("declared", ()))
    elif args.resource_type in OWN_POLICIES:
        if props.get("policy") is None:
            args.not_applicable("has AWS's default policy: only the account may use it")
        _check_principals(props.get("policy"), OWN_POLICIES[args.resource_type], fail)
    else:
        every(
            [
                lambda: _check_principals(props.get("assumeRolePolicy"), "assume the role", fail),
                lambda: each(
                    props.get("inlinePolicies"), lambda item: _check_document(item.get("policy"), fail)
                ),
                lambda: each(props.get("managedPolicyArns"), lambda arn: _check_attached(arn, fail)),
            ]
        )


NO_WILDCARD_MUTATION = mandatory(
    name="iam-no-wildcard-mutation",
    description="IAM allows no wildcards: what they mean grows with AWS's services and with the account.",
    remedy="Name each action and the ARNs it is for, or narrow by a condition on ResourceTag or "
    "kms:ResourceAliases. An action that AWS cannot narrow goes, with its reason, into ONLY_STAR in "
    "policies/identity.py.",
    severity=Severity.CRITICAL,
    url="https://docs.aws.amazon.com/IAM/latest/UserGuide/best-practices.html",
    types=POLICY_DOCUMENTS | ATTACHMENTS | {ROLE} | OWN_POLICIES.keys(),
    check=_no_wildcards,
    config=PolicyConfigSchema(
        properties={"declared": strings("actions that a policy may have with a wildcard, or on everything")}
    ),
)
