"""The project's program, run in this process; its modules are loaded while the engine starts.

Importing the cloud SDKs takes a second, and so do the engine's own start and that of the policy
pack. Neither needs the other, so they happen at the same time.
"""

from __future__ import annotations

import ast
import contextlib
import os
import runpy
import sys
import threading
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any


class ProjectProgram:
    """`__main__.py` of a project. Called by the language host, in its thread; `load` in another.

    `outputs` are the stack's, as far as they are known, secret ones in plain: to ask the CLI for them
    afterwards takes it half a second.
    """

    def __init__(self, root: Path) -> None:
        self.outputs: dict[str, Any] = {}
        self._root = root
        self._file = root / "__main__.py"
        self._loaded = threading.Event()
        if str(root) not in sys.path:
            sys.path.insert(0, str(root))

    def __call__(self) -> None:
        # Two threads must not import the same modules: one would find them half done.
        self._loaded.wait()
        self.outputs.clear()  # of the preview before the update
        runpy.run_path(str(self._file), run_name="__main__")
        self._listen()

    def _listen(self) -> None:
        """Take each output when its value is known; in a preview some never are."""
        from pulumi import Output
        from pulumi.runtime import get_root_resource
        from pulumi.runtime.stack import Stack

        stack = get_root_resource()
        assert isinstance(stack, Stack), "the language host runs programs inside a stack"
        for name, value in stack.outputs.items():
            Output.from_input(value).apply(partial(self.outputs.__setitem__, name))

    def load(self) -> None:
        """Import what the program imports. An error is left to the program, which meets it again."""
        try:
            with contextlib.suppress(Exception):
                self._import()
        finally:
            self._loaded.set()

    def _import(self) -> None:
        tree = ast.parse(self._file.read_text(encoding="utf-8"))
        tree.body = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
        exec(compile(tree, str(self._file), "exec"), {})
        ours = [module for module in list(sys.modules.values()) if self._is_ours(module)]
        for value in [value for module in ours for value in vars(module).values()]:
            if isinstance(value, ModuleType):
                # The SDKs load their packages when an attribute is first asked for, whichever.
                getattr(value, "load", None)

    def _is_ours(self, module: ModuleType) -> bool:
        """Of the project itself; its virtualenv usually lies inside it."""
        file = str(getattr(module, "__file__", None) or "")
        return file.startswith(f"{self._root}{os.sep}") and not file.startswith(f"{sys.prefix}{os.sep}")
