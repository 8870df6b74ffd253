"""YAML that people read: changed with its comments, order, quotes and indentation kept."""

from __future__ import annotations

from io import StringIO
from typing import Any


def load(text: str) -> Any:
    """The document, to be changed in place. Raises: ruamel.yaml.error.YAMLError."""
    return _yaml().load(text)


def dump(document: Any, before: str) -> str:
    """The document as text, its lists indented as they were in `before`."""
    yaml, text, offset = _yaml(), StringIO(), dash_offset(before)
    yaml.indent(mapping=2, sequence=2 + offset, offset=offset)
    yaml.dump(document, text)
    return text.getvalue()


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
