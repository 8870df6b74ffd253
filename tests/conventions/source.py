"""The product's source as syntax trees, for tests that check conventions."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("config", "components", "userdata", "sandbox", "cli", "policies", "foundation")
OURS = frozenset({*PACKAGES, "tests"})


@dataclass(frozen=True)
class Source:
    """One Python file: `name` is its path below the root."""

    name: str
    text: str
    tree: ast.Module

    @property
    def package(self) -> str:
        return self.name.partition("/")[0] if "/" in self.name else ""

    @property
    def module(self) -> str:
        return self.name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")

    def imports(self) -> Iterator[str]:
        """Every module that is imported anywhere in the file, also inside functions."""
        return self._imports(ast.walk(self.tree))

    def loads(self) -> Iterator[str]:
        """Those that are imported when the file runs, and not for a type checker only."""
        checked = [
            inner
            for node in ast.walk(self.tree)
            if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
            for inner in node.body
        ]
        return self._imports(node for node in ast.walk(self.tree) if node not in checked)

    def _imports(self, nodes: Iterable[ast.AST]) -> Iterator[str]:
        for node in nodes:
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{self.name}: a relative import"
                # `from config import settings` imports the module config.settings.
                for alias in node.names:
                    inner = f"{node.module}.{alias.name}"
                    yield inner if is_module(inner) else str(node.module)


def is_module(name: str) -> bool:
    """Whether this is one of our modules or packages."""
    path = ROOT / name.replace(".", "/")
    return path.is_dir() or path.with_suffix(".py").exists()


@cache
def sources() -> tuple[Source, ...]:
    """Every Python file that is no test: the packages and the program's main file."""
    found = (path for name in PACKAGES for path in (ROOT / name).rglob("*.py"))
    paths = [ROOT / "__main__.py", *(path for path in found if "tests" not in path.parts)]
    read = ((str(path.relative_to(ROOT)), path.read_text(encoding="utf-8")) for path in sorted(paths))
    return tuple(Source(name, text, ast.parse(text)) for name, text in read)


def of(*packages: str) -> list[Source]:
    return [source for source in sources() if source.package in packages]


@dataclass(frozen=True)
class Class:
    """A class of the program that the engine knows as a resource."""

    source: Source
    node: ast.ClassDef
    base: str  # ComponentResource or CustomResource

    @property
    def init(self) -> ast.FunctionDef:
        functions = [item for item in self.node.body if isinstance(item, ast.FunctionDef)]
        return next(item for item in functions if item.name == "__init__")


def resource_classes() -> list[Class]:
    found = []
    for source in of("components"):
        for node in ast.walk(source.tree):
            if isinstance(node, ast.ClassDef):
                for base in map(ast.unparse, node.bases):
                    if base.endswith(("ComponentResource", "CustomResource", "ProviderResource")):
                        found.append(Class(source, node, base.rpartition(".")[2]))
    return found
