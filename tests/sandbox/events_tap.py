"""`python events_tap.py FILE VERB...`: the `kubepark` command, with each engine event also in FILE.

A script for another process: PYTHONPATH names the project whose command it is.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from cli.main import main
from sandbox.driver import engine

FILE = Path(sys.argv[1])
run = engine.run


def tapped(workspace: Any, arguments: Any, *, on_event: Any, **options: Any) -> engine.Outcome:
    with FILE.open("a", encoding="utf-8") as file:

        def record(event: Any) -> None:
            file.write(json.dumps(event) + "\n")
            on_event(event)

        return run(workspace, arguments, on_event=record, **options)


if __name__ == "__main__":
    engine.run = tapped
    code = main(sys.argv[2:])
    sys.stdout.flush()
    os._exit(code)
