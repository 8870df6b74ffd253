"""Reading nested configuration so that every problem is found in one go.

A `Section` wraps one object of the stack configuration. Each getter takes the key's value, checks
it, and on a problem records it and returns a stand-in, so that reading goes on. `finish()` names
the keys that nobody asked for. The caller raises once, at the end.
"""

from __future__ import annotations

import difflib
import json
import re
import unicodedata
from collections.abc import Callable, Collection, Iterable, Mapping
from itertools import count
from pathlib import PurePosixPath
from typing import Any, TypeVar

from config.problems import Problems, joined

T = TypeVar("T")


class Encrypted(str):
    """A value that nobody here can decrypt: its form counts as right. The text is no part of it."""


class Partial(dict[str, Any]):
    """An object of which not everything can be read; what is missing may be there."""


_REQUIRED = object()
_DIGITS = re.compile("[0-9]+")  # isdigit() also takes those of other scripts
# Controls (line breaks, too), what changes the direction or has no width, separators of lines and paragraphs.
_HIDDEN = frozenset({"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"})


class Section:
    """One object of the configuration: `kubepark:network` or a part of it."""

    def __init__(self, problems: Problems, path: str, raw: Any) -> None:
        self.problems = problems
        self.path = path
        self._asked: set[str] = set()
        if isinstance(raw, Encrypted):
            problems.add_unreadable(path)
            raw = Partial()
        self.partial = isinstance(raw, Partial)
        if raw is None:
            raw = {}
        if not isinstance(raw, Mapping):
            problems.add(path, f"{shown(raw)} is not an object", "an object of keys and values", None)
            raw, self.problems = {}, Problems(problems.stack)  # of what is inside nothing is known
        self.raw: Mapping[str, Any] = raw

    def key(self, key: str) -> str:
        return joined(self.path, key)

    def refuse(self, key: str, wrong: str, accepted: str, example: str | int | None) -> None:
        """Record a problem with the value of `key`; see `Problems.add`."""
        self.problems.add(self.key(key), wrong, accepted, example)

    def names(self) -> list[str]:
        return sorted(str(key) for key in self.raw)

    def has(self, key: str) -> bool:
        return self.raw.get(key) is not None

    def take(self, key: str) -> Any:
        """The value as it is, for a check that a getter here does not do."""
        self._asked.add(key)
        return self.raw.get(key)

    def section(self, key: str) -> Section:
        return Section(self.problems, self.key(key), self.take(key))

    def items(self, key: str) -> list[Any]:
        """A list; missing means empty."""
        value = self.take(key)
        if value is None:
            return []
        if isinstance(value, Encrypted):
            self.problems.add_unreadable(self.key(key))
            return []
        if not isinstance(value, list):
            self.refuse(key, f"{shown(value)} is not a list", "a list", None)
            return []
        return value

    def value(
        self,
        key: str,
        parse: Callable[[Any], T],
        *,
        accepted: str,
        example: str | int | None,
        default: Any = _REQUIRED,
        stand_in: T | None = None,
    ) -> T:
        """`parse` the value; it raises ValueError with what is wrong (an empty text: "V is not accepted").

        `example` None: the fix is to remove the key, and reading goes on with `stand_in`.
        """
        raw = self.take(key)
        if raw is None:
            if default is not _REQUIRED:
                return default  # type: ignore[no-any-return]  # the caller's own value
            if not self.partial:
                self.refuse(key, "is missing", accepted, example)
        elif not isinstance(raw, Encrypted):
            try:
                return parse(raw)
            except ValueError as error:
                self.refuse(key, str(error) or f"{shown(raw)} is not accepted", accepted, example)
        if stand_in is None and example is not None:
            return parse(example)
        return stand_in  # type: ignore[return-value]  # the caller's own value

    def choice(
        self, key: str, choices: Iterable[str], default: Any = _REQUIRED, *, example: str | None = None
    ) -> str:
        """One of a few values; the default is the example, too, unless there is another."""
        accepted = tuple(choices)
        return self.value(
            key, one_of(*accepted), accepted=", ".join(accepted), example=example or default, default=default
        )

    def number(self, key: str, low: int, high: int, default: int, unit: str = "a whole number") -> int:
        return self.value(
            key,
            whole(low, high),
            accepted=f"{unit} from {low} to {high}",
            example=default,
            default=default,
        )

    def flag(self, key: str) -> bool:
        """Yes or no; the CLI stores them as text, too. No by default."""
        return self.value(key, boolean, accepted="true, false", example=True, default=False)

    def each(
        self,
        key: str,
        parse: Callable[[Any], T],
        *,
        accepted: str,
        example: str | None = None,
        required: bool = False,
    ) -> list[T]:
        """The items of a list, each parsed; those that `parse` refuses are recorded and left out."""
        listed, found = self.items(key), []
        if required and not listed and self.raw.get(key) in (None, []):
            self.problems.add(f"{self.key(key)}[0]", "is missing", accepted, example)
        for index, raw in enumerate(listed):
            if isinstance(raw, Encrypted):
                continue
            try:
                found.append(parse(raw))
            except ValueError as error:
                self.problems.add(f"{self.key(key)}[{index}]", str(error), accepted, example)
        return found

    def finish(self) -> None:
        """Record every key that was not asked for, with the nearest name that would be known."""
        for key in self.names():
            if key not in self._asked:
                near = difflib.get_close_matches(key, sorted(self._asked), n=1)
                hint = f" (did you mean {near[0]}?)" if near else ""
                self.refuse(key, f"is not a known key{hint}", ", ".join(sorted(self._asked)), None)


