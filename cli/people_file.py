"""The list of people as a file that people read: edited with its comments, order and style kept.

Nothing is written that the program would refuse.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cli import round_trip
from cli.differences import difference
from cli.errors import CommandError
from cli.stackfile import (
    CLIENT_SECRET,
    HASHES,
    PEOPLE,
    PEOPLE_FILE,
    config_in,
    loaded,
    rewrite,
    text_of,
)
from config.model import Settings
from config.people import default_namespace
from config.problems import SettingsError

_PREFIX = "kubepark:"
_CONNECTORS, _CONNECTOR_SECRETS = "kubepark:connectors", "kubepark:connectorSecrets"
# Whoever reads the list cannot decrypt; what is encrypted counts as right.
_HASH = "$2b$12$" + "." * 53
_SECRET = "." * 64


class PeopleFile:
    """The list of one stack: in Pulumi.<stack>.yaml, or in the file that `kubepark:peopleFile` names."""

    def __init__(self, root: Path, stack: str) -> None:
        self.root, self.stack = root, stack
        self._stack_file = root / f"Pulumi.{stack}.yaml"
        self.config = config_in(self._stack_file.name, self._read(self._stack_file))
        named = self.config.get(PEOPLE_FILE)
        self.path = root / str(named) if named else self._stack_file
        self.before = self._read(self.path)
        self._listed(self.before)
        self._document: Any = round_trip.load(self.before) or ([] if named else {})

    # -- reading -----------------------------------------------------------------------------------

    @property
    def people(self) -> list[Any]:
        """The entries, as they are in the file; to be changed in place."""
        listed: list[Any] = self._document
        if self.path == self._stack_file:
            listed = round_trip.part(round_trip.part(self._document, "config", {}), PEOPLE, [])
        return listed

    def _listed(self, text: str) -> list[Any]:
        """The list in the file's text, as the program reads it. Raises `CommandError` for what is none."""
        if self.path != self._stack_file:
            found = loaded(self.path.name, text)
        else:
            found = config_in(self.path.name, text).get(PEOPLE)
        if not isinstance(found or [], list):
            raise CommandError(f"{self.path.name}: the people are no list; accepted: a list of entries")
        return found or []

    def person(self, name: str) -> dict[str, Any]:
        """The entry of somebody. Raises `CommandError` with the nearest name."""
        known = {str(entry.get("name")): entry for entry in self.people if isinstance(entry, dict)}
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f" (did you mean {near[0]}?)" if near else ""
            listed = ", ".join(known) or "nobody"
            raise CommandError(f"{name} is not in {self.path.name}{hint}; there: {listed}")
        return known[name]

    # -- writing -----------------------------------------------------------------------------------

    def text(self) -> str:
        """The file as it would be now."""
        return round_trip.dump(self._document, self.before)

    def difference(self) -> str:
        """The change as a unified diff without secrets; empty where there is none."""
        return difference(self.before, self.text(), self.path.name)

    def settings(self) -> Settings:
        """The stack's settings as the list is now. Raises `CommandError` with everything that is wrong."""
        try:
            return self._parsed()
        except SettingsError as error:
            raise CommandError(str(error)) from None

    def check(self) -> None:
        """Raises `CommandError` with every problem that the changed list would have."""
        try:
            self._parsed()
        except SettingsError as error:
            about = (f"{PEOPLE}", "kubepark:groups", "kubepark:passwordHashes")
            found = [each for each in error.problems if each.key.startswith(about)]
            lines = [f"  - {each.key}: {each.wrong}; accepted: {each.accepted}" for each in found]
            if lines:
                raise CommandError("\n".join([f"{self.path.name} was not changed:", *lines])) from None

    def _parsed(self) -> Settings:
        from config import settings  # only here: most commands check nothing

        return settings.parse(self.stack, self._configuration())

    def _configuration(self) -> dict[str, Any]:
        """The stack's configuration with the changed list, and with stand-ins for what is encrypted."""
        config = {
            key.removeprefix(_PREFIX): value for key, value in self.config.items() if key.startswith(_PREFIX)
        }
        config.pop(PEOPLE_FILE.removeprefix(_PREFIX), None)
        people = self._listed(self.text())
        names = [entry.get("name") for entry in people if isinstance(entry, dict)]
        connectors = [each for each in self.config.get(_CONNECTORS) or [] if isinstance(each, dict)]
        hashes = {str(name): _HASH for name in names if name}
        if connectors:  # whoever has no password then needs none
            own = self.config.get(HASHES)
            hashes = {name: _HASH for name in hashes if isinstance(own, dict) and name in own}
        secret = {
            HASHES: hashes,
            CLIENT_SECRET: _SECRET,
            _CONNECTOR_SECRETS: {str(each.get("id")): _SECRET for each in connectors},
        }
        return config | {"people": people} | {k.removeprefix(_PREFIX): v for k, v in secret.items()}

    def write(self) -> None:
        """Replace the file in one go."""
        rewrite(self.path, self.text())

    def _read(self, path: Path) -> str:
        try:
            return text_of(path)
        except FileNotFoundError:
            where = "" if path == self._stack_file else f", which Pulumi.{self.stack}.yaml names"
            raise CommandError(f"{path.name} does not exist{where}; the stack is chosen by --stack") from None


def put(entry: dict[str, Any], fields: Mapping[str, Any]) -> None:
    """Set what is given, and take away what is None."""
    for key, value in fields.items():
        if value is None:
            entry.pop(key, None)
        elif entry.get(key) != value:
            entry[key] = value


def append(listed: list[Any], entry: dict[str, Any]) -> None:
    """One more entry, on one line if the last one is."""
    from ruamel.yaml.comments import CommentedMap

    made = CommentedMap(entry)
    last = listed[-1] if listed else None
    if isinstance(last, CommentedMap) and last.fa.flow_style():
        made.fa.set_flow_style()
    listed.append(made)


def rows(people: list[Any], config: Mapping[str, Any]) -> list[dict[str, str]]:
    """One row for each person, defaults filled in, as `people list` shows it. `config`: the stack's."""
    spelled = str if config.get(_CONNECTORS) else str.lower
    found = []
    for entry in (each for each in people if isinstance(each, dict)):
        role = str(entry.get("role") or "member")
        email = spelled(str(entry.get("email") or ""))
        quota = "quota" if entry.get("quota") else str(entry.get("tier") or "small")
        namespace = str(entry.get("namespace") or default_namespace(email))
        state = str(entry.get("state") or "active")
        found.append(
            {
                "name": str(entry.get("name") or ""),
                "email": email,
                "role": role,
                "tier": "-" if role == "viewer" else quota,
                "state": f"{state} ({entry['data']})" if entry.get("data") else state,
                "groups": ",".join(map(str, entry.get("groups") or [])) or "-",
                "namespace": "-" if role == "viewer" else namespace,
            }
        )
    return found
