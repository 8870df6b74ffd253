"""From the emulator's log to the IAM calls that AWS would authorize for who deploys a stack.

A log tells what was asked and what was made, so the tags that each thing had at that moment follow from it.
EC2 authorizes a call for each resource that it names or makes, and the tags of a new one as a CreateTags of
its own; KMS and PassRole come with what uses them. Sources: the Service Authorization Reference (EC2, IAM,
KMS, Systems Manager), the EC2 guide, "Grant permission to tag Amazon EC2 resources during creation", and the
EBS guide, "Requirements for Amazon EBS encryption".
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from sandbox.aws.statements import Call, Context, applies, listed, names_action, statements
from sandbox.config import ACCOUNT_ID, REGION

Line = Mapping[str, Any]
Tags = dict[str, str]

TAG = "kubepark:cluster"
# Prefix of an id -> its type in ARNs.
_TYPES = {
    "eipalloc": "elastic-ip",
    "eni": "network-interface",
    "i": "instance",
    "igw": "internet-gateway",
    "rtb": "route-table",
    "sg": "security-group",
    "sgr": "security-group-rule",
    "snap": "snapshot",
    "subnet": "subnet",
    "vol": "volume",
    "vpc": "vpc",
}
_ID = re.compile(rf"({'|'.join(_TYPES)})-[0-9a-f]+")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_BY_EC2, _BY_SSM = f"ec2.{REGION}.amazonaws.com", f"ssm.{REGION}.amazonaws.com"
# What RunInstances needs of the key of a root disk; a start needs the first.
_DISK = ("kms:CreateGrant", "kms:Decrypt", "kms:GenerateDataKeyWithoutPlaintext")
_LISTS = {
    "iam:ListInstanceProfiles",
    "iam:ListRoles",
    "kms:ListAliases",
    "kms:ListKeys",
    "ssm:DescribeParameters",
    "servicequotas:GetServiceQuota",
}


def operators(lines: Iterable[str]) -> Iterator[Line]:
    """The lines of the AWS provider and of `kubepark` itself; nodes and the sandbox ask as others."""
    return filter(_is_operators, map(json.loads, lines))


def _is_operators(line: Line) -> bool:
    return any(name in line["userAgent"] for name in ("terraform-provider-aws", "kubepark-cli"))


class Replay:
    """Follows a log line by line."""

    def __init__(self) -> None:
        self._tags: dict[str, Tags] = {}  # by id, KMS key id included
        self._aliases: dict[str, str] = {}  # alias -> key id
        self._roles: dict[str, str] = {}  # instance profile -> role
        self._secrets: dict[str, str] = {}  # parameter -> key id
        self._disks: dict[str, str] = {}  # instance -> the key of its root disk
        self._profiled = ""  # the instance whose profile was looked at last

    def calls(self, line: Line) -> list[Call]:
        """What AWS would authorize for this request. Raises KeyError for a service that is not known here."""
        service, action, given = line["service"], line["action"], line["params"]
        if service == "sts":
            return []  # anybody may ask who they are
        found = list(getattr(self, f"_{service}")(action, given))
        self._learn(line)
        return found

    # -- EC2 ---------------------------------------------------------------------------------------

    def _ec2(self, action: str, given: Mapping[str, str]) -> Iterator[Call]:
        name = f"ec2:{action}"
        if action.startswith(("Describe", "Get")):
            yield _call(name, "*")
            return
        named = {value for value in given.values() if _ID.fullmatch(value)}
        if action.endswith("IamInstanceProfileAssociation") or action == "DisassociateIamInstanceProfile":
            named = {self._profiled}  # the request names the association alone
        for each in sorted(named):
            kind = _TYPES[each.rpartition("-")[0]]
            yield self._on(name, _arn("ec2", f"{kind}/{each}"), each, _tags(given, "Tag"))
        if action == "StartInstances":
            yield from (
                self._on_key(_DISK[0], self._disks[each], _BY_EC2)
                for each in sorted(named & self._disks.keys())
            )
        specified = _specified(given)
        for kind, tags in specified.items():
            made = _arn("ec2", f"{kind}/*")
            yield _call(name, made, **_request(tags))
            yield _call("ec2:CreateTags", made, **_request(tags), **{"ec2:CreateAction": action})
        if not named and not specified:
            yield _call(name, "*")
        if profile := given.get("IamInstanceProfile.Name"):
            yield _pass_role(self._roles[profile], "ec2")
        for field, key in given.items():
            if field.endswith(".Ebs.KmsKeyId"):
                yield from (self._on_key(each, key, _BY_EC2) for each in _DISK)

    def _on(self, action: str, arn: str, id: str, tags: Tags) -> Call:
        own = {f"aws:ResourceTag/{key}": value for key, value in self._tags.get(id, {}).items()}
        return _call(action, arn, **own, **_request(tags))

    def _elasticloadbalancing(self, action: str, given: Mapping[str, str]) -> Iterator[Call]:
        name = f"elasticloadbalancing:{action}"
        if action.startswith("Describe"):
            yield _call(name, "*")
            return
        named = given.get("LoadBalancerName")
        id = named or given.get("LoadBalancerArn") or given["TargetGroupArn"]
        arn = _arn("elasticloadbalancing", f"loadbalancer/{named}") if named else id
        yield self._on(name, arn, id, {})

    # -- the others --------------------------------------------------------------------------------

    def _iam(self, action: str, given: Mapping[str, str]) -> Iterator[Call]:
        if f"iam:{action}" in _LISTS:
            yield _call(f"iam:{action}", "*")
            return
        role, profile = given.get("RoleName"), given.get("InstanceProfileName")
        arn = f"arn:aws:iam::{ACCOUNT_ID}:" + (f"instance-profile/{profile}" if profile else f"role/{role}")
        yield _call(f"iam:{action}", arn)
        if action == "AddRoleToInstanceProfile":
            yield _pass_role(str(role), "ec2")
        if action.startswith("Create") and _tags(given, "Tags.member"):
            yield _call(f"iam:Tag{action.removeprefix('Create')}", arn)

    def _kms(self, action: str, given: Mapping[str, Any]) -> Iterator[Call]:
        name = f"kms:{action}"
        if name in _LISTS:
            yield _call(name, "*")
            return
        if action == "CreateKey":
            tags = _request(_listed(given.get("Tags"), "Tag"))
            yield _call(name, "*", **tags)
            yield _call("kms:TagResource", _arn("kms", "key/*"), **tags)
            return
        alias = given.get("AliasName")
        if alias:
            yield _call(name, _arn("kms", alias))
        yield self._on_key(name, given.get("TargetKeyId") or given.get("KeyId") or str(alias))

    def _ssm(self, action: str, given: Mapping[str, Any]) -> Iterator[Call]:
        name = f"ssm:{action}"
        if name in _LISTS:
            yield _call(name, "*")
            return
        if action == "StartSession":
            target, document = given["Target"], given["DocumentName"]
            own = self._tags.get(target, {}).get(TAG)
            yield _call(name, _arn("ec2", f"instance/{target}"), **{f"ssm:resourceTag/{TAG}": own})
            yield _call(name, f"arn:aws:ssm:{REGION}::document/{document}")
            return
        if action == "TerminateSession":
            yield _call(name, _arn("ssm", f"session/{given['SessionId']}"))
            return
        path = given.get("Name") or given.get("Path") or given["ResourceId"]
        arn = _arn("ssm", f"parameter{path}")
        if path.startswith("/aws/"):  # AWS's own, and its publishers'
            arn = arn.replace(ACCOUNT_ID, "")
        yield _call(name, arn)
        if given.get("Tags") and action == "PutParameter":
            yield _call("ssm:AddTagsToResource", arn)
        if given.get("Type") == "SecureString" and given.get("KeyId"):
            yield self._on_key("kms:Encrypt", given["KeyId"], _BY_SSM)
        if given.get("WithDecryption") and path in self._secrets:
            yield self._on_key("kms:Decrypt", self._secrets[path], _BY_SSM)

    def _servicequotas(self, action: str, given: Mapping[str, Any]) -> Iterator[Call]:
        yield _call(f"servicequotas:{action}", "*")

    def _scheduler(self, action: str, given: Mapping[str, Any]) -> Iterator[Call]:
        """Source: the Service Authorization Reference, Amazon EventBridge Scheduler."""
        of_group = "ScheduleGroup" in action
        path = (
            f"schedule-group/{given.get('Name')}"
            if of_group
            else f"schedule/{given.get('GroupName')}/{given.get('Name')}"
        )
        arn = given.get("ResourceArn") or _arn("scheduler", path)
        yield _call(f"scheduler:{action}", arn)
        if of_group and given.get("Tags"):
            yield _call("scheduler:TagResource", arn)
        if target := given.get("Target"):
            yield _pass_role(target["RoleArn"].rpartition("/")[2], "scheduler")

    def _on_key(self, action: str, key: str, via: str | None = None) -> Call:
        found = key.rpartition("/")[2] if key.startswith("arn:") else key
        id = self._aliases.get(key, found)
        own = self._tags.get(id, {}).get(TAG)
        context = {f"aws:ResourceTag/{TAG}": own, "kms:ViaService": via}
        return _call(action, _arn("kms", f"key/{id}"), **context)

    # -- what a line changes -----------------------------------------------------------------------

    def planted(self, line: Line) -> None:
        """What others made, with its tags: controllers of the cluster, and other clusters."""
        if line["service"] in ("ec2", "elasticloadbalancing") or line["action"] == "CreateKey":
            self._learn(line)

    def _learn(self, line: Line) -> None:
        if line["status"] >= 300:
            return
        action, given = line["action"], line["params"]
        if line["service"] == "elasticloadbalancing" and action.startswith("Create"):
            ids = [given["LoadBalancerName"]] if "LoadBalancerName" in given else line["made"]
            self._tags |= dict.fromkeys(ids, _tags(given, "Tags.member"))
        elif line["service"] == "ec2":
            for kind, tags in _specified(given).items():
                for id in line.get("made", ()):
                    if _TYPES.get(id.rpartition("-")[0]) == kind:
                        self._tags[id] = tags
            for field, key in given.items():
                if field.endswith(".Ebs.KmsKeyId"):
                    self._disks |= dict.fromkeys(
                        (each for each in line.get("made", ()) if each.startswith("i-")), key
                    )
            if action == "DescribeIamInstanceProfileAssociations":
                self._profiled = next(value for value in given.values() if value.startswith("i-"))
            if action == "CreateTags":
                for field, id in given.items():
                    if field.startswith("ResourceId."):
                        self._tags.setdefault(id, {}).update(_tags(given, "Tag"))
        elif action == "CreateKey":
            (id,) = [each for each in line["made"] if _UUID.fullmatch(each)]
            self._tags[id] = _listed(given.get("Tags"), "Tag")
        elif action == "CreateAlias":
            self._aliases[given["AliasName"]] = given["TargetKeyId"]
        elif action == "AddRoleToInstanceProfile":
            self._roles[given["InstanceProfileName"]] = given["RoleName"]
        elif action == "PutParameter" and given.get("Type") == "SecureString":
            self._secrets.setdefault(given["Name"], given.get("KeyId", ""))  # an update names none


def _call(action: str, resource: str, **context: str | None) -> Call:
    always: Context = {"aws:RequestedRegion": REGION}
    return Call(action, resource, {**_UNSET, **always, **context})


# Keys that AWS has and that a call may be without; the evaluator does not know any other.
_UNSET: Context = {
    f"aws:ResourceTag/{TAG}": None,
    f"aws:RequestTag/{TAG}": None,
    "ec2:CreateAction": None,
    "iam:PassedToService": None,
    "kms:ViaService": None,
    f"ssm:resourceTag/{TAG}": None,
}


def _arn(service: str, resource: str) -> str:
    return f"arn:aws:{service}:{REGION}:{ACCOUNT_ID}:{resource}"


def _pass_role(role: str, service: str) -> Call:
    context = {"iam:PassedToService": f"{service}.amazonaws.com"}
    return _call("iam:PassRole", f"arn:aws:iam::{ACCOUNT_ID}:role/{role}", **context)


def _request(tags: Tags) -> dict[str, str | None]:
    return {f"aws:RequestTag/{TAG}": tags.get(TAG)}


def _tags(given: Mapping[str, str], prefix: str) -> Tags:
    """Tags of a query: `Tag.1.Key` and `Tag.1.Value`."""
    keys = {field: value for field, value in given.items() if re.fullmatch(rf"{prefix}\.\d+\.Key", field)}
    return {key: given.get(f"{field.removesuffix('Key')}Value", "") for field, key in keys.items()}


def _specified(given: Mapping[str, str]) -> dict[str, Tags]:
    """Tags of what a call makes, by the type of the resource."""
    kinds = {
        field: kind
        for field, kind in given.items()
        if re.fullmatch(r"TagSpecification\.\d+\.ResourceType", field)
    }
    return {kind: _tags(given, field.replace("ResourceType", "Tag")) for field, kind in kinds.items()}


def _listed(tags: Any, prefix: str) -> Tags:
    return {each[f"{prefix}Key"]: each[f"{prefix}Value"] for each in tags or ()}


class Judged(NamedTuple):
    """How a policy decides about a log."""

    denied: list[str]  # calls that no statement allows
    unused: set[tuple[str, str]]  # statement and action that no call was allowed by


def judge(document: Mapping[str, Any], lines: Iterable[str]) -> Judged:
    """Replay the operators' requests of a log against a policy document without denials."""
    policy, replay = statements("policy", document), Replay()
    granted = {(each.name, action) for each in policy for action in listed(each.body["Action"])}
    used: set[tuple[str, str]] = set()
    denied: dict[str, None] = {}
    for line in map(json.loads, lines):
        if not _is_operators(line):
            replay.planted(line)
            continue
        for call in replay.calls(line):
            by = [each for each in policy if applies(each.body, call)]
            if not by:
                denied[f"{call.action} on {call.resource} for {line['action']}"] = None
            for each in by:
                actions = listed(each.body["Action"])
                used |= {(each.name, action) for action in actions if names_action(action, call.action)}
    return Judged(list(denied), granted - used)
