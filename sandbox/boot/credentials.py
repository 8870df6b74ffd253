"""Role credentials of instances: what the metadata service hands out and the gate checks."""

from __future__ import annotations

import secrets
import string
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

_LIFE = timedelta(hours=6)  # as EC2 issues them
_RENEW = timedelta(hours=1)  # new ones are there before the old ones end
_LETTERS = string.ascii_uppercase + string.digits


@dataclass(frozen=True)
class RoleCredentials:
    """One set of temporary credentials."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    token: str = field(repr=False)
    expires: datetime


class RoleKeys:
    """The credentials of all instances of one sandbox, in memory only."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._current: dict[str, RoleCredentials] = {}
        self._owners: dict[str, tuple[str, RoleCredentials]] = {}

    def issue(self, instance_id: str) -> RoleCredentials:
        """What the instance's metadata service shows now; the same until shortly before they end."""
        with self._lock:
            found = self._current.get(instance_id)
            if found is None or found.expires - datetime.now(UTC) < _RENEW:
                key = "ASIA" + "".join(secrets.choice(_LETTERS) for _ in range(16))
                expires = datetime.now(UTC).replace(microsecond=0) + _LIFE
                found = RoleCredentials(key, secrets.token_urlsafe(30), secrets.token_urlsafe(120), expires)
                self._current[instance_id] = found
                self._owners[key] = (instance_id, found)
            return found

    def find(self, access_key_id: str) -> tuple[str, RoleCredentials] | None:
        """Whose key this is; None if it was never issued."""
        with self._lock:
            return self._owners.get(access_key_id)
