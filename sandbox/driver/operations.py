"""The verbs: each prepares the workspace, puts right what an earlier run left, and runs the engine."""

from __future__ import annotations

import json
import re
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sandbox.driver import checkpoint, engine, leftovers, recovery
from sandbox.driver.engine import Outcome
from sandbox.driver.program import ProjectProgram
from sandbox.driver.render import Renderer
from sandbox.driver.workspace import Workspace

INTERRUPTED = 130  # what shells report for a command that SIGINT ended
_REMINDER_CHECK = 2.0  # seconds


def begin(workspace: Workspace, say: Callable[[str], None]) -> None:
    """What every operation starts with. `say` gets one line for each thing that was put right."""
    workspace.prepare()
    for line in leftovers.clear(workspace):
        say(line)
    checkpoint.require_same_cloud(workspace)
    for line in recovery.resolve_pending(workspace):
        say(line)


def up(
    workspace: Workspace, *, show_diff: bool = False, skip_preview: bool = False
) -> tuple[int, dict[str, Any]]:
    """Create or update the stack; gives the exit code and the outputs, secret ones in plain.

    Policies are checked in a preview first, so that a violation or bad input stops it before anything is
    created. The outputs are those that the program came to know: all of them when it succeeded.
    """
    program = ProjectProgram(workspace.config.root)
    arguments = ["up", "--yes", *_policy_packs(workspace), *_quiet()]
    if skip_preview:
        arguments.append("--skip-preview")
    checkpoint.note_cloud(workspace)
    code = _operate(workspace, arguments, _renderer(show_diff=show_diff), program)
    return code, program.outputs


def preview(
    workspace: Workspace,
    *,
    show_diff: bool = False,
    json_output: bool = False,
    expect_no_changes: bool = False,
) -> int:
    """Show what `up` would do. `json_output` prints the engine's own document and nothing else."""
    arguments = ["preview", *_policy_packs(workspace), *_quiet()]
    if expect_no_changes:
        arguments.append("--expect-no-changes")
    if json_output:
        arguments.append("--json")
    lines = _renderer(show_diff=show_diff, quiet=json_output)
    program = ProjectProgram(workspace.config.root)
    return _operate(workspace, arguments, lines, program, json_output=json_output)


def refresh(workspace: Workspace, *, preview_only: bool = False, expect_no_changes: bool = False) -> int:
    """Bring the state up to what is really there, or only show the difference."""
    arguments = ["refresh", *_quiet(), "--preview-only" if preview_only else "--yes"]
    if not preview_only:
        arguments.append("--skip-preview")
    if expect_no_changes:
        arguments.append("--expect-no-changes")
    return _operate(workspace, arguments, _renderer(show_diff=preview_only))


def destroy(workspace: Workspace) -> int:
    """Delete every resource of the stack; the stack itself and its history stay."""
    return _operate(workspace, ["destroy", "--yes", "--skip-preview", *_quiet()], _renderer())


def export(workspace: Workspace, *, show_secrets: bool = False) -> int:
    """Print the deployment as `pulumi stack export` does."""
    workspace.prepare()
    flags = ["--show-secrets"] if show_secrets else []
    print(workspace.run_cli("stack", "export", "--stack", workspace.stack, *flags), end="")
    return 0


def outputs(workspace: Workspace, *, show_secrets: bool = False) -> dict[str, Any]:
    """The stack's outputs; secret ones as `[secret]` unless asked for."""
    workspace.prepare()
    flags = ["--show-secrets"] if show_secrets else []
    text = workspace.run_cli("stack", "output", "--json", "--stack", workspace.stack, *flags)
    result: dict[str, Any] = json.loads(text)
    return result


def cancel(workspace: Workspace, say: Callable[[str], None]) -> int:
    """End the operation that runs on this stack, or what a killed one left, and remove the locks."""
    workspace.prepare()
    current = leftovers.running(workspace.config)
    if current is not None:
        pid, operation = current
        ended = leftovers.end(operation)
        say(f"ended the operation of pid {pid}: {', '.join(ended) or 'nothing was running any more'}")
        leftovers.retract(workspace.config)
    for line in leftovers.clear(workspace):
        say(line)
    return 0


def _operate(
    workspace: Workspace,
    arguments: list[str],
    lines: Renderer,
    program: ProjectProgram | None = None,
    *,
    json_output: bool = False,
) -> int:
    begin(workspace, lambda line: lines.write(f"      {line}"))
    try:
        with _reminders(lines):
            outcome = engine.run(
                workspace,
                arguments,
                on_event=lines.handle,
                program=program,
                meanwhile=program.load if program else None,
                json_output=json_output,
            )
    finally:
        lines.close()
    if json_output:
        sys.stdout.write(outcome.output)
    return _verdict(arguments[0], outcome, lines)


@contextmanager
def _reminders(lines: Renderer) -> Iterator[None]:
    """`lines.remind()` every few seconds, whether events come or not."""
    over = threading.Event()

    def run() -> None:
        while not over.wait(_REMINDER_CHECK):
            lines.remind()

    thread = threading.Thread(target=run, name="reminders", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _verdict(verb: str, outcome: Outcome, lines: Renderer) -> int:
    """Exit code, and the last words: the errors that came as no event (a lock, a bad flag, ...)."""
    if outcome.interrupted:
        ended = "stopped after the steps in flight" if outcome.interrupted == 1 else "killed"
        lines.write(f"{verb} was interrupted: {ended}. Run the same command again to go on.", "bold")
        return INTERRUPTED
    if outcome.code == 0:
        return 0
    if not lines.errors:
        said = _errors_in(outcome.log) or f"error: {verb} failed with code {outcome.code}"
        lines.write(said + _way_out(said), "bold red")
    totals = f": {lines.totals}" if lines.totals else ""
    lines.write(f"{verb} failed after {outcome.seconds:.0f} s{totals}", "bold")
    return 1


def _way_out(said: str) -> str:
    """What Pulumi's own check of the configuration does not say: it ends at the first wrong type."""
    found = re.search(r"Stack '(.+)' with configuration key '(.+)' must be of type '(.+)'", said)
    if found is None:
        return ""
    stack, key, kind = found.groups()
    return (
        f"; accepted: {kind}, as Pulumi.yaml describes it; fix: correct it in Pulumi.{stack}.yaml, or "
        f"pulumi config rm --stack {stack} {key}. Nothing was changed, and what else is wrong is said then"
    )


def _errors_in(log: str) -> str:
    """The `error:` paragraphs of what the CLI printed."""
    kept: list[str] = []
    for line in log.splitlines():
        if line.startswith("error:") or (kept and line.startswith(" ")):
            kept.append(line)
    return "\n".join(dict.fromkeys(kept))


def _policy_packs(workspace: Workspace) -> list[str]:
    pack = workspace.config.root / "policies"
    return ["--policy-pack", str(pack)] if (pack / "PulumiPolicy.yaml").exists() else []


def _quiet() -> list[str]:
    return ["--suppress-outputs", "--suppress-progress"]


def _renderer(*, show_diff: bool = False, quiet: bool = False) -> Renderer:
    """With colour and a live list on a terminal. `quiet`: standard output belongs to a document."""
    stream = sys.stderr if quiet else sys.stdout
    if stream.isatty() and not quiet:
        from sandbox.driver.terminal import TerminalRenderer  # rich: only where it is seen

        return TerminalRenderer(stream, show_diff=show_diff)
    return Renderer(stream, show_diff=show_diff, quiet=quiet)
