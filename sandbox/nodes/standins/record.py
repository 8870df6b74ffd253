"""How a stand-in ends: whatever it was asked is recorded, and what it does not know is an error."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn
from urllib.parse import quote

LOG = Path("/var/log/kubepark-sandbox.jsonl")
OUTSIDE = "http://169.254.169.254:8080/reach"


class Usage(Exception):
    """Called in a way that this stand-in does not know."""


class Failed(Exception):
    """Ends as the real command would: with this text on stderr and this exit code."""

    def __init__(self, text: str, code: int = 1) -> None:
        super().__init__(text)
        self.code = code


def run(act: Callable[[str, list[str]], int]) -> NoReturn:
    """`act(name, arguments)` gives the exit code. Arguments hold no secrets: they are recorded."""
    name, arguments = Path(sys.argv[0]).name, sys.argv[1:]
    code = 70  # EX_SOFTWARE: this stand-in itself is wrong
    try:
        code = act(name, arguments)
    except Usage as error:
        print(f"{name}: this stand-in does not know: {error}", file=sys.stderr)
        code = 64  # EX_USAGE
    except Failed as error:
        print(error, file=sys.stderr)
        code = error.code
    finally:
        _note([name, *arguments], code)
    sys.exit(code)


def hand_over(program: str, arguments: list[str]) -> NoReturn:
    """Become the real command; its exit code is its own."""
    name = Path(program).name
    _note([name, *arguments], None)
    os.execv(program, [name, *arguments])


def _note(command: list[str], code: int | None) -> None:
    line = json.dumps({"at": round(time.time(), 3), "command": command, "code": code})
    with LOG.open("a") as log:
        print(line, file=log)


def reach(host: str, port: int) -> str:
    """Why a public host cannot be reached, in curl's words; "" if it can."""
    # Half of a command's time otherwise, and most commands ask nobody.
    import urllib.error
    import urllib.request

    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{OUTSIDE}?host={quote(host)}&port={port}", timeout=10):
            return ""
    except urllib.error.HTTPError as error:
        return error.read().decode()
    except OSError as error:
        return f"curl: (6) Could not resolve host: {host} ({error})"
