"""Questions on the terminal. Ctrl-C at one ends the command as Ctrl-C does anywhere else in it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

import typer

from cli.errors import CommandError

_T = TypeVar("_T")


def answer(question: str) -> str:
    """What the person types, not empty.

    Raises: KeyboardInterrupt at Ctrl-C or Ctrl-D.
    """
    return str(_ask(typer.prompt, question))


def choose(question: str, choices: Sequence[str], default: str) -> str:
    """One of `choices`; asked again for anything else.

    Raises: KeyboardInterrupt at Ctrl-C or Ctrl-D.
    """
    ask = partial(typer.prompt, default=str(default))
    while (given := str(_ask(ask, f"{question} ({', '.join(choices)})"))) not in choices:
        typer.echo(f"{given} is none of them")
    return given


def confirm(question: str) -> None:
    """Go on only after a yes.

    Raises: CommandError at a no; KeyboardInterrupt at Ctrl-C or Ctrl-D.
    """
    if not _ask(typer.confirm, question):
        raise CommandError("nothing was changed")


def _ask(ask: Callable[[str], _T], question: str) -> _T:
    """The library turns Ctrl-C and Ctrl-D into its own `Abort`, which would end the command with code 1."""
    try:
        return ask(question)
    except typer.Abort:
        raise KeyboardInterrupt from None
