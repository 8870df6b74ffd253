"""`python -m sandbox.tests.bench`: speed, measured in one run on a fresh copy of the project.

1. `kubepark up` from nothing (tools built) to the completed GPU Job.
2. `kubepark preview` of the unchanged stack against the engine's floor (`floor.py`), in turns.
3. The same with CRDs of the size of Calico's and Istio's own (`definitions.py`), in turns with the small ones.
   The file backend writes the whole state at each step, as one in S3 does. The limit for `up` is that of 5:
   with simulated nodes it waits for nothing but the API server, which works on the same cores.
4. `kubepark preview` with 10, 50 and 200 more people: whether it grows with their number and no faster.
5. The same `up` on real nodes, where they can run, with small CRDs and with large ones.
6. `up` of a stack with 200 simulated workers, and the memory that the sandbox then takes (`--scale`).
7. Instead of all that, a first `make up` in an empty home: all built, then with downloads (`--first-run`).

Exit code: 0 within the limits, 1 over one of them. See docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

import psutil
import yaml

from sandbox.nodes import choice
from sandbox.nodes.real.backend import ADMIN
from sandbox.processes import Supervisor
from sandbox.tests.bench import definitions
from sandbox.tests.bench.first_run import measure_first_run
from sandbox.tests.bench.floor import Floor
from sandbox.tests.bench.measure import Row, Sample, middle, table, timed
from sandbox.tests.stack.project import Project

UP_SECONDS = 90.0
PREVIEW_RATIO = 2.5
REAL_SECONDS = 150.0
LARGE_PREVIEW, LARGE_UP = 1.5, 1.3  # times the same with the small CRDs
PEOPLE = (10, 50, 200)
GROWTH = 1.5  # times what one person more costs
MANY = 200
MANY_SECONDS = 150.0
RUNS = 5
LARGE_RUNS = 9  # of what is a few percent from its limit
READY = ("Ready", "True")
COMMAND_SECONDS = 600.0  # a command that takes longer is broken, not slow


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="kubepark-bench-") as name:
        rows = measure_first_run(Path(name)) if options.first_run else measure_all(Path(name), options)
    if options.json:
        print(json.dumps({"machine": machine(), "rows": [asdict(row) | {"ok": row.ok} for row in rows]}))
    else:
        print(f"\n{machine()}\n\n{table(rows)}")
    return 0 if all(row.ok for row in rows) else 1


def measure_all(folder: Path, options: argparse.Namespace) -> list[Row]:
    """1 to 4, and 5 where it was asked for."""
    with running(folder / "project") as project:
        rows = measure(project, folder / "floor", options.runs)
        with running(folder / "large") as large:
            rows += measure_large(large, project, options.runs)
        rows += measure_people(project)
    if not choice.obstacle(folder):
        with running(folder / "real", nodes="real") as project:
            rows += measure_real(project)
    if options.scale:
        with running(folder / "many") as project:
            rows += measure_many(project)
    return rows


def measure(project: Project, floor_folder: Path, runs: int) -> list[Row]:
    """Every figure, in the order of the table."""
    _say("up from nothing ...")
    up = timed(lambda: project.ok("up", timeout=COMMAND_SECONDS))
    resources = project.resources()
    floor = Floor(floor_folder, resources)
    floor.run("up")
    ours: list[Sample] = []
    floors: list[float] = []
    for turn in range(1, runs + 1):
        ours.append(timed(lambda: project.ok("preview", "--expect-no-changes", timeout=COMMAND_SECONDS)))
        count, seconds = floor.run("preview")
        floors.append(seconds)
        _say(f"unchanged preview {turn}/{runs}: {ours[-1].seconds:.2f} s, floor {seconds:.2f} s")
    preview, base = middle(ours), middle([Sample(seconds, 0) for seconds in floors])
    kinds = f"{len(resources)} resources"
    return [
        Row("up from nothing to the completed GPU Job", up.seconds, "s", UP_SECONDS, kinds),
        Row("unchanged preview", preview.seconds, "s", note=f"{kinds}, median of {runs}"),
        Row("  its processor time", preview.processor, "s", note="all processes together"),
        Row("engine's floor", base.seconds, "s", note=f"{count} resources, median of {runs}"),
        Row("unchanged preview / floor", preview.seconds / base.seconds, "", PREVIEW_RATIO),
    ]


def measure_large(large: Project, small: Project, runs: int) -> list[Row]:
    """A stack with large CRDs beside the one with small ones, which is deployed and stays."""
    quick = ("up", "--skip-verify", "--skip-preview")
    _say("up from nothing with small and with large CRDs ...")
    first = [timed(lambda: large.ok(*quick, timeout=COMMAND_SECONDS))]
    large.ok("reset")
    manifests = large.root / "sandbox" / "manifests"
    *made, operator, installation = definitions.write(
        large.root, manifests / "calico.yaml", manifests / "kubeflow.yaml"
    )
    for name, path in zip(("calico", "kubeflow"), made, strict=True):
        large.set(f"kubepark:manifests.{name}", path.name)
    first.append(timed(lambda: large.ok(*quick, timeout=COMMAND_SECONDS)))
    # The provider reads the schemas of whatever is there: with simulated nodes, of the operator's one CRD.
    apply = ("apply", "--server-side", "--force-conflicts", "--field-manager=operator", "-f")
    large.kubectl(*apply, str(operator), "-f", str(installation))
    previews: list[list[Sample]] = [[], []]
    runs = max(runs, LARGE_RUNS)
    for turn in range(1, runs + 1):
        for samples, project in zip(previews, (small, large), strict=True):
            words = ("preview", "--expect-no-changes")
            samples.append(timed(partial(project.ok, *words, timeout=COMMAND_SECONDS)))
        _say(f"unchanged preview {turn}/{runs}: small {previews[0][-1].seconds:.2f} s, "
             f"large {previews[1][-1].seconds:.2f} s")  # fmt: skip
    state = [project.checkpoint_file.stat().st_size // 1000 for project in (small, large)]
    note = f"state of {state[1]} kB and {state[0]} kB, median of {runs}"
    return [
        _times("unchanged preview with large CRDs / small ones", *map(middle, previews), LARGE_PREVIEW, note),
        _times("up from nothing with large CRDs / small ones", *first, None, "file backend, as in S3"),
    ]


def _times(name: str, few: Sample, many: Sample, limit: float | None, note: str) -> Row:
    told = (
        f"{many.seconds:.1f} s and {few.seconds:.1f} s, processor {many.processor / few.processor:.2f} times"
    )
    return Row(name, many.seconds / few.seconds, "", limit, f"{told}; {note}")


def measure_people(project: Project) -> list[Row]:
    """Previews of lists of different lengths. What one more person costs is to stay the same."""
    known = yaml.safe_load(project.stack_file.read_text(encoding="utf-8"))["config"]["kubepark:people"]
    seconds: dict[int, float] = {}
    for count in PEOPLE:
        more = [{"name": f"p{n:03d}", "email": f"p{n:03d}@example.org"} for n in range(count)]
        project.set("kubepark:people", [*known, *more])
        project.ok("preview", timeout=COMMAND_SECONDS)  # makes up their passwords
        samples = [timed(lambda: project.ok("preview", timeout=COMMAND_SECONDS)) for _ in range(3)]
        seconds[count] = middle(samples).seconds
        _say(f"preview with {count} more people: {seconds[count]:.2f} s")
    few, some, many = PEOPLE
    first = (seconds[some] - seconds[few]) / (some - few)
    later = (seconds[many] - seconds[some]) / (many - some)
    note = f"{later * 1000:.0f} ms and {first * 1000:.0f} ms"
    rows = [
        Row(f"preview with {count} more people", seconds[count], "s", note="median of 3") for count in PEOPLE
    ]
    return [
        *rows,
        Row(f"  each from {some} to {many} / from {few} to {some}", later / first, "", GROWTH, note),
    ]


def measure_real(project: Project) -> list[Row]:
    """`up` on real nodes, with small CRDs and with large ones."""
    _say("up on real nodes ...")
    few = timed(lambda: project.ok("up", timeout=COMMAND_SECONDS))
    note = f"5 nodes, {memory(project):.0f} MiB"
    project.ok("reset")
    manifests = project.root / "sandbox" / "manifests"
    _, kubeflow, operator, _ = definitions.write(
        project.root, manifests / "calico.yaml", manifests / "kubeflow.yaml"
    )
    project.set("kubepark:manifests.kubeflow", kubeflow.name)
    _say("up on real nodes with large CRDs ...")
    with _operator(project, operator):
        many = timed(lambda: project.ok("up", timeout=COMMAND_SECONDS))
    return [
        Row("up on real nodes to the completed GPU Job", few.seconds, "s", REAL_SECONDS, note),
        _times("  with large CRDs / small ones", few, many, LARGE_UP, "Calico's are its operator's own"),
    ]


@contextlib.contextmanager
def _operator(project: Project, manifest: Path) -> Iterator[None]:
    """Calico's operator, as far as its CRDs go: they are there soon after the API. Fails if they never were."""
    ended, made = threading.Event(), threading.Event()

    def make() -> None:
        words = ("apply", "--server-side", "--force-conflicts", "--field-manager=operator", "-f", manifest)
        command = [project.state / "bin" / "kubectl", "--kubeconfig", project.state / ADMIN, *words]
        while not ended.wait(0.5):
            if (project.state / ADMIN).exists() and not subprocess.run(
                command, capture_output=True
            ).returncode:
                made.set()
                return

    thread = threading.Thread(target=make)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
    assert made.is_set(), f"{manifest} was never taken"


