"""Stack files: where they are, what is in them, and how one is replaced."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cli.errors import CommandError
from config import ROOT, documents, files
from config.naming import PROJECT, default_cluster

PEOPLE = "kubepark:people"
PEOPLE_FILE = "kubepark:peopleFile"
CLIENT_SECRET = "kubepark:oidcClientSecret"
HASHES = "kubepark:passwordHashes"


def stack_file(stack: str) -> Path:
    """The file of a stack. `CommandError` if there is none."""
    path = ROOT / f"Pulumi.{stack}.yaml"
    if not path.exists():
        known = sorted(file.name.split(".")[1] for file in ROOT.glob("Pulumi.*.yaml"))
        raise CommandError(
            f"there is no stack {stack}: {path.name} does not exist; known: {', '.join(known)}"
        )
    return path


def config_of(stack: str) -> Mapping[str, Any]:
    """The `config` map of a stack's file. `CommandError` for what is not a stack file."""
    path = stack_file(stack)
    return config_in(path.name, text_of(path))


def config_in(name: str, text: str) -> Mapping[str, Any]:
    """The `config` map of a stack file's text. `CommandError` for what is not a stack file."""
    document = loaded(name, text)
    config = document.get("config") if isinstance(document, Mapping) else document
    if config is not None and not isinstance(config, Mapping):
        raise CommandError(f"{name}: `config` must be a map of keys to values")
    return config or {}


def loaded(name: str, text: str) -> Any:
    """What is in the text of a file, as the program reads it. `CommandError` if it is not YAML."""
    try:
        return documents.load(text)
    except documents.NotYaml as error:
        raise CommandError(f"{name} is not valid YAML: {error}") from None


def text_of(path: Path) -> str:
    """The text of a file with the line ends that it has. `CommandError` if it is not UTF-8."""
    try:
        return path.read_bytes().decode()
    except UnicodeDecodeError as error:
        raise CommandError(f"{path.name} is not UTF-8 text (byte {error.start})") from None


def setting(config: Mapping[str, Any], path: str) -> Any:
    """The value at `namespace:object.field` in the config map, None if absent."""
    top, _, field = path.partition(".")
    value = config.get(top)
    return value.get(field) if isinstance(value, Mapping) else None


def cluster_of(stack: str) -> str:
    """The name of a stack's cluster: its setting, else what the stack's name gives."""
    return str(config_of(stack).get(f"{PROJECT}:clusterName") or default_cluster(stack))


def identity_of(stack: str) -> int:
    """Which cluster of that name it is; 1 where what is there is refused by the program."""
    found = setting(config_of(stack), f"{PROJECT}:controlPlane.identity")
    return found if type(found) is int else 1


def rewrite(path: Path, text: str) -> None:
    """Replace a file in one step; its mode stays."""
    files.replace_file(path, text, mode=path.stat().st_mode & 0o777)
