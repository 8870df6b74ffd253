"""What `kubepark review` reads: a preview, in either form in which the CLI prints one as JSON.

The digest of `pulumi preview --json` is PreviewDigest in Pulumi's pkg/display/json.go. It has neither
policies nor the stack's outputs. The stream that the CLI prints with `STREAMED` in its environment has both:
a line for each EngineEvent of sdk/go/common/apitype/events.go.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from cli.errors import CommandError
from cli.urns import name_of, type_of

State = Mapping[str, Any]  # a resource's inputs, or a stack's outputs

STREAMED: Mapping[str, str] = MappingProxyType({"PULUMI_ENABLE_STREAMING_JSON_PREVIEW": "true"})
STACK = "pulumi:pulumi:Stack"
SECRET = "[secret]"  # as the engine's own digest spells it
# The key that marks what is no plain value, and its value for secrets (sdk/go/common/resource/sig/sig.go).
_SIGNATURE, _SECRET_SIGNATURE = "4dabf18193072939515e22adb298388d", "1b47061264138c4ac30d75fd1eb44270"
_COLOR = re.compile(r"<\{%[^%]*%\}>")  # sdk/go/common/diag/colors
_PART = re.compile(r'\["((?:[^"\\]|\\.)*)"\]|\[(\d+)\]|([^.\[\]]+)')  # of a property path


@dataclass(frozen=True, kw_only=True)
class Step:
    """What the engine would do to one resource. `old` and `new` are its inputs, {} where there are none.

    `changed`: paths of what differs. An update of which the provider was not asked what differs is not
    `comparable`. `retained`: it is forgotten when it is deleted, and stays.
    """

    operation: str
    urn: str
    type: str
    old: State
    new: State
    changed: tuple[str, ...] = ()
    comparable: bool = True
    retained: bool = False

    @property
    def name(self) -> str:
        return name_of(self.urn)

    @property
    def inputs(self) -> State:
        """Those that will be, else those that were."""
        return self.new or self.old


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What a policy says. `level`: mandatory, advisory, ... as the engine has it."""

    policy: str
    level: str
    resource: str
    message: str


@dataclass(frozen=True, kw_only=True)
class Preview:
    """A preview in a form of our own.

    `outputs`: the stack's before and after; None: not said, which is so of a digest and of a preview that
    failed. `findings`: None for a digest. `digest`: the same preview as `pulumi preview --json` has it.
    """

    steps: tuple[Step, ...]
    errors: tuple[str, ...]
    findings: tuple[Finding, ...] | None
    outputs: tuple[State, State] | None
    digest: Mapping[str, Any]


def parse(text: str, name: str) -> Preview:
    """Read either form. `name`: of the file, for messages. Raises: CommandError."""
    try:
        documents = list(_documents(text))
    except ValueError as error:
        raise CommandError(f"{name} is not JSON ({error}); {_ACCEPTED}") from None
    if not documents or not all(isinstance(each, dict) for each in documents):
        raise CommandError(f"{name} is no preview; {_ACCEPTED}")
    if len(documents) == 1 and "sequence" not in documents[0]:
        if not isinstance(documents[0].get("steps", []), list) or "config" not in documents[0]:
            raise CommandError(f"{name} is no preview; {_ACCEPTED}")
        return of_digest(documents[0])
    found = of_events(documents)
    if not found.errors and not any("summaryEvent" in each for each in documents):
        raise CommandError(f"{name} ends before the preview did, so what else changes is not known")
    return found


_ACCEPTED = "accepted: what `bin/kubepark preview --json` prints"


def _documents(text: str) -> Iterator[Any]:
    """One JSON document, or one a line."""
    try:
        yield json.loads(text)
    except ValueError:
        lines = [line for line in text.splitlines() if line.strip()]
        if not all(line.startswith("{") and line.endswith("}") for line in lines):
            raise
        yield from map(json.loads, lines)


def of_digest(digest: Mapping[str, Any]) -> Preview:
    """The digest of `pulumi preview --json`."""
    errors = [_text(each) for each in digest.get("diagnostics") or [] if each.get("severity") == "error"]
    return Preview(
        steps=tuple(_step(each) for each in digest.get("steps") or []),
        errors=_distinct(errors),
        findings=None,
        outputs=None,
        digest=digest,
    )


