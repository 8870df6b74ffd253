"""The Kubernetes API of a stack, for commands that need the cluster.

`--kubeconfig` and `KUBECONFIG` win; else it is the file that `up` keeps for a sandbox stack; else what the
master published, which is read with the caller's AWS credentials when it is needed and kept in memory.
"""

from __future__ import annotations

import contextlib
import os
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from cli import aws, environments, private, pulumi
from cli.errors import CommandError
from cli.pulumi import Pulumi
from cli.stackfile import cluster_of
from config import kubeconfig as operator
from config.files import replace_file
from config.naming import Naming

Kubeconfig = str | Path | Mapping[str, Any]  # file, or several as in KUBECONFIG; or what is in one

Option = Annotated[
    str | None,
    typer.Option("--kubeconfig", envvar="KUBECONFIG", help="Kubeconfig file. Default: the stack's own."),
]


def kubeconfig_of(stack: str, given: str | None = None) -> Kubeconfig:
    """The kubeconfig for a stack; `given`: what the person named. Raises `CommandError` if there is none."""
    kept = given or environments.of(stack).kubeconfig
    return kept if kept is not None else parsed(operators(stack), stack)


def operators(stack: str) -> str:
    """The text of the operator's kubeconfig. Raises: CommandError."""
    kept = environments.of(stack).kubeconfig
    if kept is not None and kept.exists():
        return kept.read_text(encoding="utf-8")
    with pulumi.on(stack, "stack") as cli:
        text = published(cli)
    if not text:
        raise CommandError(
            f"stack {stack} has no cluster yet: run `bin/kubepark up --stack {stack}`, "
            "or name a file by --kubeconfig"
        )
    return text


def published(cli: Pulumi) -> str:
    """The operator's kubeconfig as the stack's master published it, for the endpoint that the stack has now;
    "" where nothing is deployed.

    Raises: CommandError if the credentials may not read it.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    stack, endpoint = cli.stack, cli.outputs().get("api_endpoint")
    if not endpoint:
        return ""
    name = Naming(cluster_of(stack)).kubeconfig_parameter
    try:
        ssm = aws.client("ssm", stack, cli.variables)
        text = str(ssm.get_parameter(Name=name, WithDecryption=True)["Parameter"]["Value"])
    except (BotoCoreError, ClientError) as error:
        raise CommandError(
            f"the kubeconfig of stack {stack} cannot be read: {error}. Needed: ssm:GetParameter on {name}, "
            "and kms:Decrypt with the cluster's key"
        ) from None
    return operator.with_server(text, str(endpoint))


def hand_out(text: str, file: Path | None) -> None:
    """Print a kubeconfig, or write it to a file that nobody else can read. Raises: CommandError."""
    if file is None:
        typer.echo(text, nl=not text.endswith("\n"))
        return
    try:
        replace_file(file, text)
    except OSError as error:
        raise CommandError(f"{file} cannot be written: {error.strerror}") from None
    typer.echo(f"wrote {file}; use it by: export KUBECONFIG={shlex.quote(str(file.resolve()))}", err=True)


def parsed(text: str, stack: str) -> Mapping[str, Any]:
    """A kubeconfig as a document. Raises `CommandError` that shows nothing of it."""
    import yaml

    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError:
        document = None  # the library's message would show a part of the secret
    if not isinstance(document, Mapping):
        raise CommandError(f"what the master of stack {stack} published is no kubeconfig")
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
    with contextlib.ExitStack() as kept:
        try:
            state.mkdir(parents=True, exist_ok=True)
            folder = kept.enter_context(private.folder(state))
        except OSError as error:
            raise CommandError(f"no folder for keys can be made: {error}; fix: set XDG_STATE_HOME") from None
        yield str(folder.path)


def _innermost(error: BaseException) -> str:
    """The reason under urllib3's wrappers, in one line."""
    reason = getattr(error, "reason", None)
    return _innermost(reason) if isinstance(reason, BaseException) else str(error)
