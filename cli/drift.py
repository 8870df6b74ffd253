"""`kubepark drift`: what is otherwise than the last update left it, changed or deleted by hand, say."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cli import api_server, cluster, drift_issue, drift_text, pulumi, review_comment
from cli.drift_run import Refreshed, refreshed
from cli.errors import CommandError
from cli.pulumi import Pulumi
from cli.review_preview import SECRET, Step, of_digest, value_at
from cli.review_summary import Property, named, properties
from cli.stackfile import cluster_of, identity_of
from config import ROOT
from config import kubeconfig as operator

DRIFT = 10  # exit code
_GONE, _CHANGED = "delete", "update"
_NOTHING = ("same", "read")
_INDEX = re.compile(r"\[\d+\]$")
_HEAD = re.compile(r"[.\[]")


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One resource that is not as it was. `id`: AWS's. No `properties`: it is gone."""

    what: str  # "Instance worker02"
    id: str
    properties: tuple[Property, ...]

    @property
    def gone(self) -> bool:
        return not self.properties


@dataclass(frozen=True, kw_only=True)
class Drift:
    """`compared`: how many resources. `not_compared`: how many of what else. `pending`: operations that a
    killed update left."""

    stack: str
    differences: tuple[Difference, ...]
    compared: int
    not_compared: Mapping[str, int]
    pending: int

    @property
    def exit_code(self) -> int:
        return DRIFT if self.differences else 0


def run(stack: str, *, form: str, issue: bool, in_cluster: bool) -> int:
    """Print the drift of a stack, and give the exit code. Raises: CommandError."""
    if issue:
        drift_issue.require()
    with pulumi.on(stack, "refresh") as cli:
        if in_cluster:
            _reach(cli)
        found = drift(stack, refreshed(cli, in_cluster=in_cluster))
    forms = {"terminal": drift_text.terminal, "markdown": drift_text.markdown, "json": drift_text.document}
    print(forms[form](found))
    review_comment.summarize(drift_text.markdown(found))
    if issue:
        print(drift_issue.settle(found))
    return found.exit_code


def drift(stack: str, found: Refreshed) -> Drift:
    """Raises: CommandError if the refresh failed, or did what is not known here."""
    if errors := of_digest(found.digest).errors:
        raise CommandError("\n".join([f"stack {stack} cannot be compared:", *errors]))
    differences = []
    for step in found.digest["steps"]:
        if step["op"] in _NOTHING:
            continue
        if step["op"] not in (_GONE, _CHANGED):
            raise CommandError(
                f"a refresh does `{step['op']}`, which is not known to this version of kubepark"
            )
        each = _difference(step)
        if step["op"] == _GONE or each.properties:
            differences.append(each)
    return Drift(
        stack=stack,
        differences=tuple(sorted(differences, key=lambda each: (not each.gone, each.what, each.id))),
        compared=found.compared,
        not_compared=found.not_compared,
        pending=found.pending,
    )


def _reach(cli: Pulumi) -> None:
    """Keep the operator's kubeconfig where the provider looks for it. Raises: CommandError if it cannot be
    read, or nobody answers there: the refresh would say so of each object."""
    text = cluster.published(cli)
    if not text or not api_server.listens(cluster.parsed(text, cli.stack)):
        raise CommandError(
            f"the API server of {cli.stack} does not answer, so nothing in the cluster can be compared; fix: "
            f"bin/kubepark tunnel --stack {cli.stack} -- bin/kubepark drift --in-cluster"
        )
    operator.keep(ROOT / operator.file_of(cluster_of(cli.stack), identity_of(cli.stack)), text)


def _difference(found: Mapping[str, Any]) -> Difference:
    old, new = (_state(found.get(name)) for name in ("oldState", "newState"))
    # Not the version of a parameter that a node wrote, nor the address of an instance that was started again.
    settable = {
        name for state in ("oldState", "newState") for name in (found.get(state) or {}).get("inputs", ())
    }
    paths = sorted({_INDEX.sub("", path) for path in found.get("detailedDiff") or {}})
    own = [
        path
        for path in paths
        if _HEAD.split(path)[0] in settable
        and (not path.startswith("tagsAll") or path.replace("tagsAll", "tags", 1) not in paths)
    ]
    kind = str((found.get("oldState") or {})["type"])
    step = Step(operation=found["op"], urn=str(found["urn"]), type=kind, old=old, new=new, changed=tuple(own))
    shown = [each for path in own for each in _properties(step, path)]
    return Difference(what=named(step), id=str(found["oldState"].get("id") or ""), properties=tuple(shown))


def _properties(step: Step, path: str) -> Sequence[Property]:
    """A changed property; of a list what came and what went. Nothing of what is secret: only its stand-in
    differs."""
    old, new = (value_at(state, path) for state in (step.old, step.new))
    if SECRET in (old, new):
        return ()
    if isinstance(old, list) and isinstance(new, list) and not any(map(_is_object, [*old, *new])):
        went, came = (
            ", ".join(sorted(map(str, {*one} - {*other}))) for one, other in ((old, new), (new, old))
        )
        if went or came:
            return (Property(path=path, before=went, after=came),)
    return tuple(properties(step, path))


def _is_object(value: Any) -> bool:
    return isinstance(value, dict | list)


def _state(found: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """What a resource is: as it was read where that is said, else as the program wanted it."""
    return {**(found or {}).get("inputs", {}), **(found or {}).get("outputs", {})}
