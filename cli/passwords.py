"""Passwords: asked for, checked, hashed. A password never leaves this process, only its hash does."""

from __future__ import annotations

import getpass
import sys
from collections.abc import Callable

LEAST_CHARACTERS = 12
MOST_BYTES = 72  # bcrypt reads no more
# The password of the account that Kubeflow's own manifests bring.
KNOWN_DEFAULTS = ("12341234",)


class PasswordError(Exception):
    """A password cannot be used; the text lists every reason and never the password."""


def read_password(
    ask: Callable[[str], str] = getpass.getpass, stdin_is_terminal: Callable[[], bool] | None = None
) -> str:
    """The password, typed twice without echo, or one line of redirected standard input.

    Raises: PasswordError when the two differ or the password cannot be used.
    """
    terminal = (stdin_is_terminal or sys.stdin.isatty)()
    if terminal:
        password = ask("Password: ")
        if ask("Again: ") != password:
            raise PasswordError("the two passwords differ")
    else:
        line = sys.stdin.buffer.readline().rstrip(b"\r\n")
        password = line.decode(errors="surrogateescape")
    found = problems(password)
    if found:
        raise PasswordError("the password cannot be used: " + "; ".join(found))
    return password


def problems(password: str) -> list[str]:
    """Why a password is refused; empty when it is accepted."""
    try:
        size = len(password.encode())
    except UnicodeEncodeError:
        return ["it is not UTF-8 text"]
    found = []
    if len(password) < LEAST_CHARACTERS:
        found.append(f"{len(password)} characters, accepted: at least {LEAST_CHARACTERS}")
    if size > MOST_BYTES:
        found.append(f"{size} bytes in UTF-8, accepted: at most {MOST_BYTES} (bcrypt reads no more)")
    if "\0" in password:
        found.append("it contains a NUL character")
    if any(default in password for default in KNOWN_DEFAULTS):
        found.append("it contains the default password of Kubeflow's manifests")
    return found


def hash_password(password: str, cost: int) -> str:
    """bcrypt, `$2b$`, with a fresh salt: hash once and keep it, for each run gives another."""
    import bcrypt  # only here: most commands hash nothing

    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(rounds=cost)).decode()


def hint(name: str) -> str:
    """How to store the hash without putting it on a command line, where other users could read it."""
    path = f"'kubepark:passwordHashes.{name}'"
    return (
        "Store it in the stack (paste it when asked; the value is not echoed):\n"
        f"  pulumi config set --secret --path {path}\n"
        f"or at once:\n  bin/kubepark people hash {name} | pulumi config set --secret --path {path}"
    )
