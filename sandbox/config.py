"""Where one sandbox lives: folders, files and the two addresses that its stack file names.

The stack file is read as plain YAML: the sandbox must know its addresses before an engine exists.
Everything else in it is the program's business.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from sandbox.errors import SandboxError
from sandbox.files import read_json

# What every client of the emulator uses. The account is moto's own default.
ACCOUNT_ID = "123456789012"
REGION = "us-east-1"
ACCESS_KEY_ID = "testing"
SECRET_ACCESS_KEY = "testing"

STATE_DIR_VARIABLE = "KUBEPARK_SANDBOX_DIR"
AWS_KEY = "kubepark:aws.endpoint"
API_KEY = "kubepark:controlPlane.apiEndpoint"

# What the emulator serves beside AWS: whether it is up, which incarnation of its memory this is,
# the AMI ids that exist, and the errors that a test wants.
HEALTH_PATH = "/kubepark/health"
EPOCH_PATH = "/kubepark/epoch"
CHANGES_PATH = "/kubepark/changes"  # how often each service was written to, as one JSON object
IMAGES_PATH = "/kubepark/images"
REFUSALS_PATH = "/kubepark/refusals"
INTERRUPTIONS_PATH = "/kubepark/interruptions"  # of Spot Instances


@dataclass(frozen=True)
class Endpoint:
    """A loopback address. `host` is as written (`127.0.0.1`, `localhost`), `url` has no path."""

    scheme: str
    host: str
    port: int

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.host}:{self.port}"


@dataclass(frozen=True, kw_only=True)
class SandboxConfig:
    """One sandbox: a project root, a stack, a state folder and two loopback endpoints."""

    root: Path
    state_dir: Path
    stack: str
    stack_file: Path
    aws: Endpoint
    api: Endpoint
    region: str

    @property
    def state_file(self) -> Path:
        """Running processes (pid and start time) and the emulator's epoch."""
        return self.state_dir / "state.json"

    @property
    def lock_file(self) -> Path:
        return self.state_dir / "lock"

    @property
    def log_dir(self) -> Path:
        return self.state_dir / "logs"

    @property
    def requests_log(self) -> Path:
        """Every request that the emulator answered, one JSON object per line."""
        return self.log_dir / "requests.jsonl"

    @property
    def backend_dir(self) -> Path:
        return self.state_dir / "backend"

    @property
    def pulumi_home(self) -> Path:
        return self.state_dir / "pulumi-home"

    @property
    def work_dir(self) -> Path:
        """Fresh copies of Pulumi.yaml and the stack file, made for each operation."""
        return self.state_dir / "work"

    @property
    def secrets_file(self) -> Path:
        """What the CLI encrypted for each stack, by path of its configuration."""
        return self.state_dir / "ciphers.json"

    @property
    def ports_file(self) -> Path:
        """The ports of this sandbox where they are not those of the stack file."""
        return self.state_dir / "ports.json"

    @property
    def kubeconfig(self) -> Path:
        return self.state_dir / "kubeconfig"

    @property
    def bin_dir(self) -> Path:
        """Symlinks and shims that go first on PATH."""
        return self.state_dir / "bin"


def state_dir_of(root: Path) -> Path:
    """KUBEPARK_SANDBOX_DIR, else `.sandbox` under the project root."""
    return Path(os.environ.get(STATE_DIR_VARIABLE) or root / ".sandbox").resolve()


def read_stack_config(stack_file: Path) -> dict[str, Any]:
    """The `config` map of a stack file; `SandboxError` if there is no such file or it is not YAML.

    Read as YAML 1.2, as the engine does: PyYAML takes `off` for false.
    """
    try:
        document = YAML(typ="safe").load(stack_file.read_text(encoding="utf-8")) or {}
    except FileNotFoundError:
        raise SandboxError(f"{stack_file.name} does not exist in {stack_file.parent}") from None
    except YAMLError as error:
        raise not_yaml(stack_file.name, error) from None
    config = document.get("config") or {} if isinstance(document, dict) else None
    if not isinstance(config, dict):
        raise SandboxError(f"{stack_file.name}: `config` must be a map of keys to values")
    return config


def not_yaml(name: str, error: Exception) -> SandboxError:
    """The library's error in one line: where and what, without its own advice and without values."""
    mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
    if mark and problem:
        where = f"line {mark.line + 1}, column {mark.column + 1}"
        return SandboxError(f"{name} is not valid YAML: {where}: {problem.partition(' with value ')[0]}")
    return SandboxError(f"{name} is not valid YAML: {error}")


def setting(config: dict[str, Any], key: str) -> Any:
    """The value at `namespace:object.field` in a stack file's config map, None if absent."""
    top, _, field = key.partition(".")
    value = config.get(top)
    return value.get(field) if isinstance(value, dict) else None


def load(root: Path, stack: str = "sandbox", stack_file: Path | None = None) -> SandboxConfig:
    """Read the stack file, and the ports that this sandbox has in place of those that are named there.

    Raises one `SandboxError` that lists everything wrong with the file.
    """
    root = root.resolve()
    path = stack_file or root / f"Pulumi.{stack}.yaml"
    config = read_stack_config(path)
    problems: list[str] = []
    aws = _endpoint(config, AWS_KEY, "http", 4566, stack, problems)
    api = _endpoint(config, API_KEY, "https", 6443, stack, problems)
    if aws is None or api is None:
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        raise SandboxError("\n".join([f"{path.name} does not describe a sandbox: {count}", *problems]))
    found = SandboxConfig(
        root=root,
        state_dir=state_dir_of(root),
        stack=stack,
        stack_file=path.resolve(),
        aws=aws,
        api=api,
        region=str(setting(config, "kubepark:aws.region") or REGION),
    )
    ports = read_json(found.ports_file) or {"aws": aws.port, "api": api.port}
    return replace(found, aws=replace(aws, port=ports["aws"]), api=replace(api, port=ports["api"]))


def _endpoint(
    config: dict[str, Any], key: str, scheme: str, port: int, stack: str, problems: list[str]
) -> Endpoint | None:
    """The endpoint at `key`, or None with a line added to `problems`."""
    value = setting(config, key)
    wrong = _what_is_wrong(value, scheme)
    if wrong is None:
        parts = urlsplit(value)
        return Endpoint(scheme, str(parts.hostname), int(parts.port or 0))
    problems.append(
        f"  {key}: {wrong}; accepted: {scheme}://127.0.0.1:PORT on this machine; "
        f"fix: pulumi config set --stack {stack} --path {key} {scheme}://127.0.0.1:{port}"
    )
    return None


def _what_is_wrong(value: Any, scheme: str) -> str | None:
    if value is None:
        return "is missing"
    if not isinstance(value, str):
        return f"{value!r} is not a URL"
    try:
        parts = urlsplit(value)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        return f'"{value}" is not a URL ({error})'
    if parts.scheme != scheme or not host or not port or parts.path not in ("", "/"):
        return f'"{value}" is not of the form {scheme}://HOST:PORT'
    if not is_loopback(host):
        return f'"{value}" is not a loopback address'
    return None


def is_loopback(host: str) -> bool:
    """True for 127.0.0.0/8, ::1 and the name `localhost`; other names are not resolved."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
