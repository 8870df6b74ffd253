"""The commands of README's first real deployment, as they are written there, in their order."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
_PROGRAMS = ("make ", "pulumi ", "openssl ", "bin/kubepark ", "(umask ")


def commands() -> list[str]:
    """Every span of code of the section that is a command."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    section = text.partition("\n## The first real deployment\n")[2].partition("\n## ")[0]
    spans = (re.sub(r"\s+", " ", span) for span in re.findall(r"`([^`]+)`", section))
    return [span for span in spans if span.startswith(_PROGRAMS)]
