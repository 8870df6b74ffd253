"""From a bare machine to a running `make test`: the virtualenv, the Makefile and CI's entry."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sandbox.build import venv
from sandbox.errors import SandboxError
from sandbox.tests.tools import executable

ROOT = Path(__file__).resolve().parents[3]


def run(*command, cwd, path, **variables):
    return subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={"PATH": str(path), "HOME": str(cwd), "CI": "true", **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def clone(tmp_path):
    """What `make` reads, in a folder of its own."""
    folder = tmp_path / "clone"
    (folder / "sandbox" / "build").mkdir(parents=True)
    (folder / ".ci").mkdir()
    for name in ("Makefile", "requirements.txt", "requirements-dev.txt", "requirements-uv.txt", ".ci/run"):
        shutil.copy(ROOT / name, folder / name)
    for name in ("__init__", "errors", "files", "progress", "build/__init__", "build/venv"):
        shutil.copy(ROOT / "sandbox" / f"{name}.py", folder / "sandbox" / f"{name}.py")
    return folder


@pytest.fixture
def path(tmp_path):
    """A PATH of links to the few programs that a bare machine has, and no Python."""
    folder = tmp_path / "path"
    folder.mkdir()
    for name in ("sh", "bash", "env", "make", "git", "sed", "test", "echo", "dirname", "id", "readlink"):
        if found := shutil.which(name):
            (folder / name).symlink_to(found)
    return folder


def script(path, text):
    executable(path, f"#!/bin/sh\n{text}\n")


def stub_python(folder, body="exit 0"):
    log = folder / "python.log"
    script(folder / ".venv" / "bin" / "python", f'echo "$@" >> "{log}"; {body}')
    (folder / ".venv" / ".stamp").write_text("of other pins")
    return log


def test_make_alone_lists_every_target(clone, path):
    done = run("make", cwd=clone, path=path)
    assert done.returncode == 0, done.stderr
    names = [line.split()[0] for line in done.stdout.splitlines()[1:]]
    assert names == [
        "help", "up", "preview", "policy", "refresh", "destroy", "down", "check", "test", "test-slow", "test-real", "bench", "test-long", "soak",
        "lint", "tools", "sandbox-env", "golden", "review-changes", "diagrams", "lock", "venv", "clean",
    ]  # fmt: skip


def test_no_python_that_is_new_enough(clone, path):
    script(path / "python3", "exit 1")
    done = run("make", "up", cwd=clone, path=path)
    assert done.returncode != 0
    assert done.stderr.startswith("Python 3.11 or newer is needed and not on PATH: install it, or name it: ")


def test_the_first_python_that_is_new_enough_is_taken(clone, path):
    script(path / "python3", "exit 1")  # too old
    script(path / "python3.12", f'exec {sys.executable} "$@"')
    log = stub_python(clone)
    os.utime(clone / ".venv" / ".stamp", (0, 0))
    done = run("make", "venv", cwd=clone, path=path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert done.stderr == "installing Python packages ...\ninstalled Python packages in 0 s\n"
    calls = log.read_text().splitlines()[-2:]
    assert [call.split(" install ")[0] for call in calls] == [
        "-m pip --disable-pip-version-check", "-m uv pip"
    ]  # fmt: skip
    assert all("--require-hashes -r" in call for call in calls)
    again = run("make", "venv", cwd=clone, path=path)
    assert "installing" not in again.stderr


def test_an_unchanged_checkout_installs_nothing_and_a_changed_pin_does(clone, capsys):
    log = stub_python(clone)
    venv.ensure_venv(clone)
    calls = len(log.read_text().splitlines())
    venv.ensure_venv(clone)
    assert len(log.read_text().splitlines()) == calls
    with (clone / "requirements.txt").open("a") as file:
        file.write("# another pin\n")
    venv.ensure_venv(clone)
    assert len(log.read_text().splitlines()) == 2 * calls


def test_a_failed_installation_is_one_error_and_is_tried_again(clone, capsys):
    broken = 'case "$*" in *install*) echo "no route to the registry" >&2; exit 1;; esac'
    for _ in range(2):
        stub_python(clone, broken)
        with pytest.raises(SandboxError) as caught:
            venv.ensure_venv(clone)
        assert str(caught.value).splitlines() == [
            "installing requirements-dev.txt failed (it needs the Python package registry):",
            "  no route to the registry",
        ]
        assert "no route to the registry: pip instead of uv\n" in capsys.readouterr().err


def test_what_a_killed_installation_left_is_made_anew(clone, monkeypatch):
    """uv and pip take a package for whole whose files are not all there."""
    stub_python(clone)
    (clone / ".venv" / ".stamp").unlink()
    (clone / ".venv" / "half").touch()

    def create(folder):
        shutil.rmtree(folder)
        stub_python(clone)

    monkeypatch.setattr(venv, "_create", create)
    venv.ensure_venv(clone)
    assert not (clone / ".venv" / "half").exists()
    assert (clone / ".venv" / ".stamp").read_text().strip() == venv.requirements_digest(clone)


def test_a_killed_upgrade_leaves_no_stamp(clone, monkeypatch):
    stub_python(clone)
    monkeypatch.setattr(venv, "_install", lambda python, root: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        venv.ensure_venv(clone)
    assert not (clone / ".venv" / ".stamp").exists()


def test_pip_installs_where_uv_cannot(clone, capsys):
    """pip reads its own settings of registries and proxies, for one."""
    log = stub_python(clone, 'case "$*" in "-m uv"*) exit 1;; esac')
    venv.ensure_venv(clone)
    assert log.read_text().splitlines()[-1].startswith("-m pip --disable-pip-version-check install")
    assert (clone / ".venv" / ".stamp").exists()


@pytest.mark.parametrize(("cached", "said"), [(False, 1), (True, 0)])
def test_a_first_run_says_how_long_it_takes(clone, capsys, tmp_path, monkeypatch, cached, said):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    if cached:
        (tmp_path / "cache" / "kubepark" / "tools").mkdir(parents=True)
    monkeypatch.setattr(venv, "_create", lambda folder: stub_python(clone))
    venv.ensure_venv(clone)  # there is no virtualenv
    assert capsys.readouterr().err.count("first run: Python packages (half a minute), then ") == said


def test_a_python_without_ensurepip_says_what_to_install(tmp_path, monkeypatch):
    real = importlib.util.find_spec
    monkeypatch.setattr(
        venv.importlib.util, "find_spec", lambda name: None if name == "ensurepip" else real(name)
    )
    with pytest.raises(SandboxError) as caught:
        venv._create(tmp_path / ".venv")
    name = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    assert "lacks ensurepip, which a virtualenv needs" in str(caught.value)
    assert f"apt-get install {name}-venv" in str(caught.value)


@pytest.mark.parametrize("broken", ["test-real", "test-slow", "test"])
def test_ci_runs_all_tests_and_fails_if_any_do(clone, path, broken):
    script(path / "python3", f'exec {sys.executable} "$@"')
    (path / "make").unlink()
    fails = f'[ "$1" != {broken} ] || exit 7'
    script(path / "make", f'echo "make $*"; read -r line && echo "had input"; {fails}')
    done = run(clone / ".ci" / "run", cwd="/", path=path)
    assert done.returncode == 7
    assert done.stdout.splitlines() == [
        f"make {target} PYTHON=python3" for target in ("test-real", "test-slow", "test")
    ]


def test_ci_installs_what_is_missing_where_apt_and_root_can(clone, path):
    (path / "make").unlink()
    script(path / "apt-get", f'echo "$*" >> "{clone}/apt.log"; [ "$1" = install ] || exit 0; '
           f'printf "#!/bin/sh\\nexit 0\\n" > "{path}/make"; /bin/chmod +x "{path}/make"; '
           f'printf "#!/bin/sh\\nexit 0\\n" > "{path}/python3"; /bin/chmod +x "{path}/python3"')  # fmt: skip
    script(path / "sudo", 'shift; exec "$@"')
    done = run(clone / ".ci" / "run", cwd="/", path=path)
    assert done.returncode == 0, done.stderr
    update, install = (clone / "apt.log").read_text().splitlines()
    assert update.startswith("update")
    assert install.endswith("ca-certificates make python3-venv")


def test_ci_says_what_is_missing_where_it_cannot_be_installed(clone, path):
    (path / "make").unlink()
    done = run(clone / ".ci" / "run", cwd="/", path=path)
    assert done.returncode == 1
    assert done.stderr.startswith("error: missing: make python3-venv (Python must be 3.11 or newer")
