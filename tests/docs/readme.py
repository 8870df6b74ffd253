"""The commands of the first real deployment, as they are written on its page, in their order."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
_PROGRAMS = ("make ", "pulumi ", "openssl ", "bin/kubepark ", "(umask ")


def commands() -> list[str]:
    """Every span of code of the page that is a command."""
    text = (ROOT / "docs" / "first-deployment.md").read_text(encoding="utf-8")
    spans = (re.sub(r"\s+", " ", span) for span in re.findall(r"`([^`]+)`", text))
    return [span for span in spans if span.startswith(_PROGRAMS)]
