"""Questions on the terminal. Ctrl-C at one ends the command as Ctrl-C does anywhere else in it."""

from __future__ import annotations

import typer

from sandbox.errors import SandboxError


def answer(question: str) -> str:
    """What the person types, not empty.

    Raises: KeyboardInterrupt at Ctrl-C or Ctrl-D; the library turns both into its own `Abort`, which would
        end the command with code 1.
    """
    try:
        return str(typer.prompt(question))
    except typer.Abort:
        raise KeyboardInterrupt from None


def confirm(question: str) -> None:
    """Go on only after a yes.

    Raises: SandboxError at a no; KeyboardInterrupt at Ctrl-C or Ctrl-D.
    """
    try:
        agreed = typer.confirm(question)
    except typer.Abort:
        raise KeyboardInterrupt from None
    if not agreed:
        raise SandboxError("nothing was changed")
