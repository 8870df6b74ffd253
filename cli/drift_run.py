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
from cli.review_preview import SECRET, of_digest, plain
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
_PARAMETER = "aws:ssm/parameter:Parameter"
SECRET_PARAMETERS = "parameters that hold the cluster's secrets"
IN_CLUSTER = "objects in the cluster"
SECRET_VALUES = "encrypted values of resources that are compared otherwise"
SECRET_OBJECTS = "objects in the cluster that hold a secret"


@dataclass(frozen=True, kw_only=True)
class Refreshed:
    """`digest`: what `pulumi refresh --preview-only --json` prints. `not_compared`: how many of what."""

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
        code, printed = copied.collect("refresh", "--preview-only", "--json", "--non-interactive", *excluded)
    try:
        digest = json.loads(printed)
    except ValueError:
        raise CommandError(f"`pulumi refresh` ended with code {code} and showed nothing: see above") from None
    if not of_digest(digest).errors:
        read = {step["urn"] for step in digest.get("steps") or []}
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


def without_secrets(deployment: Mapping[str, Any]) -> dict[str, Any]:
    """The state with `SECRET` in place of what is encrypted, and without what a killed update left."""
    return {
        key: plain(value)
        for key, value in deployment.items()
        if key not in ("secrets_providers", "pending_operations")
    }


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
