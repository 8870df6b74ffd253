"""`python -m sandbox.tests.soak`: random changes and accidents until the time is over, then the end.

After each step `up` must converge, a preview must show no change, AWS and the cluster must hold
exactly one of each resource, and no lock and no process may be left. Exit code: 0 if that held.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from secrets import randbelow

from sandbox.tests.soak.plan import steps
from sandbox.tests.soak.run import Failed, Soak
from sandbox.tests.stack.project import Project

MINUTES = 10.0


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    seed = randbelow(10**9) if options.seed is None else options.seed
    print(f"seed {seed}: `python -m sandbox.tests.soak --seed {seed}` takes the same steps again", flush=True)
    with tempfile.TemporaryDirectory(prefix="kubepark-soak-", ignore_cleanup_errors=True) as name:
        project = Project(Path(name) / "project")
        soak = Soak(project, lambda line: print(line, flush=True))
        try:
            error = _soak(soak, seed, options.minutes * 60, options.steps)
        finally:
            project.stop()
    print(f"\n{table('what was done', soak.counts)}\n\n{table('kill -9 while creating', soak.kills)}")
    if spared := sorted(set(soak.types) - soak.kills.keys()):
        print(f"\nnever struck (created too fast to be caught): {', '.join(spared)}")
    if error:
        print(f"\nFAILED with seed {seed}, {error}")
        return 1
    print(f"\npassed with seed {seed}")
    return 0


def _soak(soak: Soak, seed: int, seconds: float, most: int | None) -> str:
    """Run; gives what went wrong, or nothing."""
    began = time.monotonic()
    for number, step in enumerate(steps(seed), start=1):
        try:
            soak.step(step)
        except Failed as failed:
            return f"step {number} ({step}):\n{failed}"
        if time.monotonic() - began > seconds or number == most:
            break
    try:
        soak.finish()
    except Failed as failed:
        return f"at the end:\n{failed}"
    return ""


def table(title: str, counts: Counter[str]) -> str:
    width = max([len(title), *map(len, counts)])
    lines = [f"{name:<{width}}  {count:>5}" for name, count in sorted(counts.items())]
    return "\n".join([f"{title:<{width}}  {'times':>5}", *lines])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="make soak", description="Random changes and accidents; see docs/benchmarks.md."
    )
    parser.add_argument("--seed", type=int, help="take the steps of this seed (default: a new one)")
    parser.add_argument(
        "--minutes", type=float, default=MINUTES, help="begin no step after this time (default: %(default)g)"
    )
    parser.add_argument("--steps", type=int, help="end after this many steps")
    return parser


if __name__ == "__main__":
    sys.exit(main())
