"""`manifests.lock.yaml`: what each upstream manifest served when somebody looked, and the way to look."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path

import yaml

LOCK_FILE = "manifests.lock.yaml"
LOCK_COMMAND = "bin/kubepark manifests lock"

_TIMEOUT_SECONDS = 60
_LARGEST_BYTES = 32 * 1024 * 1024  # Calico's CRDs are 3 MB


class ManifestError(Exception):
    """Manifests cannot be used. The text lists every problem, one a line."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        lines = "\n".join(f"  - {problem}" for problem in problems)
        super().__init__(f"the manifests have {count}; nothing was changed:\n{lines}")


class FetchError(Exception):
    """A URL could not be read; the text says why."""


def read_pins(path: Path) -> dict[str, str]:
    """The lock file: URL to sha256 in hex, "" where nobody has looked yet.

    Raises: ManifestError when the file is missing or has another form.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        content = None
    except yaml.YAMLError as error:
        raise ManifestError([f"{path.name} is not YAML: {one_line(error)}"]) from None
    pins = content.get("sha256") if isinstance(content, dict) else None
    if not isinstance(pins, dict) or not all(isinstance(pin, str) for pin in pins.values()):
        raise ManifestError([f"{path.name} has no mapping sha256 of URLs to pins; fix: {LOCK_COMMAND}"])
    return {str(url): pin for url, pin in pins.items()}


def fetch(url: str) -> bytes:
    """The bytes behind an https URL. Raises: FetchError."""
    if not url.startswith("https://"):
        raise FetchError(f"{url}: accepted: https://")
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_SECONDS) as answer:
            body: bytes = answer.read(_LARGEST_BYTES + 1)
    except (urllib.error.URLError, OSError, ValueError) as error:
        raise FetchError(f"{url}: {getattr(error, 'reason', None) or error}") from None
    if len(body) > _LARGEST_BYTES:
        raise FetchError(f"{url}: more than {_LARGEST_BYTES} bytes")
    return body


def one_line(error: Exception) -> str:
    """The text of an error without its line breaks."""
    return " ".join(str(error).split())
