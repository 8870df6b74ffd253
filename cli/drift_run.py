"""The refresh that `kubepark drift` looks at: of a copy of the state, and no change is kept.

The copy is without the stack's secrets, in a backend of its own in a temporary folder. So nobody needs the
key of the secrets, no lock is taken, and the stack's state cannot change, whatever happens here.
"""

from __future__ import annotations

import json
import secrets
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from cli import private
from cli.errors import CommandError
from cli.pulumi import Pulumi
from cli.review_preview import SECRET, STREAMED, of_digest, of_events, plain
from cli.urns import name_of, type_of
from config import ROOT
from config.kubeconfig import FOLDER
from config.naming import PROJECT

Resource = dict[str, Any]

# Variables that say where and with which key the CLI works on the stack itself.
_OF_THE_STACK = (
    "PULUMI_BACKEND_URL",
    "PULUMI_CONFIG_PASSPHRASE",
    "PULUMI_CONFIG_PASSPHRASE_FILE",
    "PULUMI_OPTION_CONFIG_FILE",
    "PULUMI_STACK",
)
# Source: pulumi/pulumi-terraform-bridge, pkg/tfbridge/rawstate.go.
_RAW_STATE = "__pulumi_raw_state_delta"
_PARAMETER = "aws:ssm/parameter:Parameter"
SECRET_PARAMETERS = "parameters that hold the cluster's secrets"
IN_CLUSTER = "objects in the cluster"
SECRET_VALUES = "encrypted values of resources that are compared otherwise"
SECRET_OBJECTS = "objects in the cluster that hold a secret"


@dataclass(frozen=True, kw_only=True)
class Refreshed:
    """`digest`: see `digest_of`. `not_compared`: how many of what."""

    digest: Mapping[str, Any]
    compared: int
    not_compared: Mapping[str, int]
    pending: int  # operations that a killed update left


def refreshed(cli: Pulumi, *, in_cluster: bool) -> Refreshed:
    """Read what is there now beside the state. Raises: CommandError."""
    document: dict[str, Any] = json.loads(cli.read("stack", "export"))
    deployment = document["deployment"] or {}
    resources: list[Resource] = deployment.get("resources") or []
    if not resources:
        raise CommandError(f"stack {cli.stack} has no resources: there is nothing to compare")
    left_out = {each["urn"]: why for each in resources if (why := _left_out(each, in_cluster))}
    compared = [each for each in resources if each.get("custom") and not _of_pulumi(each)]
    compared = [each for each in compared if each["urn"] not in left_out]
    partly = [SECRET_VALUES for each in compared if _has_secret(each["inputs"])]
    with _copy(cli, {**document, "deployment": without_secrets(deployment)}) as copied:
        excluded = [word for urn in left_out for word in ("--exclude", urn)]
        options = ("--preview-only", "--json", "--non-interactive", *excluded)
        code, printed = copied.collect("refresh", *options, **STREAMED)
    if not printed:
        raise CommandError(f"`pulumi refresh` ended with code {code} and showed nothing: see above")
    digest = digest_of(printed)
    if not of_digest(digest).errors:
        read = {step["urn"] for step in digest["steps"]}
        unread = sorted(name_of(each["urn"]) for each in compared if each["urn"] not in read)
        if code != 0 or unread:
            raise CommandError(
                f"`pulumi refresh` ended with code {code}; not read: {', '.join(unread) or 'none'}"
            )
    return Refreshed(
        digest=digest,
        compared=len(compared),
        not_compared=dict(sorted(Counter([*left_out.values(), *partly]).items())),
        pending=len(deployment.get("pending_operations") or []),
    )


def digest_of(printed: str) -> dict[str, Any]:
    """The events of a refresh in the form of `pulumi preview --json`, with what was found of each resource.

    Of a refresh that form itself leaves out what a provider does not tell in detail (Pulumi's
    pkg/backend/display/json.go): every change of a type with Terraform's plugin framework, as a rule's.
    """
    events = [json.loads(line) for line in printed.splitlines()]
    found = [event["resOutputsEvent"]["metadata"] for event in events if "resOutputsEvent" in event]
    steps = [
        {
            "op": each["op"],
            "urn": each["urn"],
            "oldState": plain(each.get("old")),
            "newState": plain(each.get("new")),
            "detailedDiff": each.get("detailedDiff") or dict.fromkeys(each.get("diffs") or ()),
        }
        for each in found
    ]
    return {**of_events(events).digest, "steps": steps}


def without_secrets(deployment: Mapping[str, Any]) -> dict[str, Any]:
    """The state with `SECRET` in place of what is encrypted, and without what a killed update left.

    Nor with the provider's notes of how its own state differs from the outputs: parts of those are encrypted
    as well, a provider that cannot read them refuses the resource, and one that has none does without.
    """
    kept = {
        key: plain(value)
        for key, value in deployment.items()
        if key not in ("secrets_providers", "pending_operations")
    }
    for each in kept.get("resources") or ():
        each.get("outputs", {}).pop(_RAW_STATE, None)
    return kept


def _left_out(resource: Resource, in_cluster: bool) -> str:
    """Why a resource is not compared; "" if it is."""
    kind = type_of(resource["urn"])
    if kind == _PARAMETER and resource["inputs"].get("type") == "SecureString":
        return SECRET_PARAMETERS
    if kind.startswith("kubernetes:"):
        if not in_cluster:
            return IN_CLUSTER
        return SECRET_OBJECTS if _has_secret(resource.get("outputs")) else ""
    return ""


def _has_secret(state: Any) -> bool:
    return json.dumps(SECRET) in json.dumps(plain(state))


def _of_pulumi(resource: Resource) -> bool:
    return type_of(resource["urn"]).startswith("pulumi:")


@contextmanager
def _copy(cli: Pulumi, document: Mapping[str, Any]) -> Iterator[Pulumi]:
    """The CLI on a stack of the same name with this state, with another key and backend."""
    with private.folder() as made:
        folder = made.path
        (folder / "backend").mkdir()
        project = {"name": PROJECT, "runtime": "python"}
        (folder / "Pulumi.yaml").write_text(json.dumps(project), encoding="utf-8")
        if (ROOT / FOLDER).exists():
            (folder / FOLDER).symlink_to(ROOT / FOLDER)
        variables = {key: value for key, value in cli.variables.items() if key not in _OF_THE_STACK}
        variables["PULUMI_BACKEND_URL"] = f"file://{folder / 'backend'}"
        variables["PULUMI_CONFIG_PASSPHRASE"] = secrets.token_urlsafe(32)
        copied = Pulumi(cli.stack, variables, cwd=folder)
        copied.read("stack", "init", "--no-select")
        copied.read("stack", "import", given=json.dumps(document))
        yield copied
