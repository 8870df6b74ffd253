"""How long a first `make up` takes: an empty home, a fresh clone, once with all built, once with downloads.

The hosts of the projects' releases are on loopback (`publishers`) and hand out what was built just before.
"""

from __future__ import annotations

import os
import platform
import re
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from sandbox.build.gomodules import MODULES, plan
from sandbox.build.releases import RELEASES, assets
from sandbox.tests.bench.measure import Row
from sandbox.tests.build.publishers import publishers
from sandbox.tests.stack.project import ROOT

BUILT_SECONDS = 720.0
DOWNLOADED_SECONDS = 180.0
LATER_SECONDS = 75.0
_PART = re.compile(r"^(?:\[.*?\] )?((?:installed|built|downloaded|fetched) .*) in (\d+) s$")
_OF_OTHERS = ("KUBEPARK_", "GOPATH", "GOCACHE", "GOMODCACHE", "XDG_", "UV_CACHE", "PIP_CACHE", "PULUMI_")


def measure_first_run(folder: Path) -> list[Row]:
    """Rows of both ways and of a later `up`, each followed by its parts."""
    home, clone = folder / "built", folder / "clone"
    with _clone(clone, home) as variables:
        rows = _up("first `make up`, all built", clone, variables, BUILT_SECONDS)
        _make("down", clone, variables)
        rows += _up("later `make up`, real nodes", clone, variables, LATER_SECONDS)
    tools = home / ".cache" / "kubepark" / "tools"
    (folder / "hosts").mkdir()
    with publishers(folder / "hosts") as hosts:
        hosts.others = True  # the package registries
        for name, release in RELEASES.items():
            item = plan(MODULES[name])
            built = tools / item.folder / "bin"
            if built.exists():
                programs = {program: built / program for program in item.packages}
                hosts.publish(assets(item, release, platform.machine()), programs)
        with _clone(clone, folder / "downloaded", hosts.variables()) as variables:
            rows += _up("first `make up`, downloads", clone, variables, DOWNLOADED_SECONDS)
    return rows


@contextmanager
def _clone(clone: Path, home: Path, more: Mapping[str, str] | None = None) -> Iterator[dict[str, str]]:
    """A clone of what is committed, and an environment in which nothing was ever built."""
    subprocess.run(["git", "clone", "--quiet", ROOT, clone], check=True)
    home.mkdir()
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_OF_OTHERS)}
    variables = kept | {"HOME": str(home)} | dict(more or {})
    try:
        yield variables
    finally:
        _make("down", clone, variables)
        subprocess.run(["rm", "-rf", clone], check=True)


def _up(name: str, clone: Path, variables: Mapping[str, str], limit: float) -> list[Row]:
    begin = time.monotonic()
    text = _make("up", clone, variables)
    total = time.monotonic() - begin
    parts = [
        Row(f"  {part[1]}", float(part[2]), "s") for line in text.splitlines() if (part := _PART.match(line))
    ]
    return [Row(name, total, "s", limit), *parts]


def _make(target: str, clone: Path, variables: Mapping[str, str]) -> str:
    done = subprocess.run(
        ["make", target],
        cwd=clone,
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    print(done.stdout, flush=True)
    done.check_returncode()
    return done.stdout
