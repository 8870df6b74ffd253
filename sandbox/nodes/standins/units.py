"""systemd's unit files, as far as a node's units use them. What is not known here is an error.

Source: systemd.unit(5), systemd.service(5), systemd.timer(5), systemd.time(7).
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path

OWN = Path("/etc/systemd/system")
FOLDERS = [OWN, Path("/usr/local/lib/kubepark-sandbox/units")]
# Where init takes orders. Here and not in init.py: systemctl runs a hundred times in a boot, and
# importing all of init takes as long as everything else it does.
SOCKET = Path("/run/kubepark-init.sock")
KNOWN = {
    "Unit": "Description After Wants ConditionPathExists StartLimitIntervalSec",
    "Service": "Type ExecStart Environment EnvironmentFile Restart RestartSec RestartSteps "
    "RestartMaxDelaySec TimeoutStartSec RemainAfterExit KillMode StandardOutput",
    "Timer": "OnBootSec OnUnitActiveSec OnCalendar RandomizedDelaySec AccuracySec Persistent",
    "Install": "WantedBy",
}
TARGETS = ("multi-user.target", "timers.target")  # what a boot reaches
_BOOLEANS = ("yes", "no", "true", "false", "on", "off", "1", "0")
# Where other values exist, the ones that are implemented here.
VALUES = {
    "Type": ("simple", "oneshot", "notify"),
    "Restart": ("no", "on-failure", "always"),
    "KillMode": ("control-group", "process"),
    "StandardOutput": ("journal", "journal+console"),
    "RemainAfterExit": _BOOLEANS,
    "Persistent": _BOOLEANS,
    "WantedBy": TARGETS,
}
_EXPANDED = ("ConditionPathExists", "Environment", "EnvironmentFile")  # specifiers are not implemented
_SECONDS = {"ms": 0.001, "s": 1.0, "sec": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0, "": 1.0}
_PART = r"(\d+(?:\.\d+)?)\s*(ms|sec|s|min|h|d|)"
_SPAN = re.compile(rf"{_PART}(?:\s+{_PART}|(?<=[a-z]){_PART})*")
_ADDED_ONLY = ("After", "Wants")  # an empty value takes none away
_NAME = "[A-Za-z_][A-Za-z0-9_]*"
_BRACED = rf"\$\$|\$\{{({_NAME})\}}"  # `$$` is a dollar sign


class UnitError(Exception):
    """A unit that systemd would not take, or that this stand-in does not understand."""


@dataclass
class UnitFile:
    """One unit: what all its files say, for each directive since its last empty assignment.

    A masked unit has no paths.
    """

    name: str
    paths: list[Path]
    values: dict[str, list[str]] = field(default_factory=dict)

    @property
    def masked(self) -> bool:
        return not self.paths

    def one(self, key: str, default: str = "") -> str:
        """The last assignment."""
        found = self.values.get(key)
        return found[-1] if found else default

    def all(self, key: str) -> list[str]:
        return self.values.get(key, [])

    def words(self, key: str) -> list[str]:
        """Names, whether on one line or on several."""
        return [word for line in self.all(key) for word in line.split()]

    def seconds(self, key: str, default: float) -> float:
        return span(self.one(key)) if self.all(key) else default

    def yes(self, key: str) -> bool:
        return self.one(key) in ("yes", "true", "on", "1")

    def text(self) -> str:
        """As `systemctl cat` shows it."""
        return "\n".join(f"# {path}\n{path.read_text()}" for path in self.paths)


def load(name: str, folders: list[Path]) -> UnitFile | None:
    """The unit in the first folder that has it, with its drop-ins from all; None if there is none.

    Raises `UnitError` for what is not understood.
    """
    found = next((folder / name for folder in folders if (folder / name).exists()), None)
    if found is None:
        return None
    if found.resolve() == Path("/dev/null"):
        return UnitFile(name, [])
    dropins = sorted(
        (path for folder in folders for path in (folder / f"{name}.d").glob("*.conf")), key=lambda p: p.name
    )
    unit = UnitFile(name, [found, *dropins])
    for path in unit.paths:
        _read(unit, path)
    return unit


def _read(unit: UnitFile, path: Path) -> None:
    section = ""
    for number, line in enumerate(_text(path).splitlines(), start=1):
        line = line.strip()
        if not line or line[0] in "#;":
            continue
        key, equals, value = (part.strip() for part in line.partition("="))
        if line.startswith("["):
            section = line.strip("[]")
            implemented = section in KNOWN
        else:
            implemented = bool(equals) and key in KNOWN.get(section, "").split() and _accepted(key, value)
            _assign(unit, key, value)
        if not implemented:
            what = line if key in VALUES or line.startswith("[") else f"[{section}] {key}"
            raise UnitError(f"{path}:{number}: {what} is not implemented by this systemd stand-in")


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:  # of no file may process 1 die
        raise UnitError(f"{path}: {error}") from None


def _accepted(key: str, value: str) -> bool:
    """No line goes on in the next one; where few values are implemented, it is one of them."""
    if not value or value.endswith("\\"):
        return not value
    if key in _EXPANDED and ("%" in value or value[0] in "|!"):
        return False
    if key.endswith("Sec"):
        return _SPAN.fullmatch(value) is not None
    return value.isdigit() if key == "RestartSteps" else value in VALUES.get(key, (value,))


def _assign(unit: UnitFile, key: str, value: str) -> None:
    if value:
        unit.values.setdefault(key, []).append(value)
    elif key not in _ADDED_ONLY:
        unit.values.pop(key, None)


def span(text: str) -> float:
    """Seconds of a time span (`2min`, `1h 30min`, `15`)."""
    if not _SPAN.fullmatch(text):
        raise UnitError(f"not a time span: {text}")
    return sum(float(number) * _SECONDS[unit] for number, unit in re.findall(_PART, text))


def environment(unit: UnitFile, base: dict[str, str]) -> dict[str, str]:
    """Variables of a service. Raises `UnitError` when a file that must be there is not."""
    found = dict(base)
    for line in unit.all("Environment"):
        found |= dict(_pair(unit, word) for word in _words(unit.name, line))
    for line in unit.all("EnvironmentFile"):
        path = Path(line.lstrip("-"))
        if not path.exists():
            if line.startswith("-"):
                continue
            raise UnitError(f"{unit.name}: {path} does not exist")
        rows = (row.strip() for row in _text(path).splitlines())
        for row in rows:
            if row and row[0] not in "#;":
                name, value = _pair(unit, row)
                found[name] = " ".join(_words(str(path), value))
    return found


def _pair(unit: UnitFile, text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not re.fullmatch(_NAME, name):
        raise UnitError(f"{unit.name}: not an assignment of a variable: {name}")
    return name, value


def _words(where: str, text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:  # an open quote
        raise UnitError(f"{where}: {error}") from None


def command(line: str, variables: dict[str, str]) -> list[str]:
    """Arguments of an ExecStart line.

    `$NAME` as a word of its own is split at blanks (quotes hold), `${NAME}` never, as systemd does it.
    Raises `UnitError` for prefixes and specifiers that are not implemented.
    """
    first, *others = _words(line, line) or [""]
    if not first.startswith("/") or "$" in first or "%" in line:
        raise UnitError(f"not a command line that is implemented: {line}")
    words = [first]
    for word in others:
        if whole := re.fullmatch(rf"\$({_NAME})", word):
            words += _words(word, variables.get(whole[1], ""))
        else:
            words.append(re.sub(_BRACED, lambda m: variables.get(m[1], "") if m[1] else "$", word))
    return words
