"""YAML that people read: changed with its comments, order, quotes and indentation kept."""

from __future__ import annotations

from io import StringIO
from typing import Any

_CRLF = "\r\n"


def load(text: str) -> Any:
    """The document, to be changed in place; None where there are only comments.

    Raises: ruamel.yaml.error.YAMLError.
    """
    return _yaml().load(text.replace(_CRLF, "\n"))


def dump(document: Any, before: str) -> str:
    """The document as text, with line ends as in `before`, and its lists indented as there."""
    yaml, stream, offset = _yaml(), StringIO(), dash_offset(before)
    yaml.indent(mapping=2, sequence=2 + offset, offset=offset)
    yaml.dump(document, stream)
    text = stream.getvalue()
    if before and all(
        line.lstrip().startswith(("#", "\ufeff#")) for line in before.split("\n") if line.strip()
    ):
        text = before.replace(_CRLF, "\n").rstrip("\n") + "\n" + text  # comments that no document holds
    return text.replace("\n", _CRLF) if _CRLF in before else text


def part(parent: Any, key: str, empty: Any) -> Any:
    """What is at `key`, where a key with nothing behind it is as good as none: `empty` then, put there."""
    if parent.get(key) is None:
        parent[key] = empty
    return parent[key]


def dash_offset(text: str) -> int:
    """How far the dashes of lists stand to the right of their key: 2, or 0 as ruamel would have it."""
    parent = 0
    for line in text.splitlines():
        indent = len(line) - len(line.lstrip())
        if line.lstrip().startswith("- "):
            return 2 if indent > parent else 0
        if line.strip() and not line.lstrip().startswith("#"):
            parent = indent
    return 2


def _yaml() -> Any:
    from ruamel.yaml import YAML  # only here: most commands write no YAML

    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 4096
    return yaml
