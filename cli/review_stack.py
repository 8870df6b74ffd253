"""`kubepark review-stack`: a small cluster for one pull request, from a template, that expires.

Which there are, the backend says; until when, a tag of everything that a stack has in AWS.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer

from cli import environments, github, operations, pulumi, round_trip
from cli.destroy import Request
from cli.errors import CommandError
from cli.pulumi import Pulumi
from cli.stackfile import CLIENT_SECRET, config_of, loaded, stack_file, text_of
from cli.volume_policy import VolumePolicy
from config import ROOT
from config.files import replace_file
from config.naming import PROJECT

TEMPLATE = "review"
EXPIRES = "expires"  # tag: UTC, as `_STAMP`
PULL_REQUEST = "pull-request"  # tag
_STAMP = "%Y-%m-%dT%H:%MZ"
_STACK = re.compile(r"(?:.*/)?pr-([1-9][0-9]*)")
_TAGS = f"{PROJECT}:tags"
_AWS_PROVIDER = "pulumi:providers:aws"

app = typer.Typer(
    help="A cluster for one pull request.", no_args_is_help=True, pretty_exceptions_enable=False
)
HOURS = 24
Number = Annotated[int, typer.Argument(metavar="NUMBER", min=1, help="Of the pull request.")]


@app.callback()
def review_stack() -> None:
    """A cluster for one pull request."""


Hours = Annotated[
    int, typer.Option(min=1, max=168, help="Until it expires; later updates keep what the first one said.")
]


@app.command()
def file(number: Number, hours: Hours = HOURS) -> None:
    """Make Pulumi.pr-NUMBER.yaml from Pulumi.review.yaml, and nothing else: other commands take it then."""
    write(number, datetime.now(UTC) + timedelta(hours=hours))


@app.command()
def up(number: Number, hours: Hours = HOURS) -> None:
    """Create or update the stack pr-NUMBER from Pulumi.review.yaml: no GPU, nobody in it, a day to live."""
    stack = f"pr-{number}"
    write(number, datetime.now(UTC) + timedelta(hours=hours))
    with pulumi.on(stack, "config") as cli:
        if number not in _numbers(cli):
            cli.read("stack", "init", *_secrets_provider(stack))
        if kept := expiry(_resources(cli)):
            write(number, kept)
        if not environments.is_sandbox(stack):  # which makes its own
            cli.read("config", "set", "--secret", CLIENT_SECRET, given=secrets.token_hex(32))
    code = operations.up(stack, ["--skip-preview"], yes=True, verify=False)
    typer.echo(f"{stack} expires at {config_of(stack)[_TAGS][EXPIRES]}")
    raise typer.Exit(code)


@app.command()
def down(number: Number) -> None:
    """Destroy the stack pr-NUMBER with all that its cluster left, and forget it."""
    raise typer.Exit(_down(number))


@app.command()
def sweep(
    closed: Annotated[
        bool, typer.Option("--closed", help="Also those whose pull request is closed; gh is asked.")
    ] = False,
) -> None:
    """Destroy every review stack that has expired."""
    if closed:
        github.require("--closed")
    with pulumi.on(TEMPLATE, "config") as cli:
        numbers = _numbers(cli)
    failed = []
    for number in numbers:
        with pulumi.on(TEMPLATE, "config") as cli:
            until = expiry(_resources(Pulumi(f"pr-{number}", cli.variables)))
        reason = due(until, datetime.now(UTC))
        if not reason and closed and _is_closed(number):
            reason = "its pull request is closed"
        stays = f"stays until {until:{_STAMP}}" if until else "has nothing yet, and stays"
        typer.echo(f"pr-{number}: {reason or stays}")
        if reason and _down(number) != 0:
            failed.append(f"pr-{number}")
    if failed:
        raise CommandError(f"not destroyed: {', '.join(failed)}; what is left of each is listed above")


def write(number: int, until: datetime) -> None:
    """Make the stack's file: the template, with tags that say for what it is and until when."""
    template = stack_file(TEMPLATE)
    document = round_trip.load(text_of(template))
    config = round_trip.part(document, "config", {})
    tags = round_trip.part(config, _TAGS, {})
    tags |= {PULL_REQUEST: str(number), EXPIRES: f"{until:{_STAMP}}"}
    replace_file(ROOT / f"Pulumi.pr-{number}.yaml", round_trip.dump(document, text_of(template)))


def expiry(resources: Sequence[Mapping[str, Any]]) -> datetime | None:
    """Until when a stack lives, as the tags of what it has say; None where it has nothing."""
    for each in resources:
        if each["type"] == _AWS_PROVIDER:
            tags = json.loads(each["inputs"]["defaultTags"])["tags"]
            return datetime.strptime(tags[EXPIRES], _STAMP).replace(tzinfo=UTC)
    return None


def due(until: datetime | None, now: datetime) -> str:
    """Why a stack has to go; "" if it may stay. What has nothing yet may be in the making."""
    return f"expired at {until:{_STAMP}}" if until and until <= now else ""


def _down(number: int) -> int:
    stack = f"pr-{number}"
    write(number, datetime.now(UTC))  # another runner made it
    with pulumi.on(stack, "config") as cli:
        there = number in _numbers(cli)
    if there:
        request = Request(yes=True, purge=True, volumes=VolumePolicy.DELETE)
        if code := operations.destroy(stack, [], request):
            return code
        with pulumi.on(stack, "config") as cli:
            cli.read("stack", "rm", "--yes")
    (ROOT / f"Pulumi.{stack}.yaml").unlink(missing_ok=True)
    typer.echo(f"{stack} is gone" if there else f"there is no stack {stack}")
    return 0


def _numbers(cli: Pulumi) -> list[int]:
    """The pull requests that have a stack."""
    found = json.loads(cli.read("stack", "ls", "--json"))
    return sorted(int(match[1]) for each in found if (match := _STACK.fullmatch(each["name"])))


def _resources(cli: Pulumi) -> Sequence[Mapping[str, Any]]:
    found = (json.loads(cli.read("stack", "export"))["deployment"] or {}).get("resources")
    return found or []


def _secrets_provider(stack: str) -> Sequence[str]:
    document = loaded(f"Pulumi.{stack}.yaml", text_of(stack_file(stack)))
    named = document.get("secretsprovider")
    return ["--secrets-provider", str(named)] if named else []


def _is_closed(number: int) -> bool:
    path = f"{github.repository()}/pulls/{number}"
    state = github.api(f"pull request {number} cannot be asked for", [path, "--jq", ".state"]).strip()
    if state not in ("open", "closed"):
        raise CommandError(f"pull request {number} is {state or 'nothing'}, which is neither open nor closed")
    return state == "closed"
