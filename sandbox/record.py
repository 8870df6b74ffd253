"""Status records: how a node says where it is, in at most 4,000 bytes and without secrets."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

RECORD_BYTES = 4000  # a standard parameter holds 4,096 characters
_SECRETS = (
    re.compile(r"\b[a-z0-9]{6}\.[a-z0-9]{16}\b"),  # bootstrap token
    re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"),  # access key id
    re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL),
    re.compile(r"(?=[A-Za-z0-9+/]*[A-Z])(?=[A-Za-z0-9+/]*[a-z])[A-Za-z0-9+/]{40,}={0,2}"),
)


def mask(text: str) -> str:
    """`text` without anything that looks like a credential."""
    for pattern in _SECRETS:
        text = pattern.sub("[masked]", text)
    return text


def rfc3339(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Who speaks: the part of a record that stays the same during one attempt."""

    instance_id: str
    node: str
    generation: int
    boot_id: str
    attempt: int
    since: datetime  # when the attempt began


def encode(origin: Origin, phase: str, step: str, rc: int = 0, message: str = "") -> str:
    """One record as JSON. A long message keeps its end: that is where the error is."""
    message = mask(message).replace("{{", "{ {")  # Parameter Store refuses "{{"
    fields: dict[str, Any] = {
        "schema": 1,
        "instanceId": origin.instance_id,
        "node": origin.node,
        "generation": origin.generation,
        "bootId": origin.boot_id,
        "attempt": origin.attempt,
        "since": rfc3339(origin.since),
        "phase": phase,
        "step": step,
        "rc": rc,
        "message": message,
        "at": rfc3339(datetime.now(UTC)),
    }
    while len(text := json.dumps(fields)) > RECORD_BYTES:  # ASCII: characters are bytes
        message = message[max(1, len(message) // 10) :]
        fields["message"] = message
    return text
