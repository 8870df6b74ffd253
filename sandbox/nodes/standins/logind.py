#!/usr/bin/python3
"""Stands for systemd-logind: how long a shutdown may be delayed, as its files say when it starts.

Source: logind.conf(5), "Configuration Directories and Precedence": drop-ins are sorted by name, whatever
folder they are in; of two with one name the first folder's counts; the last assignment wins.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from sandbox.nodes.standins.commands import LOGIND
from sandbox.nodes.standins.units import span

_FOLDERS = ("etc", "run", "usr/local/lib", "usr/lib")
_DEFAULT = 5.0  # seconds


def delay(root: Path) -> int:
    """InhibitDelayMaxUSec of a machine, in microseconds."""
    dropins: dict[str, Path] = {}
    for folder in reversed(_FOLDERS):
        dropins |= {path.name: path for path in (root / folder / "systemd/logind.conf.d").glob("*.conf")}
    seconds = _DEFAULT
    for path in (root / "etc/systemd/logind.conf", *(dropins[name] for name in sorted(dropins))):
        section = ""
        for line in map(str.strip, path.read_text().splitlines() if path.exists() else ()):
            key, _, value = (part.strip() for part in line.partition("="))
            section = line if line.startswith("[") else section
            if (section, key) == ("[Login]", "InhibitDelayMaxSec"):
                seconds = span(value)
    return round(seconds * 1_000_000)


if __name__ == "__main__":
    LOGIND.write_text(f"{delay(Path('/'))}\n")
