"""How long nodes ran, from the versions of the power record. Pure.

The record tells of parks and unparks through kubepark. What somebody stops in the console is not in it, and
what was before its oldest version is not known.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

DAYS = 30
_DAY = timedelta(days=1)


@dataclass(frozen=True, kw_only=True)
class Version:
    """The record as it was from a time on. `by`: who wrote it; `parked`: None if it cannot be read."""

    at: datetime
    by: str
    parked: frozenset[str] | None


@dataclass(frozen=True)
class History:
    """The versions that are kept, the oldest first. `whole`: the first of all is among them."""

    versions: tuple[Version, ...]
    whole: bool

    @property
    def since(self) -> datetime | None:
        """From when on it is known who was parked; None: at no time."""
        known = None
        for version in self.versions:
            known = None if version.parked is None else known or version.at
        return known

    def parked(self, node: str) -> Version | None:
        """The version that a node which is parked now has been parked since; None if it is not.

        It may have been parked for longer where that is the oldest version that is known.
        """
        since = None
        for version in self.versions:
            there = version.parked is not None and node in version.parked
            since = (since or version) if there else None
        return since


@dataclass(frozen=True, kw_only=True)
class Hours:
    """How long one node ran in the last `DAYS` days.

    `daily`: hours in each 24 hours, the last of which end now; None where nothing of them is known.
    """

    since: datetime
    daily: tuple[float | None, ...]

    @property
    def total(self) -> float:
        return sum(each for each in self.daily if each is not None)


def hours(history: History, node: str, made: datetime, now: datetime) -> Hours | None:
    """How long a node ran that was `made` then; None if nothing is known of these days."""
    begin = now - DAYS * _DAY
    if history.since is None:
        return None
    since = max(begin, history.since, made)
    if since >= now:
        return None
    running = list(_running(history.versions, node, since, now))
    daily = []
    for day in range(DAYS):
        start, end = begin + day * _DAY, begin + (day + 1) * _DAY
        inside = sum((_overlap(span, (start, end)) for span in running), timedelta())
        daily.append(None if end <= since else inside / timedelta(hours=1))
    return Hours(since=since, daily=tuple(daily))


def _running(
    versions: Sequence[Version], node: str, since: datetime, now: datetime
) -> Iterator[tuple[datetime, datetime]]:
    """The times between `since` and now in which the record did not have the node parked."""
    ends = [*(version.at for version in versions[1:]), now]
    for version, end in zip(versions, ends, strict=True):
        if version.parked is not None and node not in version.parked and end > since:
            yield max(version.at, since), end


def _overlap(one: tuple[datetime, datetime], other: tuple[datetime, datetime]) -> timedelta:
    return max(timedelta(), min(one[1], other[1]) - max(one[0], other[0]))