def measure_many(project: Project) -> list[Row]:
    _say(f"up with {MANY} simulated workers ...")
    names = [f"worker{number:02d}" for number in range(1, MANY + 1)]
    project.set("kubepark:workers.nodes", {name: {} for name in names})
    project.set("kubepark:controlPlane.waitMinutes", 20)
    up = timed(lambda: project.ok("up", "--skip-preview", timeout=COMMAND_SECONDS))
    nodes = project.get("nodes")["items"]
    ready = [c for node in nodes for c in node["status"]["conditions"] if (c["type"], c["status"]) == READY]
    name = f"up with {MANY} simulated workers"
    return [
        Row(name, up.seconds, "s", MANY_SECONDS, f"{len(ready)} of {MANY + 2} nodes Ready"),
        Row("  memory of the sandbox", memory(project), "MiB", note="resident, all processes"),
    ]


def memory(project: Project) -> float:
    """Resident memory of the sandbox's processes and of what they started, in MiB."""
    total = 0
    for record in Supervisor(project.state / "state.json", project.state).records().values():
        with contextlib.suppress(psutil.NoSuchProcess):
            leader = psutil.Process(record.pid)
            total += sum(each.memory_info().rss for each in [leader, *leader.children(recursive=True)])
    return total / 2**20


@contextlib.contextmanager
def running(folder: Path, nodes: str = "simulated") -> Iterator[Project]:
    """A copy of the project whose processes end with the block."""
    folder.mkdir()
    project = Project(folder, nodes=nodes)
    try:
        yield project
    finally:
        project.stop()


def machine() -> str:
    """What the figures depend on, in a line."""
    load = os.getloadavg()[0]
    return (
        f"{os.cpu_count()} cores, Python {platform.python_version()}, {platform.system()} "
        f"{platform.release()}; load average at the end {load:.1f}"
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make bench", description="Measure speed; see docs/benchmarks.md.")
    parser.add_argument("--json", action="store_true", help="print one JSON document on standard output")
    parser.add_argument("--runs", type=int, default=RUNS, help="previews of each side (default: %(default)s)")
    parser.add_argument("--scale", action="store_true", help=f"also a stack of {MANY} simulated workers")
    parser.add_argument("--first-run", action="store_true", help="only a first `make up` in an empty home")
    return parser


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
