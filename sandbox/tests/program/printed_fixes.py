"""A stack file, and the printed commands of its problems run on it with the real CLI."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from config import ROOT
from config.naming import PROJECT
from config.problems import Problem, Problems, SettingsError
from config.sections.nodes import ami_lookup
from sandbox.tests.tools import tool

STACK = "dev"
TYPED = "a password of many characters\n"  # what a person types where a command asks
_VALIDATION = "validation.py"
_SHARED = {
    "finish": "unknown key",
    "__init__": "no object",
    "items": "no list",
}  # one rule wherever it is met


class StackFile:
    """The file of a stack in a project folder of its own, with a local backend."""

    def __init__(self, folder: Path, stack: str = STACK) -> None:
        self.folder, self.stack = folder, stack
        self.path = folder / f"Pulumi.{stack}.yaml"
        for name in ("state", "home", "bin"):
            (folder / name).mkdir()
        shutil.copy(ROOT / "Pulumi.yaml", folder)
        (folder / "bin" / "kubepark").symlink_to(ROOT / "bin" / "kubepark")
        # Answers the one question that the printed command may ask, and no other.
        aws = folder / "bin" / "aws"
        question = ami_lookup("ubuntu-24.04").removeprefix("aws ")
        aws.write_text(f'#!/bin/sh\n[ "$*" = "{question}" ] && echo ami-0fedcba9876543210\n')
        aws.chmod(0o755)
        self._environment = {
            "HOME": str(folder / "home"),
            "PATH": os.pathsep.join([str(folder / "bin"), str(tool("pulumi").parent), os.environ["PATH"]]),
            "PULUMI_HOME": str(folder / "home"),
            "PULUMI_BACKEND_URL": f"file://{folder / 'state'}",
            "PULUMI_CONFIG_PASSPHRASE": "only for this test",
            "PULUMI_SKIP_UPDATE_CHECK": "true",
        }
        self.path.write_text("config: {}\n")
        self.run(f"pulumi stack init {stack}")
        self._salt = self._document()["encryptionsalt"]

    def write(self, config: Mapping[str, Any]) -> None:
        """The file of `config`, which is keyed as `settings.parse` takes it."""
        named = {f"{PROJECT}:{key}": value for key, value in config.items()}
        self.path.write_text(json.dumps({"config": named, "encryptionsalt": self._salt}))

    def read(self) -> dict[str, Any]:
        """What the program would be given now, secrets in plain."""
        text = self.path.read_text(encoding="utf-8")
        found = self._decrypted() if "secure" in text else self._document().get("config") or {}
        return {key.removeprefix(f"{PROJECT}:"): value for key, value in found.items()}

    def plain(self) -> frozenset[str]:
        """Keys that are stored unencrypted."""
        config = (self._document().get("config") or {}).items()
        return frozenset(
            key.removeprefix(f"{PROJECT}:") for key, value in config if "secure" not in str(value)
        )

    def run(self, command: str) -> str:
        """A command as somebody pastes it; it has to succeed."""
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", command],
            cwd=self.folder,
            env=self._environment,
            input=TYPED,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, f"{command}\n{done.stderr}"
        return done.stdout

    def _decrypted(self) -> dict[str, Any]:
        shown = json.loads(self.run(f"pulumi config --show-secrets --json --stack {self.stack}"))
        return {key: each.get("objectValue", each.get("value")) for key, each in shown.items()}

    def _document(self) -> Any:
        return YAML(typ="safe").load(self.path.read_text(encoding="utf-8"))


def problems_of(parse: Callable[[], object]) -> tuple[Problem, ...]:
    try:
        parse()
    except SettingsError as error:
        return error.problems
    return ()


@contextmanager
def rules_of_problems() -> Iterator[dict[int, str]]:
    """While it lasts: by the problem's id, which rule found it, `file.py:LINE` of the call or what is shared."""
    rules: dict[int, str] = {}
    kept = {name: getattr(Problems, name) for name in ("add", "add_secret", "add_lookup")}

    def recording(record: Any) -> Any:
        def call(self: Problems, *arguments: Any, **named: Any) -> None:
            record(self, *arguments, **named)
            rules[id(self.found[-1])] = _rule()

        return call

    try:
        for name, record in kept.items():
            setattr(Problems, name, recording(record))
        yield rules
    finally:
        for name, record in kept.items():
            setattr(Problems, name, record)


def _rule() -> str:
    frame = sys._getframe(2)
    while Path(frame.f_code.co_filename).name == _VALIDATION:
        if frame.f_code.co_name in _SHARED:
            return _SHARED[frame.f_code.co_name]
        assert frame.f_back is not None
        frame = frame.f_back
    return f"{Path(frame.f_code.co_filename).relative_to(ROOT)}:{frame.f_lineno}"