def of_events(events: Iterable[Mapping[str, Any]]) -> Preview:
    """The engine's events, in the order in which it sent them."""
    steps, diagnostics, findings, outputs = [], [], [], None
    config: Mapping[str, str] = {}
    for event in events:
        if before := event.get("resourcePreEvent"):
            steps.append(_as_in_digest(before["metadata"]))
        elif after := event.get("resOutputsEvent"):
            metadata = after["metadata"]
            if metadata["type"] == STACK and metadata.get("new"):
                old = metadata.get("old") or {}
                outputs = (plain(old.get("outputs") or {}), plain(metadata["new"].get("outputs") or {}))
        elif said := event.get("diagnosticEvent"):
            if not said.get("ephemeral"):
                diagnostics.append({"message": _text(said), "severity": said["severity"]})
        elif found := event.get("policyEvent"):
            findings.append(_finding(found))
        elif prelude := event.get("preludeEvent"):
            config = prelude["config"]
    digest = {"config": config, "steps": steps, "diagnostics": diagnostics, "changeSummary": {}}
    errors = [each["message"] for each in diagnostics if each["severity"] == "error"]
    return Preview(
        steps=tuple(map(_step, steps)),
        errors=_distinct(errors),
        findings=tuple(sorted(set(findings), key=lambda each: (each.level, each.policy, each.resource))),
        outputs=None if errors else outputs,
        digest=digest,
    )


def _as_in_digest(metadata: Mapping[str, Any]) -> dict[str, Any]:
    def state(found: Mapping[str, Any] | None) -> dict[str, Any] | None:
        keys = ("type", "custom", "retainOnDelete")
        if not found:
            return None
        return {**{key: found.get(key) for key in keys}, "inputs": plain(found.get("inputs"))}

    return {
        "op": metadata["op"],
        "urn": metadata["urn"],
        "oldState": state(metadata.get("old")),
        "newState": state(metadata.get("new")),
        "diffReasons": metadata.get("diffs"),
        "replaceReasons": metadata.get("keys"),
        "detailedDiff": metadata.get("detailedDiff"),
    }


def _step(found: Mapping[str, Any]) -> Step:
    old, new = found.get("oldState") or {}, found.get("newState") or {}
    before, after = plain(old.get("inputs") or {}), plain(new.get("inputs") or {})
    reasons = [*(found.get("diffReasons") or []), *(found.get("replaceReasons") or [])]
    detailed = found.get("detailedDiff") or {}
    kind = type_of(str(found["urn"]))
    if kind.startswith("pulumi:providers:"):  # of its providers the engine says only that they differ
        reasons = reasons or [key for key in sorted({*before, *after}) if before.get(key) != after.get(key)]
    changed = detailed or [path for top in reasons for path in _differences(before, after, str(top))]
    return Step(
        operation=str(found["op"]),
        urn=str(found["urn"]),
        type=kind,
        old=before,
        new=after,
        changed=tuple(sorted(set(changed))),
        comparable=found["op"] != "update" or bool(reasons or detailed),
        retained=bool(old.get("retainOnDelete")),
    )


def _differences(old: State, new: State, top: str) -> list[str]:
    """The paths below the property `top` that differ; `top` itself where that is not in the inputs."""
    return list(differing(old.get(top), new.get(top), top)) or [top]


def differing(old: Any, new: Any, path: str) -> Iterator[str]:
    """The paths at which two values differ; `path` is theirs."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted({*old, *new}):
            yield from differing(old.get(key), new.get(key), f'{path}["{key}"]')
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for index, (before, after) in enumerate(zip(old, new, strict=True)):
            yield from differing(before, after, f"{path}[{index}]")
    elif old != new:
        yield path


def parts(path: str) -> tuple[str, ...]:
    """A property path's keys and indices: `tags["a.b"]`, `spec.hosts[0]`."""
    return tuple(next(part for part in found if part) for found in _PART.findall(path) if any(found))


def value_at(state: State, path: str) -> Any:
    """What is at a path of a resource's inputs; None where nothing is. Below what is secret all is secret."""
    found: Any = state
    for part in parts(path):
        if found == SECRET:
            return SECRET
        if isinstance(found, list):
            found = found[int(part)] if part.isdigit() and int(part) < len(found) else None
        else:
            found = found.get(part) if isinstance(found, Mapping) else None
    return found


def plain(value: Any) -> Any:
    """The value without what marks secrets: what is secret is blinded by the engine already."""
    if isinstance(value, dict):
        if value.get(_SIGNATURE) == _SECRET_SIGNATURE:
            return SECRET
        return {key: plain(each) for key, each in value.items()}
    return [plain(each) for each in value] if isinstance(value, list) else value


def _finding(found: Mapping[str, Any]) -> Finding:
    return Finding(
        policy=str(found["policyName"]),
        level=str(found["enforcementLevel"]),
        resource=name_of(str(found.get("resourceUrn") or "")),
        message=_COLOR.sub("", str(found["message"])).strip(),
    )


def _text(found: Mapping[str, Any]) -> str:
    return _COLOR.sub("", f"{found.get('prefix') or ''}{found.get('message') or ''}").strip()


def _distinct(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(text for text in texts if text))
