"""Waiting for nodes by their own words: pure loops over status records, with time passed in.

A record counts only if it is the instance's own and of the planned generation; anything older is
from a node that is gone. A failure that is there when the wait begins, or of an attempt that was under
way then, may be of a cause that was mended since (nodes retry by themselves), so it is a warning until
the node has tried again.

Texts do not name their node: they are said of its instance, and whoever shows them says of which.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

Record = Mapping[str, Any]
Attempt = tuple[str, int]  # boot id and count: a reboot counts anew
Read = Callable[[], Awaitable[Mapping[str, Record]]]  # node name -> record; missing: none yet
Sleep = Callable[[float], Awaitable[None]]
Clock = Callable[[], float]
Today = Callable[[], datetime]
Say = Callable[[str, str, str], None]  # level (info, warning, error), node, text

READY_PHASES = frozenset({"joined", "api-ready"})
POLL_SECONDS = 2.0
# An attempt that began so long before the wait is not of a machine that this update made. More than
# clocks differ, and than the time between a machine's creation and the first look at it.
UNDER_WAY = timedelta(seconds=30)

SILENCE = (
    "it never reported. Check: its subnet's route to the internet and the egress rule (packages and AWS "
    "must be reachable), its role's policy and the key's (ssm:PutParameter on its own status), and that "
    "the AMI is the platform's"
)


@dataclass(frozen=True)
class Expected:
    """A node that is waited for: records of another instance or generation are not its own."""

    name: str
    instance_id: str
    generation: int


@dataclass
class Verdict:
    """How the wait for one node stands. `error` is set when it has failed for good."""

    ready: bool = False
    error: str | None = None
    baseline: Attempt | None = None  # failed, or may fail, for a reason from before the wait
    last: Record | None = None
    said: set[str] = field(default_factory=set)

    @property
    def settled(self) -> bool:
        return self.ready or self.error is not None


def parse_record(text: str) -> Record | None:
    """A status record, or None for a placeholder or anything that is not a record (untrusted text)."""
    try:
        record = json.loads(text)
    except json.JSONDecodeError:
        return None
    if not isinstance(record, dict) or "instanceId" not in record:
        return None
    return record


def describe(record: Record) -> str:
    """A record as one readable line: step, exit code and the node's own words."""
    message = str(record.get("message", "")).strip()[:3000]
    how = f"exit {record.get('rc')}, attempt {record.get('attempt')}"
    return f"step {record.get('step')} failed ({how}): {message}"


def owned(expected: Expected, record: Record | None) -> Record | None:
    """The record if it is this instance's and this generation's."""
    if record is None or record.get("instanceId") != expected.instance_id:
        return None
    return record if record.get("generation") == expected.generation else None


async def wait(
    nodes: tuple[Expected, ...],
    read: Read,
    *,
    sleep: Sleep,
    clock: Clock,
    today: Today,
    seconds: float,
    say: Say,
) -> dict[str, Verdict]:
    """Poll until every node is ready, has failed, or `seconds` have gone by. Never raises for a node."""
    verdicts = {node.name: Verdict() for node in nodes}
    end = clock() + seconds
    first = True
    while True:
        records = await read()
        for node in nodes:
            verdict, record = verdicts[node.name], owned(node, records.get(node.name))
            if first and record is not None and not _is_fresh(record, today()):
                verdict.baseline = _attempt(record)
            if not verdict.settled:
                judge(node, verdict, record, say=say)
        if all(verdict.settled for verdict in verdicts.values()):
            return verdicts
        if clock() >= end:
            for node in nodes:
                _expire(node, verdicts[node.name], seconds, say)
            return verdicts
        first = False
        await sleep(min(POLL_SECONDS, max(0.0, end - clock())))


def _attempt(record: Record) -> Attempt:
    return str(record.get("bootId")), int(record.get("attempt") or 0)


def _is_fresh(record: Record, now: datetime) -> bool:
    """Whether what the record tells of began with the wait, and not under conditions of before."""
    if record.get("phase") == "failed" or _attempt(record)[1] > 1:
        return False
    try:
        began = datetime.strptime(str(record.get("since")), "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError:  # of a node whose scripts are older than this field
        return True
    return now - began < UNDER_WAY


def judge(node: Expected, verdict: Verdict, record: Record | None, *, say: Say) -> None:
    """Take one record into account."""
    if record is None:
        return
    verdict.last = record
    phase, attempt = record.get("phase"), _attempt(record)
    if phase in READY_PHASES:
        verdict.ready = True
        say("info", node.name, str(phase))
    elif phase == "failed" and attempt != verdict.baseline:
        verdict.error = describe(record)
        say("error", node.name, verdict.error)
    elif phase == "failed":
        _say_once(verdict, "warning", node, f"{describe(record)}; waiting for its next attempt", say)
    else:
        _say_once(verdict, "info", node, f"{record.get('step')} (attempt {attempt[1]})", say)


def _say_once(verdict: Verdict, level: str, node: Expected, text: str, say: Say) -> None:
    if text not in verdict.said:
        verdict.said.add(text)
        say(level, node.name, text)


def _expire(node: Expected, verdict: Verdict, seconds: float, say: Say) -> None:
    if verdict.settled:
        return
    waited = f"not ready after {seconds / 60:g} min"
    if verdict.last is None:
        verdict.error = f"{waited}; {SILENCE}"
    elif verdict.last.get("phase") == "failed":
        verdict.error = f"{waited}; {describe(verdict.last)}"
    else:
        heard = [f"step {verdict.last.get('step')}", verdict.last.get("message")]  # what it waits for
        words = ": ".join(str(each) for each in heard if each)
        verdict.error = f"{waited}; last heard at {verdict.last.get('at')}: {words}"
    say("error", node.name, waited)  # the rest follows at once, with all other nodes that did not come
