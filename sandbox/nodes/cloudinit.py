"""User data as cloud-init would find it: gzip, `#cloud-config`, `write_files`.

Only what a node's own boot reads: the sandbox never imports the code that wrote it.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import yaml

NODE_FILE = "/etc/kubepark/node.json"
STEPS_FILE = "/etc/kubepark/steps"
INIT_TEMPLATE = "/etc/kubepark/kubeadm-init.yaml.tmpl"
JOIN_TEMPLATE = "/etc/kubepark/kubeadm-join.yaml.tmpl"
MASTER = "master"
API_PORT = 6443
_KEYS = ("cluster", "node", "role", "generation", "masterGeneration", "region", "privateIp", "parameters")
_PARAMETERS = ("join", "kubeconfig", "encryptionKey", "hostsPath", "status")


class UserDataError(ValueError):
    """The machine has nothing to boot from; on AWS it would stay silent. The text says why."""


@dataclass(frozen=True)
class WrittenFile:
    """One entry of `write_files`, decoded."""

    content: bytes
    mode: int


@dataclass(frozen=True)
class UserData:
    """What one node was given: its node.json, its plan and the files that it finds on its disk."""

    node: Mapping[str, Any]
    files: Mapping[str, WrittenFile]
    steps: tuple[str, ...]

    @property
    def name(self) -> str:
        return str(self.node["node"])

    @property
    def is_master(self) -> bool:
        return bool(self.node["role"] == MASTER)

    @property
    def generation(self) -> int:
        return int(self.node["generation"])

    @property
    def api_port(self) -> int:
        """Where the API is found on this host: the port of its address, if the user data names one."""
        return urlsplit(str(self.node.get("apiEndpoint") or "")).port or API_PORT

    def parameter(self, key: str) -> str:
        """Name of one of the node's parameters: join, kubeconfig, encryptionKey, hostsPath, status."""
        return str(self.node["parameters"][key])

    @property
    def template(self) -> str:
        """The kubeadm document with placeholders that this role boots from."""
        path = INIT_TEMPLATE if self.is_master else JOIN_TEMPLATE
        return self.files[path].content.decode()


def parse(raw: bytes) -> UserData:
    """User data bytes as EC2 hands them out. Raises `UserDataError`."""
    document = _cloud_config(raw)
    files = {str(entry["path"]): _written(entry) for entry in document.get("write_files") or []}
    node = _node(files)
    for path in (INIT_TEMPLATE if node["role"] == MASTER else JOIN_TEMPLATE, STEPS_FILE):
        if path not in files:
            raise UserDataError(f"user data does not write {path}")
    return UserData(node=node, files=files, steps=_plan(files[STEPS_FILE].content.decode()))


def _cloud_config(raw: bytes) -> dict[str, Any]:
    try:
        text = (gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw).decode()
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise UserDataError(f"user data cannot be unpacked: {error}") from None
    if not text.startswith("#cloud-config"):
        raise UserDataError("user data is not #cloud-config")
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UserDataError(f"user data is not YAML: {error}") from None
    if not isinstance(document, dict):
        raise UserDataError("user data is not a map")
    return document


def _written(entry: Mapping[str, Any]) -> WrittenFile:
    """One `write_files` entry, with the keys that the program writes."""
    if unknown := sorted(set(entry) - {"path", "permissions", "content"}):
        raise UserDataError(f"{entry.get('path')}: the sandbox does not know {', '.join(unknown)}")
    return WrittenFile(str(entry["content"]).encode(), int(str(entry.get("permissions", "0644")), 8))


def _node(files: Mapping[str, WrittenFile]) -> dict[str, Any]:
    if NODE_FILE not in files:
        raise UserDataError(f"user data does not write {NODE_FILE}")
    try:
        node = json.loads(files[NODE_FILE].content)
    except ValueError as error:
        raise UserDataError(f"{NODE_FILE}: {error}") from None
    missing = [key for key in _KEYS if key not in node]
    missing += [f"parameters.{key}" for key in _PARAMETERS if key not in node.get("parameters", {})]
    if missing:
        raise UserDataError(f"{NODE_FILE} lacks {', '.join(missing)}")
    return dict(node)


def _plan(text: str) -> tuple[str, ...]:
    """Names in the node's own list of steps: `name deadline once|boot inputs...`."""
    return tuple(line.split()[0] for line in text.splitlines() if line and line[0] != "#")
