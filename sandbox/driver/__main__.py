"""`python -m sandbox.driver [--root DIR] [--stack NAME] VERB`: one engine operation, then the end.

Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from sandbox import config
from sandbox.errors import SandboxError


def parser() -> argparse.ArgumentParser:
    result = argparse.ArgumentParser(prog="sandbox.driver", description=__doc__)
    result.add_argument("--root", type=Path, default=Path.cwd(), help="the project (default: here)")
    result.add_argument("--stack", default="sandbox")
    verbs = result.add_subparsers(dest="verb", required=True)
    up = verbs.add_parser("up", help="create or update the stack")
    up.add_argument("--diff", action="store_true", help="show values, not only property names")
    up.add_argument("--skip-preview", action="store_true", help="do not check everything first")
    preview = verbs.add_parser("preview", help="show what up would do")
    preview.add_argument("--diff", action="store_true", help="show values, not only property names")
    preview.add_argument("--json", action="store_true", help="print the engine's JSON document")
    preview.add_argument("--expect-no-changes", action="store_true", help="fail if there is any change")
    refresh = verbs.add_parser("refresh", help="read what is really there into the state")
    refresh.add_argument("--preview-only", action="store_true", help="show the difference only")
    refresh.add_argument("--expect-no-changes", action="store_true", help="fail if there is any change")
    verbs.add_parser("destroy", help="delete every resource of the stack")
    for name, text in (("export", "print the deployment"), ("outputs", "print the stack outputs as JSON")):
        verbs.add_parser(name, help=text).add_argument("--show-secrets", action="store_true")
    verbs.add_parser("cancel", help="end a running or killed operation and remove its lock")
    return result


def main(arguments: list[str] | None = None) -> int:
    """Run one verb. Gives the exit code."""
    options = parser().parse_args(arguments)
    try:
        return _run(options)
    except SandboxError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _run(options: argparse.Namespace) -> int:
    from sandbox.driver import operations
    from sandbox.driver.workspace import Workspace

    workspace = Workspace(config.load(options.root, options.stack))
    match options.verb:
        case "up":
            return operations.up(workspace, show_diff=options.diff, skip_preview=options.skip_preview)[0]
        case "preview":
            return operations.preview(
                workspace,
                show_diff=options.diff,
                json_output=options.json,
                expect_no_changes=options.expect_no_changes,
            )
        case "refresh":
            return operations.refresh(
                workspace, preview_only=options.preview_only, expect_no_changes=options.expect_no_changes
            )
        case "destroy":
            return operations.destroy(workspace)
        case "export":
            return operations.export(workspace, show_secrets=options.show_secrets)
        case "outputs":
            print(json.dumps(operations.outputs(workspace, show_secrets=options.show_secrets), indent=2))
            return 0
        case _:
            return operations.cancel(workspace, print)


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # A program that was interrupted may still wait for something in its thread. Nobody waits for it.
    os._exit(code)
