"""`kubepark people`: who is in the team. Edits the list and the stack's secrets, then shows the preview."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from cli import cluster
from cli.errors import CommandError
from cli.passwords import PasswordError, hash_password, hint, read_password
from cli.people_file import PeopleFile, append, put, rows
from cli.questions import answer, confirm
from config import ROOT
from config.people import matrix

# No pretty traceback: it may show the values of variables.
app = typer.Typer(
    help="People who may log in.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Stack = Annotated[
    str, typer.Option("--stack", "-s", envvar="STACK", help="The stack: sandbox, dev, prod, ...")
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")]
NoPreview = Annotated[bool, typer.Option("--no-preview", help="Do not show what `up` would do.")]
Name = Annotated[str, typer.Argument(help="The person's name in the list.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON only.")]
COST = 12  # bcrypt: about 0.3 s for each login


@app.callback()
def people() -> None:
    """People who may log in."""


# -- looking ---------------------------------------------------------------------------------------


@app.command(name="list")
def list_command(stack: Stack = "sandbox", as_json: Json = False) -> None:
    """Show the list: names, roles, tiers, states, namespaces."""
    file = PeopleFile(ROOT, stack)
    found = rows(file.people, file.config)
    _show(found, as_json, "nobody is in the list; add somebody: bin/kubepark people add NAME --email ...")


@app.command()
def access(stack: Stack = "sandbox", as_json: Json = False) -> None:
    """Show who can do what in whose namespace, as the list says (the stack's output `access` is the same)."""
    settings = PeopleFile(ROOT, stack).settings()
    _show(matrix(settings.people, settings.groups), as_json, "nobody has access to anything")


def _show(found: list[dict[str, str]], as_json: bool, nothing: str) -> None:
    if as_json:
        typer.echo(json.dumps(found, indent=2))
    elif not found:
        typer.echo(nothing, err=True)
    else:
        table = [[key.upper() for key in found[0]], *(list(row.values()) for row in found)]
        widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
        for row in table:
            cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            typer.echo("  ".join(cells).rstrip())


# -- changing --------------------------------------------------------------------------------------


@app.command()
def add(
    name: Name,
    email: Annotated[str, typer.Option(help="The e-mail address, which is the login.")] = "",
    display_name: Annotated[str, typer.Option(help="The name that others see.")] = "",
    role: Annotated[str, typer.Option(help="admin, member or viewer.")] = "member",
    tier: Annotated[str, typer.Option(help="small, medium or gpu.")] = "",
    group: Annotated[
        list[str] | None, typer.Option(help="A group of kubepark:groups; may be repeated.")
    ] = None,
    namespace: Annotated[str, typer.Option(help="In place of the e-mail's local part.")] = "",
    no_password: Annotated[
        bool,
        typer.Option("--no-password", help="The person logs in by a connector, or gets a password later."),
    ] = False,
    stack: Stack = "sandbox",
    yes: Yes = False,
    no_preview: NoPreview = False,
) -> None:
    """Add somebody: a line in the list, and a password that is asked for."""
    if not email and sys.stdin.isatty():
        email = answer("E-mail")
    entry: dict[str, Any] = {"name": name, "email": email, "displayName": display_name or name.capitalize()}
    optional = {
        "role": "" if role == "member" else role,
        "tier": tier,
        "groups": group,
        "namespace": namespace,
    }
    entry |= {key: value for key, value in optional.items() if value}

    def change(listed: list[Any]) -> None:
        same = [each for each in listed if isinstance(each, dict) and each.get("name") == name]
        if same and same[0] != entry:
            raise CommandError(f"{name} is in the list already; change the entry there, or use another name")
        if not same:
            append(listed, entry)

    _edit(stack, change, yes=yes, no_preview=no_preview, password_of="" if no_password else name)


@app.command()
def passwd(name: Name, stack: Stack = "sandbox", no_preview: NoPreview = False) -> None:
    """Ask for a new password twice and keep its hash, encrypted, in the stack's configuration."""
    PeopleFile(ROOT, stack).person(name)
    _store(stack, name, _ask())
    typer.echo(f"the new password of {name} counts from the next `up` on; Dex rolls then", err=True)
    _preview(stack, skip=no_preview)


@app.command()
def suspend(name: Name, stack: Stack = "sandbox", yes: Yes = False, no_preview: NoPreview = False) -> None:
    """No login and no access from the next `up` on. Namespace and data stay."""
    _set(stack, name, {"state": "suspended", "data": None}, yes=yes, no_preview=no_preview)


@app.command()
def resume(name: Name, stack: Stack = "sandbox", yes: Yes = False, no_preview: NoPreview = False) -> None:
    """Take back a suspension, or a removal that kept the data."""
    _set(stack, name, {"state": None, "data": None}, yes=yes, no_preview=no_preview)


@app.command()
def remove(
    name: Name,
    data: Annotated[
        str, typer.Option(help="keep: the namespace stays. purge: it is deleted with all volumes.")
    ],
    stack: Stack = "sandbox",
    yes: Yes = False,
    no_preview: NoPreview = False,
) -> None:
    """Remove somebody: no login, no access, and the data kept or purged."""
    asked = data == "purge" and not yes and sys.stdin.isatty()
    if asked and answer(f"Everything of {name} will be deleted. Type the name to go on") != name:
        raise CommandError("another name was typed; nothing was changed")
    _set(stack, name, {"state": "removed", "data": data}, yes=yes, no_preview=no_preview)


@app.command()
def share(
    owner: Annotated[str, typer.Argument(help="Whose namespace.")],
    with_: Annotated[str, typer.Option("--with", help="Who gets access.")],
    role: Annotated[str, typer.Option(help="view or edit.")] = "view",
    stack: Stack = "sandbox",
    yes: Yes = False,
    no_preview: NoPreview = False,
) -> None:
    """Give somebody access to another one's namespace."""
    _set(stack, with_, {}, access={owner: role}, yes=yes, no_preview=no_preview)


@app.command()
def unshare(
    owner: Annotated[str, typer.Argument(help="Whose namespace.")],
    with_: Annotated[str, typer.Option("--with", help="Who loses access.")],
    stack: Stack = "sandbox",
    yes: Yes = False,
    no_preview: NoPreview = False,
) -> None:
    """Take back access that `share` gave. What a group or the admin role gives stays."""
    _set(stack, with_, {}, access={owner: None}, yes=yes, no_preview=no_preview)


def _set(
    stack: str,
    name: str,
    fields: dict[str, str | None],
    *,
    access: dict[str, str | None] | None = None,
    yes: bool,
    no_preview: bool,
) -> None:
    """Change fields of one entry; None takes one away, for the default is what is meant then."""
    file = PeopleFile(ROOT, stack)
    person = file.person(name)
    put(person, fields)
    if access:
        shared = person.setdefault("access", {})
        put(shared, access)
        if not shared:
            del person["access"]
    _finish(file, stack, yes=yes, no_preview=no_preview)


def _edit(
    stack: str, change: Callable[[list[Any]], None], *, yes: bool, no_preview: bool, password_of: str
) -> None:
    file = PeopleFile(ROOT, stack)
    change(file.people)
    file.check()
    hashed = _ask() if password_of and file.difference() else ""
    _finish(file, stack, yes=yes, no_preview=True)
    if hashed:
        try:
            _store(stack, password_of, hashed)  # after the list: pulumi writes into the same file
        except CommandError as error:
            raise CommandError(
                f"{password_of} is in the list, and the password was not stored: {error}\n"
                f"go on with: bin/kubepark people passwd {password_of}"
            ) from None
    _preview(stack, skip=no_preview)


def _finish(file: PeopleFile, stack: str, *, yes: bool, no_preview: bool) -> None:
    """Check, show the difference, ask, write, preview."""
    file.check()
    difference = file.difference()
    if not difference:
        typer.echo(f"{file.path.name} says so already; nothing was changed", err=True)
        return
    typer.echo(difference)
    if not yes:
        if not sys.stdin.isatty():
            raise CommandError("nothing was changed: without a terminal to ask on, --yes is needed")
        confirm(f"Write this to {file.path.name}?")
    file.write()
    _preview(stack, skip=no_preview)


def _ask() -> str:
    """The hash of a password that is asked for."""
    try:
        return hash_password(read_password(), COST)
    except PasswordError as error:
        raise CommandError(f"{error}; nothing was changed") from None


def _store(stack: str, name: str, hashed: str) -> None:
    from cli.pulumi import set_secret

    set_secret(stack, f'kubepark:passwordHashes["{name}"]', hashed)


def _preview(stack: str, *, skip: bool) -> None:
    if skip:
        return
    from cli import operations

    raise typer.Exit(operations.preview(stack, ()))


@app.command()
def kubeconfig(
    name: Name,
    hours: Annotated[
        int, typer.Option(min=1, max=24, help="How long it is valid; it cannot be taken back before.")
    ] = 12,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="A file, for you alone to read.")
    ] = None,
    given: cluster.Option = None,
    stack: Stack = "sandbox",
) -> None:
    """Make a kubeconfig with which somebody uses kubectl as themselves, where `people access` lists them.

    Needs the right to approve certificates. The private key is made here and nowhere else: run this where
    the person works, or hand the file over as you would a password.
    """
    from cli import people_kubeconfig

    cluster.hand_out(people_kubeconfig.kubeconfig(stack, name, hours, given), output)


