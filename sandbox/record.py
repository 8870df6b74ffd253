"""Status records: how a node says where it is, in at most 4,000 bytes and without secrets."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
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


def encode(origin: Mapping[str, Any], phase: str, step: str, rc: int = 0, message: str = "") -> str:
    """One record as JSON. A long message keeps its end: that is where the error is.

    `origin` is the part that stays the same during one attempt: who speaks, and since when.
    """
    message = mask(message).replace("{{", "{ {")  # Parameter Store refuses "{{"
    said = {"phase": phase, "step": step, "rc": rc, "message": message, "at": rfc3339(datetime.now(UTC))}
    fields = {"schema": 1, **origin, **said}
    while len(text := json.dumps(fields)) > RECORD_BYTES:  # ASCII: characters are bytes
        message = message[max(1, len(message) // 10) :]
        fields["message"] = message
    return text
