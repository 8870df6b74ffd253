"""The programs that the sandbox runs, downloaded or built once per user in pinned versions.

`ensure_tools` gives one folder of symlinks to go on PATH, with `pulumi` (PATH's own if new enough) and
`kubectl` (a wheel); `ensure_programs` only says where each program is.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from sandbox.build.gomodules import MODULES, SANDBOX_MODULES, Plan, plan
from sandbox.build.obtain import obtain, programs
from sandbox.build.staged import make_once
from sandbox.errors import SandboxError
from sandbox.files import cache_dir
from sandbox.processes import output

OVERRIDE_VARIABLE = "KUBEPARK_TOOLS"  # a folder that has every built tool already
PULUMI_VARIABLE = "KUBEPARK_PULUMI"  # "built": never take pulumi from PATH
MINIMUM_PULUMI = (3, 259)


def ensure_tools(names: Collection[str] | None = None) -> Path:
    """A folder with the executables of the modules `names` (default: what the sandbox runs).

    Downloads or builds what the cache lacks (`sandbox.build.obtain`); progress goes to standard error.
    `KUBEPARK_TOOLS` names a folder that is used instead. Raises `SandboxError`, also for what that folder
    lacks.
    """
    found = ensure_programs(SANDBOX_MODULES if names is None else names)
    return _link_farm({"kubectl": _kubectl(), **found}, cache_dir())


def ensure_programs(names: Collection[str], beside: Sequence[Callable[[], object]] = ()) -> dict[str, Path]:
    """Each executable of the modules `names` by its name, as `ensure_tools` finds or obtains them.

    For what must not go on PATH: a CNI plugin is called `bridge`, as a command of the system is. `beside`:
    other work that is to be done, meanwhile.
    """
    cache, given = cache_dir(), os.environ.get(OVERRIDE_VARIABLE)
    items = [plan(MODULES[name]) for name in dict.fromkeys(names)]
    found: dict[str, Path] = {}
    if not given and "pulumi" in names and (own := path_pulumi()):
        found["pulumi"] = own
        items = [item for item in items if item.module != "pulumi"]
    obtain([] if given else items, beside, cache)
    for item in items:
        folder = _checked(Path(given), item) if given else programs(item, cache)
        assert folder is not None
        found.update({name: (folder / name).resolve() for name in item.packages})
    return found


def _checked(folder: Path, item: Plan) -> Path:
    missing = [name for name in item.packages if not os.access(folder / name, os.X_OK)]
    if missing:
        raise SandboxError(
            f"{OVERRIDE_VARIABLE}={folder} lacks {', '.join(missing)}: unset it to have them built"
        )
    return folder


def path_pulumi() -> Path | None:
    """The `pulumi` on PATH if it is new enough and `KUBEPARK_PULUMI` does not say `built`."""
    found = shutil.which("pulumi")
    if found is None or os.environ.get(PULUMI_VARIABLE) == "built":
        return None
    variables = {**os.environ, "PULUMI_SKIP_UPDATE_CHECK": "true"}
    try:
        said = output([found, "version"], env=variables, timeout=30)
    except SandboxError:
        return None
    match = re.match(r"v(\d+)\.(\d+)\.", said)
    new_enough = match is not None and (int(match[1]), int(match[2])) >= MINIMUM_PULUMI
    return Path(found).resolve() if new_enough else None


def _kubectl() -> Path:
    """kubectl from the wheel beside this Python."""
    kubectl = Path(sys.prefix) / "bin" / "kubectl"
    if not kubectl.exists():
        raise SandboxError(f"{kubectl} is missing: run `make venv`, which installs requirements-dev.txt")
    return kubectl


def _link_farm(links: Mapping[str, Path], cache: Path) -> Path:
    """A folder of symlinks, named by what it points at, so that it never changes once made."""
    key = hashlib.sha256(repr(sorted((name, str(path)) for name, path in links.items())).encode())
    farm = cache / f"bin-{key.hexdigest()[:12]}"

    def fill(staged: Path) -> None:
        for old in cache.glob("bin-*"):  # of a checkout, or of tools, that are gone
            if not all(link.exists() for link in old.iterdir()):
                shutil.rmtree(old)
        staged.mkdir()
        for name, path in links.items():
            (staged / name).symlink_to(path)

    make_once(farm, "bin", ".bin-", fill)
    return farm


def main(arguments: list[str]) -> int:
    """`python -m sandbox.build.toolchain [MODULE...]`: ensure the modules, print the folder."""
    unknown = sorted(set(arguments) - set(MODULES))
    if unknown:
        print(f"unknown tool modules: {', '.join(unknown)}; known: {', '.join(MODULES)}", file=sys.stderr)
        return 2
    try:
        print(ensure_tools(arguments or None))
    except SandboxError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
