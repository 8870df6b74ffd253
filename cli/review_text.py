"""A review as text: Markdown for a comment, JSON, and rich for a terminal. Pure, and in a stable order.

A comment of GitHub has at most 65,536 characters; this stays below `LIMIT`, by saying less of less important
things. What comes from a preview is never Markdown of its own: it stands in code spans and fences.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from cli.price_format import amount, rounded
from cli.review_effects import Effect
from cli.review_summary import Change, Review

LIMIT = 60_000  # characters
_ENTRIES = (1000, 200, 50, 15, 5)  # how many of each list, from the most that is tried to the least
_MESSAGE = 4000  # characters of an error or a policy's message
_WORD = 200  # characters of a name, a path or a reason
_BOXES = 12  # of a diagram
_LINES = 20  # of a changed text


def marker(review: Review) -> str:
    """What a comment begins with, so that the next review of the same kind finds it."""
    return f"<!-- kubepark review {review.stack} {review.against} -->"


def headline(review: Review) -> str:
    """The result in a few words."""
    if review.violations:
        return "a policy is violated"
    if review.errors:
        return "the preview failed"
    if not review.changes:
        return "nothing changes" if not review.not_comparable else "nothing comparable changes"
    return review.worst.title


def counted(review: Review) -> str:
    """How many of each operation."""
    said = [f"{count} to {operation}" for operation, count in review.counts.items()]
    return ", ".join(said) or "no resource changes now"


def lines(review: Review) -> list[str]:
    """What is said besides the changes, a line each."""
    found = [*review.notes]
    if review.not_comparable:
        found.append(
            f"not comparable: {review.not_comparable} (nobody was asked what differs; they are no changes)"
        )
    if review.outdated is None:
        found.append("nodes that become outdated: not said by this preview")
    elif review.outdated:
        found.append(
            f"nodes that become outdated, and wait for a new generation: {', '.join(review.outdated)}"
        )
    found.append(f"price: {price(review)}")
    if review.access is None:
        found.append("people's access: not said by this preview, but for the objects above")
    if review.findings is None:
        found.append("policies: not said by this preview")
    elif not review.said:
        found.append("policies: nothing found")
    if review.not_evaluated:
        policies = ", ".join(f"{policy} ({count})" for policy, count in review.not_evaluated.items())
        found.append(f"policies that only the update can evaluate: {policies}")
    if needed := review.unacknowledged:
        words = " ".join(f"--acknowledge {effect.word}" for effect in needed)
        labels = ", ".join(label(effect) for effect in needed)
        found.append(f"to be acknowledged: {words}; in a pull request by label: {labels}")
    if review.acknowledged:
        found.append(f"acknowledged: {', '.join(effect.word for effect in sorted(review.acknowledged))}")
    return found


def label(effect: Effect) -> str:
    """The label of a pull request that acknowledges a class."""
    return f"acknowledge/{effect.word}"


def price(review: Review) -> str:
    """What the price of a month does, in one line."""
    if review.price.delta is None:
        return f"not known ({review.price.why})"
    if not review.price.changes:
        return "the same"
    unknown = "".join(f"; no price is known of {each}" for each in sorted(review.price.delta.unknown))
    return f"{amount(review.price.delta, sign=True)} USD a month in {review.price.region}{unknown}"


# -- Markdown --------------------------------------------------------------------------------------


def markdown(review: Review) -> str:
    """The body of a comment, in at most `LIMIT` characters."""
    return within_limit(_markdown(review, entries) for entries in _ENTRIES)


def within_limit(forms: Iterable[str]) -> str:
    """The first form that has at most `LIMIT` characters; the last one must."""
    for form in forms:
        if len(form) <= LIMIT:
            return form
    raise AssertionError("the shortest form is bounded")


def _markdown(review: Review, entries: int) -> str:
    parts = [marker(review), f"### Review of {review.stack}: {headline(review)}", "", counted(review)]
    for error in review.errors[:entries]:
        parts += ["", fence(_cut(error, _MESSAGE))]
    if more := len(review.errors) - entries:
        parts += [f"and {more} more errors"] if more > 0 else []
    for effect in sorted(Effect, reverse=True):
        if changes := review.of(effect):
            parts += ["", *_group(effect, changes, entries)]
    parts += ["", *(f"- {_plain(line)}" for line in lines(review)[:_BOXES])]
    parts += _listed("people's access", review.access or (), entries, span)
    parts += _listed(
        "price of a month",
        review.price.changes,
        entries,
        lambda row: f"{span(row[0])} {amount(row[1], sign=True)} USD",
    )
    parts += _findings(review, entries)
    parts += _diagram(review)
    parts += _details(review, entries)
    return "\n".join(parts) + "\n"


def _group(effect: Effect, changes: Sequence[Change], entries: int) -> list[str]:
    rows = [f"- {span(change.what)} {change.operation}: {_plain(change.why)}" for change in changes[:entries]]
    if len(changes) > entries:
        rows.append(f"- and {len(changes) - entries} more")
    title = f"**{effect.title}** ({len(changes)})"
    if effect > Effect.POD:
        return [title, "", *rows]
    return [f"<details><summary>{effect.title} ({len(changes)})</summary>", "", *rows, "", "</details>"]


def _listed(title: str, rows: Sequence[Any], entries: int, shown: Callable[[Any], str]) -> list[str]:
    if not rows:
        return []
    more = [f"- and {len(rows) - entries} more"] if len(rows) > entries else []
    return ["", f"**{title}**", "", *(f"- {shown(row)}" for row in rows[:entries]), *more]


def _findings(review: Review, entries: int) -> list[str]:
    found = review.said
    if not found:
        return []
    parts = [
        "",
        f"<details{' open' if review.violations else ''}><summary>policies ({len(found)})</summary>",
        "",
    ]
    for each in found[:entries]:
        message = _cut(each.message, _MESSAGE // len(_ENTRIES))
        parts += [f"{span(each.policy)} ({each.level}) {span(each.resource)}", "", fence(message), ""]
    if len(found) > entries:
        parts.append(f"and {len(found) - entries} more")
    return [*parts, "</details>"]


def _diagram(review: Review) -> list[str]:
    """The worst changes as a picture, from the stack to classes to resources; nothing for one or none."""
    worst = [change for change in review.changes if change.effect > Effect.POD]
    if len(worst) < 2:
        return []
    rows = []
    for effect in sorted({change.effect for change in worst}, reverse=True):
        rows.append(f"  stack([{_quoted(review.stack)}]) --> {effect.name}[{_quoted(effect.title)}]")
    for number, change in enumerate(worst[:_BOXES]):
        rows.append(f"  {change.effect.name} -- {change.operation} --> r{number}[{_quoted(change.what)}]")
    if len(worst) > _BOXES:
        rows.append(f"  stack --> more[{_quoted(f'and {len(worst) - _BOXES} more')}]")
    picture = ["```mermaid", "flowchart LR", *rows, "```"]
    return ["", "<details><summary>diagram</summary>", "", *picture, "", "</details>"]


def _details(review: Review, entries: int) -> list[str]:
    changed = [change for change in review.changes if change.properties]
    if not changed:
        return []
    rows = [row for change in changed[:entries] for row in _properties(change, entries)]
    more = [f"and {len(changed) - entries} more resources"] if len(changed) > entries else []
    return ["", "<details><summary>details</summary>", "", fence("\n".join([*rows, *more])), "", "</details>"]


def _properties(change: Change, entries: int) -> Iterable[str]:
    yield _cut(f"{change.operation} {change.what}", _WORD)
    for each in change.properties[:entries]:
        yield _cut(f"    {each.path}: {difference(each.before, each.after)}", 2 * _WORD)
        yield from (f"        {line}" for line in each.lines[:entries][:_LINES])
        if len(each.lines) > min(entries, _LINES):
            yield f"        and {len(each.lines) - min(entries, _LINES)} more lines"
    if len(change.properties) > entries:
        yield f"    and {len(change.properties) - entries} more"


def difference(before: str, after: str) -> str:
    """A changed value in a line."""
    if before == after:  # both are hidden, or the change is in what is not an input
        return f"{after or 'another one'} (changed)"
    return f"{before or '(none)'} -> {after or '(none)'}"


def span(text: str) -> str:
    """A text from a preview as a code span, whatever is in it."""
    line = _cut(" ".join(text.split()), _WORD)
    ticks = "`" * (longest(line) + 1)
    space = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{ticks}{space}{line}{space}{ticks}"


def fence(text: str) -> str:
    """A text as a code block that nothing in it can close."""
    ticks = "`" * max(3, longest(text) + 1)
    return f"{ticks}\n{text}\n{ticks}"


def longest(text: str) -> int:
    """The longest run of backticks."""
    return max(map(len, re.findall("`+", text)), default=0)


def _plain(text: str) -> str:
    return _cut(text, 2 * _WORD).replace("<", "&lt;")


def _quoted(text: str) -> str:
    kept = "".join(c if c.isalnum() or c in " -_./:()" else "?" for c in _cut(text, _WORD // 2))
    return f'"{kept}"'


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 3]}..."


# -- JSON ------------------------------------------------------------------------------------------


def document(review: Review) -> str:
    """The review as JSON."""
    shown = {
        "stack": review.stack,
        "result": headline(review),
        "worst": review.worst.word,
        "exitCode": review.exit_code,
        "counts": dict(review.counts),
        "changes": [
            {
                "effect": change.effect.word,
                "operation": change.operation,
                "resource": change.what,
                "reason": change.why,
                "properties": [vars(each) for each in change.properties],
            }
            for change in review.changes
        ],
        "notComparable": review.not_comparable,
        "outdatedNodes": None if review.outdated is None else list(review.outdated),
        "usdMonthly": None if review.price.delta is None else rounded(review.price.delta),
        "access": None if review.access is None else list(review.access),
        "policies": None if review.findings is None else [vars(each) for each in review.findings],
        "errors": list(review.errors),
        "notes": list(review.notes),
        "toBeAcknowledged": [effect.word for effect in review.unacknowledged],
    }
    return json.dumps(shown, indent=2, ensure_ascii=False)


# -- terminal --------------------------------------------------------------------------------------

_STYLES = {
    Effect.DATA: "bold red",
    Effect.CONTROL_PLANE: "red",
    Effect.ACCESS: "yellow",
    Effect.NODE: "yellow",
}


def show(review: Review) -> None:
    """Print to a terminal with its colors, and plainly into a pipe."""
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False, soft_wrap=True)

    def put(text: str, style: str = "") -> None:
        console.print(Text(text, style=style))

    put(f"{review.stack}: {headline(review)}{f' ({counted(review)})' if review.counts else ''}", "bold")
    for error in review.errors:
        put(error, "red")
    for effect in sorted(Effect, reverse=True):
        if changes := review.of(effect):
            put(f"\n{effect.title} ({len(changes)})", _STYLES.get(effect, "bold"))
        for change in changes:
            put(f"  {change.operation} {change.what}: {change.why}")
            for each in change.properties if effect > Effect.POD else ():
                put(f"      {each.path}: {difference(each.before, each.after)}", "dim")
                for line in each.lines[:_LINES]:
                    put(f"          {line}", "dim")
    for title, rows in (("people's access", review.access), ("price of a month", _prices(review))):
        if rows:
            put(f"\n{title}", "bold")
        for row in rows or ():
            put(f"  {row}")
    for found in review.said:
        put(
            f"\npolicy {found.policy} ({found.level}) {found.resource}\n  {found.message}",
            "red" if found.level != "advisory" else "",
        )
    put("")
    for line in lines(review):
        put(line)


def _prices(review: Review) -> list[str]:
    return [f"{name}: {amount(delta, sign=True)} USD" for name, delta in review.price.changes]
