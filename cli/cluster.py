"""The Kubernetes API of a stack, for commands that need the cluster.

`--kubeconfig` and `KUBECONFIG` win; else it is the file that `up` keeps for a sandbox stack; else the
stack's own output, which is read when it is needed and kept in memory.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from cli import environments, pulumi
from cli.errors import CommandError

Kubeconfig = str | Path | Mapping[str, Any]  # file, or several as in KUBECONFIG; or what is in one

Option = Annotated[
    str | None,
    typer.Option("--kubeconfig", envvar="KUBECONFIG", help="Kubeconfig file. Default: the stack's own."),
]


def kubeconfig_of(stack: str, given: str | None = None) -> Kubeconfig:
    """The kubeconfig for a stack; `given`: what the person named. Raises `CommandError` if there is none."""
    kept = given or environments.of(stack).kubeconfig
    if kept is not None:
        return kept
    with pulumi.on(stack, "stack") as cli:
        text = cli.outputs(secrets=True).get("kubeconfig")
    if not isinstance(text, str) or not text:
        raise CommandError(
            f"stack {stack} has no output kubeconfig yet: run `bin/kubepark up --stack {stack}`, "
            "or name a file by --kubeconfig"
        )
    return _parsed(text, stack)


def _parsed(text: str, stack: str) -> Mapping[str, Any]:
    import yaml

    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError:
        document = None  # the library's message would show a part of the secret
    if not isinstance(document, Mapping):
        raise CommandError(f"the output kubeconfig of stack {stack} is no kubeconfig")
    return document


@contextmanager
def connected(kubeconfig: Kubeconfig, context: str | None = None) -> Iterator[Any]:
    """A client of the Kubernetes API inside the block.

    Raises `CommandError` if none can be made, and for an API that cannot be reached inside the block.
    The client library keeps keys in files; they are in a folder of ours, and gone after the block.
    """
    from kubernetes import client, config  # a second, and seldom needed
    from kubernetes.config.config_exception import ConfigException
    from urllib3.exceptions import HTTPError
    from yaml import YAMLError

    settings = client.Configuration()
    options = {"context": context, "client_configuration": settings, "persist_config": False}
    named = f"kubeconfig {kubeconfig}" if isinstance(kubeconfig, str | Path) else "the stack's kubeconfig"
    with _private_folder() as folder:
        try:
            if isinstance(kubeconfig, str | Path):
                config.load_kube_config(str(kubeconfig), temp_file_path=folder, **options)
            else:
                config.load_kube_config_from_dict(dict(kubeconfig), temp_file_path=folder, **options)
        except (ConfigException, OSError, YAMLError) as error:
            raise CommandError(f"{named} cannot be used: {error}") from None
        try:
            with client.ApiClient(configuration=settings) as api:
                yield api
        except HTTPError as error:
            raise CommandError(
                f"the Kubernetes API cannot be reached at {settings.host}: {_innermost(error)}"
            ) from None


@contextmanager
def _private_folder() -> Iterator[str]:
    """A folder that nobody else can read, in the user's state directory (XDG Base Directory)."""
    state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "kubepark"
    try:
        state.mkdir(parents=True, exist_ok=True)
        folder = tempfile.TemporaryDirectory(dir=state)
    except OSError as error:
        raise CommandError(f"no folder for keys can be made: {error}; fix: set XDG_STATE_HOME") from None
    with folder as name:
        yield name


def _innermost(error: BaseException) -> str:
    """The reason under urllib3's wrappers, in one line."""
    reason = getattr(error, "reason", None)
    return _innermost(reason) if isinstance(reason, BaseException) else str(error)