@app.command()
def sync(
    external: Annotated[
        bool, typer.Option("--external", help="The Dex of a Kubeflow that is not ours; there is no other.")
    ] = False,
    remove: Annotated[bool, typer.Option("--remove", help="Take our accounts out again.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the change, without hashes.")] = False,
    kubeconfig: cluster.Option = None,
    context: Annotated[str | None, typer.Option(help="The kubeconfig's context.")] = None,
    namespace: Annotated[str, typer.Option(help="Where Dex is.")] = "auth",
    config_map: Annotated[str, typer.Option(help="Its ConfigMap.")] = "dex",
    deployment: Annotated[str, typer.Option(help="Its Deployment.")] = "dex",
    stack: Stack = "sandbox",
) -> None:
    """Bring the people of the list into the Dex of a Kubeflow that somebody else installed, and roll it.

    Only accounts of ours are added, changed or removed; hand-made entries and comments stay.
    """
    from cli import people_sync

    if not external:
        raise CommandError("our own Dex follows the list with every `up`; for another one give --external")
    dex = people_sync.DexLocation(namespace, config_map, deployment)
    people_sync.external(stack, dex, remove=remove, dry_run=dry_run, kubeconfig=kubeconfig, context=context)


@app.command(name="hash")
def hash_command(
    name: Annotated[str, typer.Argument(help="The person's name in kubepark:people.")] = "NAME",
    cost: Annotated[int, typer.Option(min=10, max=14, help="bcrypt cost: 12 takes about 0.3 s.")] = COST,
) -> None:
    """Ask for a password twice and print its bcrypt hash (the only line on standard output).

    With standard input redirected, the password is its first line.
    """
    try:
        password = read_password()
    except PasswordError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from None
    typer.echo(hash_password(password, cost))
    if sys.stdout.isatty():
        typer.echo(hint(name), err=True)
