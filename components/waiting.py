"""Waiting for a node by its status record: a pure loop, with time passed in.

A record counts only if it is the instance's own and of the planned generation; anything older is
from a node that is gone. Nodes try again by themselves, and a package mirror that is away for a minute
heals, so a failure is a warning at first: it is an error once the same step has failed three times, or
at once where the step says that it cannot heal. A failure that is there when the wait begins, or of an
attempt that was under way then, may have a cause that was fixed since, and does not count at all.

Messages do not name their node: they are logged on its instance, which whoever shows them names.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Set
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

Record = Mapping[str, Any]
Attempt = tuple[str, int]  # boot id and count: a reboot counts anew
Read = Callable[[], Awaitable[Mapping[str, Record]]]  # node name -> record; missing: none yet
Sleep = Callable[[float], Awaitable[None]]
Clock = Callable[[], float]
Today = Callable[[], datetime]
Log = Callable[[str, str], None]  # level (info, warning, error), message

READY_PHASES = frozenset({"joined", "api-ready"})
POLL_SECONDS = 2.0
# An attempt that began so long before the wait is not of a machine that this update made. More than
# clocks differ, and than the time between a machine's creation and the first look at it.
UNDER_WAY = timedelta(seconds=30)

TRIES = 3  # failures of one step
# How a step ends that would fail again. Source: sysexits.h, EX_NOPERM and EX_CONFIG.
CANNOT_HEAL = frozenset({77, 78})

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
    """A record as one readable line: step, exit code and the node's message."""
    message = str(record.get("message", "")).strip()[:3000]
    how = f"exit {record.get('rc')}, attempt {record.get('attempt')}"
    return f"step {record.get('step')} failed ({how}): {message}"


def owned(expected: Expected, record: Record | None) -> Record | None:
    """The record if it is this instance's and this generation's."""
    if record is None or record.get("instanceId") != expected.instance_id:
        return None
    return record if record.get("generation") == expected.generation else None


async def wait(
    node: Expected,
    read: Read,
    *,
    sleep: Sleep,
    clock: Clock,
    today: Today,
    seconds: float,
    log: Log,
) -> str | None:
    """Poll until the node is ready, has failed, or `seconds` have gone by; each message is logged once.

    Returns what went wrong, or None. Never raises for a node.
    """
    end = clock() + seconds
    last: Record | None = None
    baseline: Attempt | None = None  # failed, or may fail, for a reason from before the wait
    failed: dict[str, set[Attempt]] = {}  # by step
    logged: set[str] = set()
    first = True
    while True:
        record = owned(node, (await read()).get(node.name))
        if record is not None:
            last = record
            if first and not _is_fresh(record, today()):
                baseline = _attempt(record)
            if record.get("phase") == "failed" and _attempt(record) != baseline:
                failed.setdefault(str(record.get("step")), set()).add(_attempt(record))
            level, message = _evaluate(record, failed)
            if message not in logged:
                logged.add(message)
                log(level, message)
            if record.get("phase") in READY_PHASES:
                return None
            if level == "error":
                return message
        if clock() >= end:
            waited = f"not ready after {seconds / 60:g} min"
            log("error", waited)  # the rest follows at once, with all other nodes that did not come
            return f"{waited}; {SILENCE if last is None else _last_heard(last)}"
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


def _evaluate(record: Record, failed: Mapping[str, Set[Attempt]]) -> tuple[str, str]:
    """The level and the message of a record. `failed`: the attempts that count, by step."""
    phase, attempt = record.get("phase"), _attempt(record)
    if phase in READY_PHASES:
        return "info", str(phase)
    if phase != "failed":
        return "info", f"{record.get('step')} (attempt {attempt[1]})"
    tries = failed.get(str(record.get("step")), frozenset())
    if attempt in tries and (len(tries) >= TRIES or record.get("rc") in CANNOT_HEAL):
        return "error", describe(record)
    return "warning", f"{describe(record)}; it tries again"


def _last_heard(record: Record) -> str:
    if record.get("phase") == "failed":
        return describe(record)
    heard = [f"step {record.get('step')}", record.get("message")]  # what it waits for
    return f"last heard at {record.get('at')}: {': '.join(str(each) for each in heard if each)}"
