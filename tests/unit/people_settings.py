"""People of a stack for tests, through the reader of the configuration."""

from __future__ import annotations

from typing import Any

from config import settings
from config.model import Settings
from config.problems import SettingsError
from tests.configuration import HASH, configuration


def people_config(listed: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    """The configuration of a stack with these people, each with a hash. `more` as in `configuration`."""
    hashes = {str(person.get("name")): HASH for person in listed if person.get("name")}
    return configuration(**{"people": listed, "passwordHashes": hashes, **more})


def load(people: list[dict[str, Any]], **more: Any) -> Settings:
    return settings.parse("dev", people_config(people, **more))


def problems(people: list[dict[str, Any]], **more: Any) -> list[str]:
    """What is wrong, without the fixes, which test_settings looks at."""
    try:
        load(people, **more)
    except SettingsError as error:
        return [f"{problem.key}: {problem.wrong}; accepted: {problem.accepted}" for problem in error.problems]
    return []


def person(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "email": f"{name}@example.org", **more}