def unused(name: str, taken: Collection[str]) -> str:
    """`name` with the first number behind it that nobody has, as a DNS-1123 label."""
    return next(found for number in count(2) if (found := f"{name[:58]}-{number}") not in taken)


def shown(value: Any) -> str:
    """A value as it is quoted in a message."""
    return json.dumps(value, ensure_ascii=False, default=str)


def text(raw: Any) -> str:
    """A string of one line of characters that can be seen, spaces among them."""
    if not isinstance(raw, str) or not raw.strip():
        raise ValueError(f"{shown(raw)} is not a text")
    hidden = [character for character in raw if unicodedata.category(character) in _HIDDEN]
    if hidden:
        raise ValueError(f"{json.dumps(raw)} has {hidden[0]!a}, which nobody sees")
    return raw


def whole(low: int, high: int) -> Callable[[Any], int]:
    """A whole number from `low` to `high`; digits in quotes count (the CLI stores them so)."""

    def parse(raw: Any) -> int:
        if isinstance(raw, bool) or not isinstance(raw, int | str) or not _DIGITS.fullmatch(str(raw)):
            raise ValueError(f"{shown(raw)} is not a whole number")
        if not low <= int(raw) <= high:
            raise ValueError(f"{raw} is outside {low} to {high}")
        return int(raw)

    return parse


def boolean(raw: Any) -> bool:
    """True or false, as a value or as text."""
    text = str(raw).lower() if isinstance(raw, bool) else raw
    if text not in ("true", "false"):
        raise ValueError(f"{shown(raw)} is not one of true, false")
    return bool(text == "true")


def one_of(*choices: str) -> Callable[[Any], str]:
    """One of a few words."""

    def parse(raw: Any) -> str:
        if str(raw) in choices and not isinstance(raw, str):
            raise ValueError(f"{shown(raw)} is a number, not a text: it needs quotes")
        if raw not in choices:
            raise ValueError(f"{shown(raw)} is not one of {', '.join(choices)}")
        return str(raw)

    return parse


def matching(pattern: re.Pattern[str], what: str) -> Callable[[Any], str]:
    """A string that matches `pattern` as a whole."""

    def parse(raw: Any) -> str:
        if not isinstance(raw, str) or not pattern.fullmatch(raw):
            raise ValueError(f"{shown(raw)} is not {what}")
        return raw

    return parse


_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


def dns_label(raw: Any) -> str:
    """A DNS-1123 label: the form of node names, namespaces and cluster names."""
    if not isinstance(raw, str) or not _LABEL.fullmatch(raw):
        raise ValueError(f"{shown(raw)} is not a DNS-1123 label")
    return raw


def below_root(raw: Any) -> str:
    """A relative path that stays below the project's root."""
    path = PurePosixPath(text(raw))
    if path.is_absolute() or ".." in path.parts or "://" in str(raw):
        raise ValueError(f"{shown(raw)} is not a path below the project's root")
    return str(path)
