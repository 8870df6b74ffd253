"""The virtualenv at `.venv`, made on a machine that has Python and nothing else.

`python3 -m sandbox.build.venv` is what the Makefile runs; standard library only. A stamp holds the digest
of the requirement files, so an unchanged checkout costs nothing and an interrupted run is repeated.
uv installs (docs/decisions/first-run.md); where it cannot, pip does, which knows settings that uv does not.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from sandbox.errors import SandboxError
from sandbox.files import atomic_write, cache_dir, exclusive
from sandbox.progress import step

INSTALLER = "requirements-uv.txt"
REQUIREMENTS = ("requirements.txt", "requirements-dev.txt", INSTALLER)
MINIMUM_PYTHON = (3, 11)
FIRST_RUN = (
    "first run: Python packages (half a minute), then the sandbox's programs: about 2 min where they can be "
    "downloaded, 11 where they have to be built. Later runs begin at once."
)


def ensure_venv(root: Path) -> None:
    """Make or complete `.venv` in `root`. Raises `SandboxError` that says what to install."""
    folder = root / ".venv"
    stamp = folder / ".stamp"
    wanted = requirements_digest(root)
    with exclusive(root):
        if stamp.exists() and stamp.read_text().strip() == wanted:
            stamp.touch()  # make compares times
            return
        python = folder / "bin" / "python"
        if not (stamp.exists() and _works(python)):
            if not cache_dir().exists():
                print(FIRST_RUN, file=sys.stderr)
            _create(folder)  # also after a run that was killed: an installer takes half a package for whole
        stamp.unlink(missing_ok=True)
        with step("installing Python packages", "installed Python packages"):
            _install(python, root)
        atomic_write(stamp, wanted + "\n", mode=0o644)


def requirements_digest(root: Path) -> str:
    """Of every requirement file that is installed."""
    digest = hashlib.sha256()
    for name in REQUIREMENTS:
        digest.update((root / name).read_bytes())
    return digest.hexdigest()


def _works(python: Path) -> bool:
    """Whether a virtualenv's Python runs, has pip and is new enough."""
    check = f"import pip, sys; sys.exit(sys.version_info[:2] < {MINIMUM_PYTHON})"
    try:
        return subprocess.run([python, "-c", check], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def _create(folder: Path) -> None:
    name = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    missing = [module for module in ("venv", "ensurepip") if importlib.util.find_spec(module) is None]
    if missing:
        raise SandboxError(
            f"{name} ({sys.executable}) lacks {' and '.join(missing)}, which a virtualenv needs.\n"
            f"Debian, Ubuntu: apt-get install {name}-venv. Others: install Python from python.org or "
            "with uv or pyenv. Then run the same command again."
        )
    _run([sys.executable, "-m", "venv", "--clear", str(folder)], f"{name} -m venv failed")


def _install(python: Path, root: Path) -> None:
    install = ["install", "--quiet", "--require-hashes", "-r"]
    wanted = [*install, str(root / "requirements-dev.txt")]
    pip = [str(python), "-m", "pip", "--disable-pip-version-check"]
    uv = [str(python), "-m", "uv", "pip"]
    # As pip does, uv asks the system which certificates to trust.
    variables = {"UV_SYSTEM_CERTS": "1", "UV_PYTHON": str(python)}
    try:
        _run([*pip, *install, str(root / INSTALLER)], "installing uv failed")
        _run([*uv, *wanted], "uv failed", variables)
    except SandboxError as error:
        print(f"{str(error).splitlines()[-1].strip()}: pip instead of uv", file=sys.stderr)
        _run([*pip, *wanted], "installing requirements-dev.txt failed (it needs the Python package registry)")


def _run(command: list[str], failure: str, variables: Mapping[str, str] | None = None) -> None:
    environment = {**os.environ, **(variables or {})}
    answer = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if answer.returncode != 0:
        tail = (answer.stderr or answer.stdout).strip().splitlines()[-15:]
        raise SandboxError("\n".join([f"{failure}:", *(f"  {line}" for line in tail)]))


def main() -> int:
    try:
        ensure_venv(Path(__file__).resolve().parents[2])
    except SandboxError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
