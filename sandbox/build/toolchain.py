"""The programs that the sandbox runs, built once per user from pinned Go modules.

Each module of `sandbox.build.gomodules` becomes `<cache>/<module>-<12 hex>/bin`, where the digits come from
all that it is built from; so a changed pin is another folder and nothing is ever rebuilt in place.
`ensure_tools` gives one folder of symlinks to go on PATH, with `pulumi` (PATH's own if new enough) and
`kubectl` (a wheel); `ensure_programs` only says where each program is.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path

from sandbox.build.debian import unpacked
from sandbox.build.golang import ensure_go, environment, linking
from sandbox.build.gomodules import MODULES, SANDBOX_MODULES, TOOLS_DIR, Plan, plan
from sandbox.errors import SandboxError
from sandbox.files import exclusive
from sandbox.progress import step

OVERRIDE_VARIABLE = "KUBEPARK_TOOLS"  # a folder that has every built tool already
PULUMI_VARIABLE = "KUBEPARK_PULUMI"  # "built": never take pulumi from PATH
MINIMUM_PULUMI = (3, 259)


def cache_dir() -> Path:
    """`${XDG_CACHE_HOME:-~/.cache}/kubepark/tools`."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "kubepark" / "tools"


def ensure_tools(names: Collection[str] | None = None) -> Path:
    """A folder with the executables of the modules `names` (default: what the sandbox runs).

    Builds what the cache lacks, which needs the Go module proxy and takes about ten minutes once on
    two cores; progress goes to standard error. `KUBEPARK_TOOLS` names a folder that is used instead
    of building. Raises `SandboxError`, also for what that folder lacks.
    """
    programs = ensure_programs(SANDBOX_MODULES if names is None else names)
    return _link_farm({"kubectl": _kubectl(), **programs}, cache_dir())


def ensure_programs(names: Collection[str]) -> dict[str, Path]:
    """Each executable of the modules `names` by its name, as `ensure_tools` finds or builds them.

    For what must not go on PATH: a CNI plugin is called `bridge`, as a command of the system is.
    """
    cache, given = cache_dir(), os.environ.get(OVERRIDE_VARIABLE)
    programs: dict[str, Path] = {}
    for item in [plan(MODULES[name]) for name in names]:
        own = path_pulumi() if item.module == "pulumi" and not given else None
        if own is not None:
            programs["pulumi"] = own
            continue
        folder = _checked(Path(given), item) if given else ensure_module(item, cache)
        programs.update({name: (folder / name).resolve() for name in item.packages})
    return programs


def _checked(folder: Path, item: Plan) -> Path:
    missing = [name for name in item.packages if not os.access(folder / name, os.X_OK)]
    if missing:
        raise SandboxError(
            f"{OVERRIDE_VARIABLE}={folder} lacks {', '.join(missing)}: unset it to have them built"
        )
    return folder


def ensure_module(item: Plan, cache: Path, tools_dir: Path = TOOLS_DIR) -> Path:
    """The `bin` folder of a built module. Concurrent builders wait for the first one."""
    target = cache / item.folder
    if not target.exists():
        with exclusive(cache / f"{item.module}.lock"):
            if not target.exists():
                _build(item, target, tools_dir / item.module)
    return target / "bin"


def _build(item: Plan, target: Path, source: Path) -> None:
    """Build into a folder beside `target` and rename it: an interrupted build leaves nothing."""
    prefix = f".{item.module}-"
    for leftover in target.parent.glob(f"{prefix}*"):  # a builder that was killed; we hold the lock
        shutil.rmtree(leftover)
    cache = target.parent
    go = ensure_go(cache, item.go)
    variables = environment(linking(unpacked([item.c_library], cache), cache) if item.c_library else {})
    with tempfile.TemporaryDirectory(dir=cache, prefix=prefix) as folder:
        staged = Path(folder) / "built"
        flags = [*item.flags, *_overlay(item, go, source, variables, Path(folder) / "overlay.json")]
        for name, package in item.packages.items():
            command = [str(go), "build", *flags, "-o", str(staged / "bin" / name), package]
            with step(f"building {name} {item.version}", f"built {name} {item.version}"):
                _go(command, f"building {package}", source, variables)
        staged.rename(target)


def _overlay(item: Plan, go: Path, source: Path, variables: Mapping[str, str], file: Path) -> list[str]:
    """The flags that show the compiler, beside our sources, the files that they embed."""
    if not item.embedded:
        return []
    command = [str(go), "mod", "download", "-json", str(item.requires)]
    module = Path(json.loads(_go(command, f"downloading {item.requires}", source, variables))["Dir"])
    replace = {str(source / ours): str(module / theirs) for ours, theirs in item.embedded.items()}
    file.write_text(json.dumps({"Replace": replace}), encoding="utf-8")
    return ["-overlay", str(file)]


def _go(command: list[str], what: str, source: Path, variables: Mapping[str, str]) -> str:
    """What a `go` command prints. Raises `SandboxError` with the end of its errors."""
    answer = subprocess.run(
        command,
        cwd=source,
        env=variables,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if answer.returncode != 0:
        tail = "\n".join(f"  {line}" for line in answer.stderr.strip().splitlines()[-20:])
        raise SandboxError(
            f"{what} failed:\n{tail}\n"
            "The first build downloads Go modules: check that the Go module proxy is reachable "
            "(GOPROXY), then run the same command again."
        )
    return answer.stdout


def path_pulumi() -> Path | None:
    """The `pulumi` on PATH if it is new enough and `KUBEPARK_PULUMI` does not say `built`."""
    found = shutil.which("pulumi")
    if found is None or os.environ.get(PULUMI_VARIABLE) == "built":
        return None
    try:
        answer = subprocess.run(
            [found, "version"],
            env={**os.environ, "PULUMI_SKIP_UPDATE_CHECK": "true"},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.match(r"v(\d+)\.(\d+)\.", answer.stdout)
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
    with exclusive(cache / "bin.lock"):
        if not farm.exists():
            with tempfile.TemporaryDirectory(dir=cache, prefix=".bin-") as folder:
                staged = Path(folder) / "bin"
                staged.mkdir()
                for name, path in links.items():
                    (staged / name).symlink_to(path)
                staged.rename(farm)
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
