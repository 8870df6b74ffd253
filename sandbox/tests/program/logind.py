"""How long a shutdown may be delayed, as logind reads it from the files below a folder.

Source: logind.conf(5), "Configuration Directories and Precedence": drop-ins are sorted by name, whatever
folder they are in; of two with one name the first folder's counts; the last assignment wins.
Real machines ask logind itself (sandbox/tests/stack/test_real_nodes.py).
"""

from __future__ import annotations

from pathlib import Path

# Of Ubuntu's package unattended-upgrades, which its images have.
# Source: mvo5/unattended-upgrades, debian/unattended-upgrades-logind-maxdelay.conf.
UBUNTU_LOGIND = (
    "/usr/lib/systemd/logind.conf.d/unattended-upgrades-logind-maxdelay.conf",
    "[Login]\n# delay\nInhibitDelayMaxSec=30\n",
)
_FOLDERS = ("etc", "run", "usr/local/lib", "usr/lib")
_DEFAULT = "5"  # seconds


def delay(root: Path) -> int:
    """InhibitDelayMaxUSec of a machine, in microseconds. ValueError for a value that is no number of seconds."""
    dropins: dict[str, Path] = {}
    for folder in reversed(_FOLDERS):
        dropins |= {path.name: path for path in (root / folder / "systemd/logind.conf.d").glob("*.conf")}
    value = _DEFAULT
    for path in (root / "etc/systemd/logind.conf", *(dropins[name] for name in sorted(dropins))):
        section = ""
        for line in map(str.strip, path.read_text().splitlines() if path.exists() else ()):
            key, _, text = (part.strip() for part in line.partition("="))
            section = line if line.startswith("[") else section
            if (section, key) == ("[Login]", "InhibitDelayMaxSec"):
                value = text
    return int(value) * 1_000_000
