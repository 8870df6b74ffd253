"""The programs that the sandbox runs, built once per user from pinned Go modules.

`sandbox/tools/<module>/go.mod` pins versions, go.sum their content. Each module becomes
`<cache>/<module>-<12 hex>/bin`, where the digits come from go.mod, go.sum and the build flags; so
a changed pin is another folder and nothing is ever rebuilt in place. `ensure_tools` gives one
folder of symlinks to all of them, with `pulumi` (PATH's own if new enough) and `kubectl` (a wheel).
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from sandbox.errors import SandboxError
from sandbox.files import exclusive
from sandbox.golang import ensure_go, environment
from sandbox.progress import step

TOOLS_DIR = Path(__file__).resolve().parent / "tools"
OVERRIDE_VARIABLE = "KUBEPARK_TOOLS"  # a folder that has every built tool already
PULUMI_VARIABLE = "KUBEPARK_PULUMI"  # "built": never take pulumi from PATH
MINIMUM_PULUMI = (3, 259)


@dataclass(frozen=True)
class ToolModule:
    """A Go module under `sandbox/tools`. What it builds and in which version is in its go.mod.

    `versioned_by` is the required module whose version is the tools' version; `stamps` are linker
    symbols that programs report it from; `renamed` maps a package's last element to a better name.
    """

    name: str
    versioned_by: str
    stamps: tuple[str, ...] = ()
    renamed: Mapping[str, str] | None = None


MODULES: Mapping[str, ToolModule] = {
    module.name: module
    for module in (
        ToolModule(
            "pulumi",
            "github.com/pulumi/pulumi/pkg/v3",
            # Without it the Automation API refuses the CLI as too old.
            ("github.com/pulumi/pulumi/sdk/v3/go/common/version.Version",),
        ),
        ToolModule(
            "kubernetes",
            "k8s.io/kubernetes",
            ("k8s.io/component-base/version.gitVersion", "k8s.io/client-go/pkg/version.gitVersion"),
        ),
        ToolModule("etcd", "go.etcd.io/etcd/server/v3", renamed={"server": "etcd"}),
        ToolModule("kwok", "sigs.k8s.io/kwok"),
        ToolModule("actionlint", "github.com/rhysd/actionlint"),
    )
}
# What `make up` needs; linters are built where the tests ask for them.
SANDBOX_MODULES = ("pulumi", "kubernetes", "etcd", "kwok")


@dataclass(frozen=True)
class Plan:
    """What building one module means: derived from files, no effects."""

    module: str
    version: str
    packages: Mapping[str, str]  # executable name -> Go package
    flags: tuple[str, ...]
    digest: str

    @property
    def folder(self) -> str:
        return f"{self.module}-{self.digest}"


def plan(module: ToolModule, tools_dir: Path = TOOLS_DIR) -> Plan:
    """Read go.mod and go.sum. Raises `SandboxError` when the pin is not there."""
    source = tools_dir / module.name
    text = (source / "go.mod").read_text(encoding="utf-8")
    version = re.search(rf"^\s*(?:require )?{re.escape(module.versioned_by)} (v\S+)", text, re.MULTILINE)
    if version is None:
        raise SandboxError(f"{source / 'go.mod'} does not require {module.versioned_by}")
    renamed = module.renamed or {}
    packages = {renamed.get(name := _last_element(path), name): path for path in _tool_lines(text)}
    linker = ["-s", "-w", *(f"-X {stamp}={version[1]}" for stamp in module.stamps)]
    flags = ("-trimpath", "-ldflags", " ".join(linker))
    digest = hashlib.sha256(text.encode())
    digest.update((source / "go.sum").read_bytes())
    digest.update(repr((flags, sorted(packages.items()))).encode())
    return Plan(module.name, version[1], packages, flags, digest.hexdigest()[:12])


def _tool_lines(go_mod: str) -> list[str]:
    """The packages of `tool PATH` lines and of `tool ( ... )` blocks."""
    single = re.findall(r"^tool ([^\s(]+)", go_mod, re.MULTILINE)
    blocks = re.findall(r"^tool \(\n(.*?)^\)", go_mod, re.MULTILINE | re.DOTALL)
    return single + [line.strip() for block in blocks for line in block.splitlines() if line.strip()]


def _last_element(package: str) -> str:
    """The name that `go install` would give: the last path element that is no major version."""
    return next(part for part in reversed(package.split("/")) if not re.fullmatch(r"v\d+", part))


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
    plans = [plan(MODULES[name]) for name in (SANDBOX_MODULES if names is None else names)]
    cache = cache_dir()
    given = os.environ.get(OVERRIDE_VARIABLE)
    links = {"kubectl": _kubectl()}
    for item in plans:
        own = path_pulumi() if item.module == "pulumi" and not given else None
        if own is not None:
            links["pulumi"] = own
            continue
        folder = _checked(Path(given), item) if given else ensure_module(item, cache)
        links.update({name: (folder / name).resolve() for name in item.packages})
    return _link_farm(links, cache)


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
    go = ensure_go(target.parent)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=prefix) as folder:
        staged = Path(folder) / "built"
        for name, package in item.packages.items():
            with step(f"building {name} {item.version}", f"built {name} {item.version}"):
                _go_build(go, package, staged / "bin" / name, item.flags, source)
        staged.rename(target)


def _go_build(go: Path, package: str, output: Path, flags: Iterable[str], source: Path) -> None:
    command = [str(go), "build", *flags, "-o", str(output), package]
    answer = subprocess.run(
        command,
        cwd=source,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    if answer.returncode != 0:
        tail = "\n".join(f"  {line}" for line in answer.stderr.strip().splitlines()[-20:])
        raise SandboxError(
            f"building {package} failed:\n{tail}\n"
            "The first build downloads Go modules: check that the Go module proxy is reachable "
            "(GOPROXY), then run the same command again."
        )


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
    """`python -m sandbox.toolchain [MODULE...]`: ensure the modules, print the folder."""
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
