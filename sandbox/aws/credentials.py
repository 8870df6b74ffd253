"""The credentials of the instances' roles, as EC2 hands them out through the metadata service.

They are made here and nowhere stored: who restarts this process gives every node new ones.
"""

from __future__ import annotations

import base64
import secrets
import string
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

LIFETIME = timedelta(hours=6)
# EC2 promises new credentials at least five minutes before the old ones end.
# Source: "Retrieve security credentials from instance metadata" in the EC2 user guide.
RENEWAL = timedelta(minutes=15)
_KEY_ID_LETTERS = string.ascii_uppercase + "234567"

Clock = Callable[[], datetime]


@dataclass(frozen=True)
class RoleCredentials:
    """One temporary set. Its secrets are kept out of tracebacks and logs."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    token: str = field(repr=False)
    issued: datetime
    expires: datetime


class RoleKeys:
    """Issues and finds the sets of all instances. A set that was renewed is good until it expires."""

    def __init__(self, now: Clock = lambda: datetime.now(UTC)) -> None:
        self.now = now
        self._lock = threading.Lock()
        self._sets: dict[str, deque[RoleCredentials]] = {}  # instance id -> the one before, the live one

    def issue(self, instance_id: str) -> RoleCredentials:
        """The live set of an instance; a new one when there is none or it nears its end."""
        with self._lock:
            issued = self._sets.setdefault(instance_id, deque(maxlen=2))
            if not issued or issued[-1].expires - self.now() <= RENEWAL:
                issued.append(_made(self.now()))
            return issued[-1]

    def find(self, access_key_id: str) -> tuple[str, RoleCredentials] | None:
        """Whose key this is, and the set; expired ones are found too, so that they can be told apart."""
        with self._lock:
            held = ((instance_id, each) for instance_id, issued in self._sets.items() for each in issued)
            return next((found for found in held if found[1].access_key_id == access_key_id), None)


def _made(now: datetime) -> RoleCredentials:
    return RoleCredentials(
        access_key_id="ASIA" + "".join(secrets.choice(_KEY_ID_LETTERS) for _ in range(16)),
        secret_access_key=base64.b64encode(secrets.token_bytes(30)).decode(),
        token=base64.b64encode(secrets.token_bytes(330)).decode(),
        issued=now,
        expires=now + LIFETIME,
    )
