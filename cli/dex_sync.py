"""Accounts of ours in a Dex configuration file that is somebody else's: text in, text out. Pure.

An entry is ours by its userID, and only ours is added, changed or taken away. Everything else stays:
comments, order, keys that nobody here knows.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from cli import round_trip
from cli.errors import CommandError

LIST, SWITCH = "staticPasswords", "enablePasswordDB"


@dataclass(frozen=True, kw_only=True)
class Account:
    """One of ours. The hash is inline: a Dex of others has no environment of ours to take it from."""

    email: str
    username: str
    user_id: str
    hash: str = field(repr=False)

    def entry(self) -> dict[str, str]:
        return {"email": self.email, "hash": self.hash, "username": self.username, "userID": self.user_id}


class SyncRefused(CommandError):
    """The file cannot be brought up to date. The text lists every reason."""

    def __init__(self, reasons: Sequence[str]) -> None:
        lines = "\n".join(f"  - {reason}" for reason in reasons)
        super().__init__(f"Dex's configuration was not changed:\n{lines}")


def synced(text: str, accounts: Sequence[Account], before: Collection[str]) -> str:
    """The file with `accounts` and none else of ours; the very same text where nothing is to do.

    `before`: userIDs that we wrote in earlier runs. Raises `SyncRefused`.
    """
    document, listed = _read(text)
    ours = {*before, *(account.user_id for account in accounts)}
    theirs = [entry for entry in listed if entry.get("userID") not in ours]
    _check(document, theirs, accounts)
    if not _apply(listed, accounts, ours):
        return text
    if LIST not in document:
        document[LIST] = listed
    return round_trip.dump(document, text)


def _read(text: str) -> tuple[Any, list[Any]]:
    from ruamel.yaml.error import YAMLError

    try:
        document = round_trip.load(text)
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}" if mark else ""
        raise SyncRefused([f"it is not YAML{where}; accepted: the file that Dex starts with"]) from None
    if not isinstance(document, dict):
        raise SyncRefused(["it is no mapping; accepted: the file that Dex starts with"])
    listed = document.get(LIST) if document.get(LIST) is not None else []
    if not isinstance(listed, list) or not all(isinstance(entry, dict) for entry in listed):
        raise SyncRefused([f"{LIST} is no list of entries; accepted: a list, or nothing"])
    return document, listed


def _check(document: Any, theirs: Sequence[Any], accounts: Sequence[Account]) -> None:
    reasons = []
    if accounts and document.get(SWITCH) is not True:
        reasons.append(
            f"{SWITCH} is not true, so Dex would not start with {LIST}; set it, or use a connector"
        )
    taken = {str(entry.get("email", "")).lower(): entry for entry in theirs}
    for account in accounts:
        if same := taken.get(account.email.lower()):
            other = same.get("username") or same.get("userID")
            reasons.append(
                f"{account.email} ({account.username}) is an account there already, as {other}: of two with "
                "one e-mail Dex lets the last win; remove one of them"
            )
    if reasons:
        raise SyncRefused(reasons)


def _apply(listed: list[Any], accounts: Sequence[Account], ours: Collection[str]) -> bool:
    """Change the entries in place; whether anything changed."""
    wanted = {account.user_id: account.entry() for account in accounts}
    changed = False
    for entry in [each for each in listed if each.get("userID") in ours]:
        fields = wanted.pop(str(entry["userID"]), None)
        if fields is None:
            listed.remove(entry)
            changed = True
        elif any(entry.get(key) != value for key, value in fields.items()):
            entry.update(fields)
            changed = True
    listed.extend(wanted.values())
    return changed or bool(wanted)
