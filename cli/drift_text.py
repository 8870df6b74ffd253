"""Drift as text: for a terminal, as Markdown for an issue, as JSON. Pure, and in a stable order."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

from cli.review_text import difference, span, within_limit

if TYPE_CHECKING:
    from cli.drift import Difference, Drift

_ENTRIES = (500, 100, 20)  # how many resources, and properties of each, from the most that is tried


def marker(stack: str) -> str:
    """What an issue begins with, so that the next run for the same stack finds it."""
    return f"<!-- kubepark drift {stack} -->"


def headline(found: Drift) -> str:
    """The result in a few words."""
    if not found.differences:
        return "no drift"
    gone = sum(each.gone for each in found.differences)
    counts = ((len(found.differences) - gone, "changed"), (gone, "gone"))
    return f"drift: {', '.join(f'{count} {word}' for count, word in counts if count)}"


def notes(found: Drift) -> list[str]:
    """What is said besides, a line each."""
    said = [f"compared: {found.compared} resources"]
    said += [f"not compared: {what} ({count})" for what, count in found.not_compared.items()]
    if found.pending:
        said.append(
            f"{found.pending} operations of an update that runs, or was killed, are not in this; "
            f"`bin/kubepark up --stack {found.stack}` settles those of a killed one"
        )
    if found.differences:
        said.append(
            f"`bin/kubepark up --stack {found.stack} --refresh` puts it back; what is meant belongs into the "
            "stack's settings"
        )
    return said


def terminal(found: Drift) -> str:
    rows = [row for each in found.differences for row in _plain(each)]
    return "\n".join([f"{found.stack}: {headline(found)}", *rows, *notes(found)])


def markdown(found: Drift) -> str:
    """The body of an issue, in at most `LIMIT` characters."""
    return within_limit(_markdown(found, entries) for entries in _ENTRIES)


def document(found: Drift) -> str:
    """As JSON."""
    shown = {
        "stack": found.stack,
        "drift": bool(found.differences),
        "differences": [
            {
                "resource": each.what,
                "id": each.id,
                "gone": each.gone,
                "properties": [
                    {"path": one.path, "before": one.before, "after": one.after} for one in each.properties
                ],
            }
            for each in found.differences
        ],
        "compared": found.compared,
        "notCompared": dict(found.not_compared),
        "pending": found.pending,
    }
    return json.dumps(shown, indent=2, ensure_ascii=False)


def _plain(each: Difference) -> Iterator[str]:
    yield f"  {each.what} ({each.id}) {'is gone' if each.gone else 'is changed'}"
    for one in each.properties:
        yield f"      {one.path}: {difference(one.before, one.after)}"


def _markdown(found: Drift, entries: int) -> str:
    rows = []
    for each in found.differences[:entries]:
        rows.append(f"- {span(each.what)} ({span(each.id)}) {'is gone' if each.gone else 'is changed'}")
        rows += [
            f"  - {span(one.path)}: {span(difference(one.before, one.after))}"
            for one in each.properties[:entries]
        ]
        if len(each.properties) > entries:
            rows.append(f"  - and {len(each.properties) - entries} more")
    if len(found.differences) > entries:
        rows.append(f"- and {len(found.differences) - entries} more resources")
    said = [f"- {note}" for note in notes(found)]
    title = f"### {found.stack}: {headline(found)}"
    return "\n".join([marker(found.stack), title, "", *rows, *([""] if rows else []), *said]) + "\n"
