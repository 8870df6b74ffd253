"""What a review says of a preview, as plain values: changes by class, nodes, price, access, policies."""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from cli import price_preview
from cli.differences import difference, is_secret_name
from cli.price_format import table_of
from cli.review_effects import Effect
from cli.review_kinds import classify
from cli.review_preview import SECRET, STACK, Finding, Preview, State, Step, differing, parts, value_at
from config import documents
from config.costs import Cost, total
from config.naming import PROJECT

DEPLOYED, BASE = "deployed", "base"  # what a change is compared with
FIRST = "there is no cluster yet: everything is made"
_NOT_EVALUATED = "can't run policy"  # pulumi-policy, of a value that a preview does not know
_REMARKS = ("error: preview failed", "preview failed")
_SHOWN, _LINE = 60, 100  # characters of a value, and of a line of a text
_RESTARTS = Effect.POD  # what is worse than this has to be acknowledged
_FAILED = 1
_FIRST_CODE = 10  # of an exit code that says a class
_PENDING = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"  # unknown (sdk/go/common/resource/plugin/rpc.go)


@dataclass(frozen=True, kw_only=True)
class Property:
    """A changed property: `before` and `after` as they are shown, "" where there is nothing.

    `lines`: of a text of several, those that go (-) and come (+).
    """

    path: str
    before: str
    after: str
    lines: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Change:
    """One resource that changes."""

    effect: Effect
    operation: str
    what: str  # "Deployment auth/dex"
    why: str
    properties: tuple[Property, ...]


@dataclass(frozen=True, kw_only=True)
class Price:
    """What the price of a month does. `delta` is None where it is not known, for the reason in `why`."""

    region: str = ""
    delta: Cost | None = None
    changes: tuple[tuple[str, Cost], ...] = ()
    why: str = ""


@dataclass(frozen=True, kw_only=True)
class Review:
    """Everything that is said. `outdated` and `access` are None where the preview does not say."""

    stack: str
    counts: Mapping[str, int]
    changes: tuple[Change, ...]  # the worst first
    not_comparable: int
    outdated: tuple[str, ...] | None
    price: Price
    access: tuple[str, ...] | None
    findings: tuple[Finding, ...] | None
    errors: tuple[str, ...]
    notes: tuple[str, ...] = ()
    acknowledged: frozenset[Effect] = field(default_factory=frozenset)
    against: str = DEPLOYED

    @property
    def worst(self) -> Effect:
        return max((change.effect for change in self.changes), default=Effect.HARMLESS)

    @property
    def violations(self) -> tuple[Finding, ...]:
        return tuple(filter(_violates, self.findings or ()))

    @property
    def not_evaluated(self) -> Mapping[str, int]:
        """How often each policy met what is known only after the update."""
        found = [each.policy for each in self.findings or () if each.message.startswith(_NOT_EVALUATED)]
        return dict(sorted(Counter(found).items()))

    @property
    def said(self) -> tuple[Finding, ...]:
        """What policies say of what they could evaluate."""
        found = self.findings or ()
        return tuple(each for each in found if not each.message.startswith(_NOT_EVALUATED))

    @property
    def unacknowledged(self) -> tuple[Effect, ...]:
        """The classes that somebody has to acknowledge first, the worst first."""
        found = {change.effect for change in self.changes if change.effect > _RESTARTS}
        return tuple(sorted(found - self.acknowledged, reverse=True))

    @property
    def exit_code(self) -> int:
        """0; 1 for a preview that failed or a policy that is violated; else 10 and the class's number."""
        if self.errors or self.violations:
            return _FAILED
        return _FIRST_CODE + self.unacknowledged[0] if self.unacknowledged else 0

    def of(self, effect: Effect) -> tuple[Change, ...]:
        return tuple(change for change in self.changes if change.effect is effect)


def review(
    stack: str,
    preview: Preview,
    region: str,
    *,
    acknowledged: Iterable[Effect] = (),
    notes: Sequence[str] = (),
    against: str = DEPLOYED,
) -> Review:
    """`region`: where the preview does not name one itself. Raises: CommandError for an unknown operation."""
    steps = [step for step in preview.steps if _changes(step)]
    first = any((step.type, step.operation) == (STACK, "create") for step in steps)
    found = sorted(
        (_change(step, first) for step in steps if step.comparable and not _stands_for_others(step)),
        key=lambda each: (-each.effect, each.operation, each.what),
    )
    return Review(
        stack=stack,
        counts=dict(sorted(Counter(change.operation for change in found).items())),
        changes=tuple(found),
        not_comparable=sum(not step.comparable for step in steps),
        outdated=_outdated(preview.outputs),
        price=_price(preview, region),
        access=_access(preview.outputs),
        findings=preview.findings,
        errors=_errors(preview),
        notes=(*notes, *([FIRST] if first else [])),
        acknowledged=frozenset(acknowledged),
        against=against,
    )


def _errors(preview: Preview) -> tuple[str, ...]:
    """What went wrong, without the engine's remark that something did where a policy says what."""
    told = tuple(each for each in preview.errors if each not in _REMARKS)
    return told or (() if any(map(_violates, preview.findings or ())) else preview.errors)


def _violates(finding: Finding) -> bool:
    return finding.level != "advisory"


def _changes(step: Step) -> bool:
    """Whether anything is done. Of a replacement the engine shows `replace`, and its two halves besides."""
    return any(price_preview.counted(step.operation))


