"""Figures of one bench run: what was measured, what is allowed, how it reads."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class Sample:
    """One measurement: elapsed seconds, and processor seconds of all processes that took part."""

    seconds: float
    processor: float


@dataclass(frozen=True)
class Row:
    """A line of the table. `limit` None: information only."""

    name: str
    value: float
    unit: str
    limit: float | None = None
    note: str = ""

    @property
    def ok(self) -> bool:
        return self.limit is None or self.value <= self.limit

    @property
    def result(self) -> str:
        if self.limit is None:
            return ""
        return "PASS" if self.ok else "over limit"


def timed(action: Callable[[], object]) -> Sample:
    """Run `action` in child processes and wait for them all.

    Processor time counts what has ended and was waited for, so daemons do not count.
    """
    before, began = _children(), time.perf_counter()
    action()
    return Sample(time.perf_counter() - began, _children() - before)


def middle(samples: Sequence[Sample]) -> Sample:
    """The median of each figure by itself."""
    return Sample(median(s.seconds for s in samples), median(s.processor for s in samples))


def table(rows: Sequence[Row]) -> str:
    """Aligned text, one line for each row."""
    lines = [f"{'measured':<44} {'value':>9}  {'limit':>7}  result"]
    for row in rows:
        value = f"{row.value:.2f} {row.unit}".rstrip()
        limit = "" if row.limit is None else f"{row.limit:g} {row.unit}".rstrip()
        lines.append(f"{row.name:<44} {value:>9}  {limit:>7}  {row.result:<10} {row.note}".rstrip())
    return "\n".join(lines)


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
