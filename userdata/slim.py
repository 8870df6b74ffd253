"""Takes comments out of files on their way into user data, which EC2 limits to 16 KB.

Only whole lines go, never a part of one, so that what runs is what is written in `node/`. The line
that names a script's interpreter stays; the explanations stay in the tree.
"""

from __future__ import annotations

import ast


def slim(text: str) -> str:
    """A Python or shell script, or a configuration file, without comment, docstring and blank lines."""
    lines = text.splitlines()
    drop = _docstring_lines(text) if "python" in lines[0] else set()
    kept = [
        line
        for number, line in enumerate(lines, start=1)
        if line.startswith("#!")
        or (number not in drop and line.strip() and not line.lstrip().startswith("#"))
    ]
    return "\n".join([*kept, ""])


def _docstring_lines(text: str) -> set[int]:
    """Numbers of the lines that docstrings stand on."""
    found: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            continue
        if ast.get_docstring(node) is None or len(node.body) == 1:  # a lone one is the body
            continue
        string = node.body[0]
        found.update(range(string.lineno, (string.end_lineno or string.lineno) + 1))
    return found
