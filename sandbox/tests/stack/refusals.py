"""Running the real command on what must be refused, and looking up that nothing was created."""

from __future__ import annotations

import json
from typing import Any

from sandbox.tests.stack.leaks import is_of_node
from sandbox.tests.stack.project import Project

READS = ("Describe", "Get", "List")
BOOKKEEPING = ("pulumi:pulumi:Stack", "pulumi:providers:")


def mutations(project: Project) -> int:
    """How many calls but those of nodes, which go on reporting, would change something."""
    log = project.state / "logs" / "requests.jsonl"
    lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
    return sum(
        not each["action"].startswith(READS) and not is_of_node(each) for each in map(json.loads, lines)
    )


def resources(project: Project) -> list[str]:
    """What the state holds beside the stack and its providers."""
    return [item["urn"] for item in project.resources() if not item["type"].startswith(BOOKKEEPING)]


def refused(project: Project, verb: str = "up", **env: str) -> list[str]:
    """Run a command that must be refused; gives the lines of its one error, without indentation."""
    before, differed = mutations(project), project.differs
    done = project.run(verb, **env)
    assert done.returncode not in (0, 2), done.stdout
    assert "Traceback" not in done.stdout
    assert mutations(project) == before, done.stdout
    project.differs = differed
    return the_error(done.stdout)


def the_error(output: str) -> list[str]:
    """The lines of the one error that a command ends with, ours or under the CLI's `Diagnostics:`."""
    _, _, shown = output.rpartition("Diagnostics:\n")
    lines = [line.strip() for line in (shown or output).splitlines()]
    starts = [number for number, line in enumerate(lines) if line.startswith("error: ")]
    assert len(starts) == 1, output
    rest = lines[starts[0] :]
    return rest[: rest.index("")] if "" in rest else rest


def program_error(output: str) -> list[str]:
    """The lines of the error that the program ended with; nodes that fail have errors of their own."""
    shown = output.rpartition("Diagnostics:\n")[2].splitlines()
    (start,) = (n for n, line in enumerate(shown) if line == "  pulumi:pulumi:Stack (kubepark-sandbox):")
    lines = [line.strip() for line in shown[start + 1 :]]
    lines = lines[: lines.index("")]
    return lines[max(n for n, line in enumerate(lines) if line.startswith("error: ")) :]


def problems(project: Project, **changes: Any) -> list[str]:
    """The problems of the stack file with `changes` (`network__vpcCidr=...`), one line each."""
    with project.changed():
        for path, value in changes.items():
            project.set(f"kubepark:{path.replace('__', '.')}", value)
        first, *lines = refused(project)
    count = "1 problem" if len(lines) == 1 else f"{len(lines)} problems"
    assert first == f"error: the configuration of stack sandbox has {count}; nothing was changed:"
    for line in lines:
        assert line.startswith("- kubepark:"), line
        assert "; accepted: " in line, line
        assert "; fix: " in line.partition("; accepted: ")[2], line
    return [line.removeprefix("- ") for line in lines]