def _stands_for_others(step: Step) -> bool:
    """The stack and our components: there is nothing of them but what they consist of."""
    return step.type == STACK or step.type.startswith(f"{PROJECT}:")


def _change(step: Step, first: bool) -> Change:
    effect, why = (Effect.HARMLESS, "is new") if first else classify(step)
    return Change(
        effect=effect,
        operation=step.operation,
        what=named(step),
        why=why,
        properties=tuple(each for path in step.changed for each in properties(step, path)),
    )


def named(step: Step) -> str:
    """`Deployment auth/dex`; a resource of AWS by its name in the program."""
    metadata = step.inputs.get("metadata")
    kind = step.type.rpartition(":")[2]
    if step.type.startswith("kubernetes:") and isinstance(metadata, Mapping) and metadata.get("name"):
        names = (metadata.get("namespace"), metadata["name"])
        return f"{kind} {'/'.join(str(name) for name in names if name)}"
    return " ".join(f"{kind} {step.name}".split())


def properties(step: Step, path: str) -> Iterator[Property]:
    """A changed property. Of documents, such as a role's policy, what differs in them."""
    old, new = (value_at(state, path) for state in (step.old, step.new))
    both = (_document(old), _document(new))
    if None in both:
        yield _property(step, path, old, new)
        return
    for inner in differing(*both, path):
        below = f"all{inner.removeprefix(path)}"
        yield _property(step, inner, *(value_at({"all": each}, below) for each in both))


def _document(value: Any) -> Any:
    """What is in a text of JSON; None for anything else."""
    try:
        found = json.loads(value) if isinstance(value, str) and value.startswith("{") else None
    except ValueError:
        return None
    return found


def _property(step: Step, path: str, old: Any, new: Any) -> Property:
    hidden = step.type.endswith(":Secret") or any(map(is_secret_name, parts(path)))
    lines = () if hidden else tuple(_changed_lines(old, new))
    return Property(path=path, before=_shown(old, hidden), after=_shown(new, hidden), lines=lines)


def _changed_lines(old: Any, new: Any) -> Iterator[str]:
    """What differs between two texts that are maps in YAML: of those it is known what is secret."""
    if not all(isinstance(text, str) and "\n" in text.strip() for text in (old, new)):
        return
    with contextlib.suppress(documents.NotYaml):
        if isinstance(documents.load(old), dict) and isinstance(documents.load(new), dict):
            changed = difference(old, new, "text").splitlines()[2:]
            yield from (line[:_LINE] for line in changed if line.startswith(("+", "-")))


def _shown(value: Any, hidden: bool) -> str:
    """A value in a few words: texts and numbers, also of a list, as they are; else how much there is."""
    if value is None:
        return ""
    if hidden or value == SECRET:
        return SECRET
    if value == _PENDING:
        return "(known later)"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list) and all(isinstance(each, str | int) for each in value):
        value = ", ".join(map(str, value))
    if not isinstance(value, str | int | float):
        return f"({len(value)} entries)"
    lines = str(value).strip().splitlines()
    if len(lines) > 1:
        return f"({len(lines)} lines)"
    text = " ".join(str(value).split())
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."


def _outdated(outputs: tuple[State, State] | None) -> tuple[str, ...] | None:
    """Nodes that wait for a new generation after this change, and did not before."""
    if outputs is None or not isinstance(outputs[1].get("outdated_nodes"), list):
        return None
    before = set(outputs[0].get("outdated_nodes") or [])
    return tuple(sorted(set(map(str, outputs[1]["outdated_nodes"])) - before))


def _access(outputs: tuple[State, State] | None) -> tuple[str, ...] | None:
    """What people may do from now on, and no more: a line for each difference."""
    if outputs is None:
        return None
    before, after = (_grants(each) for each in outputs)
    lists = [{str(row["name"]): row for row in _rows(each, "people")} for each in outputs]
    people = (
        f"{name}: {old or 'not in the list'} -> {new or 'not in the list'}"
        for name in sorted({*lists[0], *lists[1]})
        for key in ("state", "email")
        for old, new in [[each.get(name, {}).get(key) for each in lists]]
        if old != new and (key == "state" or (old and new))
    )
    marks = [("-", before - after), ("+", after - before)]
    rows = sorted((namespace, person, mark, role) for mark, rows in marks for namespace, person, role in rows)
    changed = (f"{mark} {person}: {role} in {namespace}" for namespace, person, mark, role in rows)
    return tuple(chain(people, changed))


def _grants(outputs: State) -> set[tuple[str, str, str]]:
    return {(row["namespace"], row["person"], row["role"]) for row in _rows(outputs, "access")}


def _rows(outputs: State, name: str) -> list[Mapping[str, Any]]:
    """The entries of a list among the outputs; none before the first update, or of what is not known yet."""
    found = outputs.get(name)
    return found if isinstance(found, list) else []


def _price(preview: Preview, region: str) -> Price:
    if preview.errors:
        return Price(why="the preview failed")
    region = price_preview.region_of(preview.digest) or region
    if not region:
        return Price(why="no region is named")
    table = table_of(region)
    found = price_preview.changes(preview.digest, table)
    return Price(
        region=table.region,
        delta=total(change.delta for change in found),
        changes=tuple((f"{change.operation} {change.name}", change.delta) for change in _in_order(found)),
    )


def _in_order(found: Iterable[price_preview.Change]) -> list[price_preview.Change]:
    return sorted(found, key=lambda each: (each.operation, each.name))
