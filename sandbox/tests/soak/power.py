"""`python -m sandbox.tests.soak.power`: random sequences of power commands from two checkouts of one stack.

Half of them with a kill -9 of the command (power_plan.py). Exit code: 0 if each converged and nothing was
lost.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from secrets import randbelow

from sandbox.tests.soak.__main__ import table
from sandbox.tests.soak.power_run import PowerRun
from sandbox.tests.soak.run import Failed
from sandbox.tests.stack.colleague import Colleague
from sandbox.tests.stack.project import Project

SEEDS = 40


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    first = randbelow(10**9) if options.seed is None else options.seed
    print(f"seeds from {first}: `python -m sandbox.tests.soak.power --seed {first}` takes the same again")
    with tempfile.TemporaryDirectory(prefix="kubepark-soak-", ignore_cleanup_errors=True) as name:
        project = Project(Path(name) / "project")
        try:
            run = PowerRun(
                project.as_declared(),
                Colleague(Path(name) / "colleague", project),
                lambda line: print(line, flush=True),
            )
            for seed in range(first, first + options.seeds):
                print(f"seed {seed}", flush=True)
                try:
                    run.run(seed)
                except Failed as failed:
                    print(f"\nFAILED with seed {seed}, {failed}")
                    return 1
        finally:
            project.stop()
    print(f"\n{table('what was done', run.counts)}\n\npassed: {options.seeds} seeds from {first}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="make soak", description="Random sequences of power commands; see docs/park.md."
    )
    parser.add_argument("--seed", type=int, help="the first seed (default: a new one)")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="how many (default: %(default)s)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
