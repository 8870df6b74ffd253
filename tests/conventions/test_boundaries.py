"""Who may import whom, and what no file may contain."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from fnmatch import fnmatch
from graphlib import TopologicalSorter

import pytest

from tests.conventions.source import OURS, PACKAGES, ROOT, of, sources

# Which of our packages each may import: config <- userdata <- components <- __main__, foundation -> cli ->
# config. The sandbox and the program meet only at the AWS API, the Kubernetes API and the program itself, so the
# sandbox cannot flatter the program.
MAY_IMPORT = {
    "config": {"config"},
    "components": {"components", "userdata", "config"},
    "userdata": {"userdata", "config"},
    "sandbox": {"sandbox"},
    "cli": {"cli", "config"},
    "policies": {"policies", "config"},
    "foundation": {"foundation", "cli", "config"},
    "": {"components", "userdata", "config"},
}
# `kubepark check` is the program's own checks; no other file of the command knows the components.
CHECK = ("cli/check.py", "components.preflight")
GATE = "cli/environments.py"  # the one file that leads to the sandbox
NOT_OURS = {"sandbox", ".venv", ".sandbox"}
AREAS = {
    "aws": set(),
    "build": set(),
    "nodes/simulated": {"aws", "nodes"},
    "nodes/real": {"aws", "build", "nodes"},
}
OTHER_KIND = {"nodes/simulated": "nodes/real/", "nodes/real": "nodes/simulated/"}
THIRD_PARTY = {
    "": {"pulumi", "pulumi_aws"},
    "config": {"pulumi", "ruamel", "yaml"},
    "components": {"pulumi", "pulumi_aws", "pulumi_kubernetes", "yaml"},
    "userdata": {"yaml"},
    "policies": {"pulumi_policy"},
    "foundation": {"pulumi", "pulumi_aws"},
}
# Put together here, so that this file does not contain them itself.
MACHINE = re.compile(r"(?<![\w.$@-])/(?:" + "|".join(["wo" + "rk/", "tmp/" + "kp", "home/[a-z]+/"]) + ")")
REGISTRY = re.compile("pypi" + r"\.org|" + "pythonhosted" + r"\.org|proxy\." + r"golang\.org")
LONGEST = 350  # lines
SANDBOX, ITS_TESTS = 12_000, 8_500  # lines
TEXT = {".py", ".sh", ".md", ".yml", ".yaml", ".toml", ".in", ".txt", ".json", ""}


def outside(package: str) -> set[str]:
    """Third-party packages that a package imports."""
    top = {name.partition(".")[0] for source in of(package) for name in source.imports()}
    return top - OURS - set(sys.stdlib_module_names)


@pytest.mark.parametrize("package", sorted(MAY_IMPORT))
def test_packages_import_only_what_the_design_allows(package):
    files = of(package)
    assert files
    for source in files:
        ours = {name.partition(".")[0] for name in source.imports()} & OURS
        through_the_fence = {"sandbox"} if source.name == GATE else set()
        if source.name == CHECK[0]:
            through_the_fence = {"components"}
            assert {name for name in source.imports() if name.startswith("components")} == {CHECK[1]}
        assert ours <= MAY_IMPORT[package] | through_the_fence, source.name


def test_one_line_outside_the_sandbox_leads_into_it():
    """Neither the product nor its tests know it; what needs both lives in sandbox/tests."""
    paths = [path for path in ROOT.rglob("*.py") if path.relative_to(ROOT).parts[0] not in NOT_OURS]
    assert len(paths) > 100
    lines = [
        (str(path.relative_to(ROOT)), line.strip())
        for path in paths
        for line in path.read_text(encoding="utf-8").splitlines()
        if re.match(r"\s*(from|import) sandbox\b", line)
    ]
    assert lines == [(GATE, "from " + "sandbox import cli")]  # in two parts, so that a search names one file


@pytest.mark.parametrize("area", sorted(AREAS))
def test_the_areas_of_the_sandbox_know_only_what_they_need(area):
    """What is in no folder of its own (files, processes, ports, ...) is for all of them."""
    loaded = {
        name
        for source in of("sandbox")
        if source.name.startswith(f"sandbox/{area}/")
        for name in source.imports()
        if name.startswith("sandbox.")
    }
    assert len(loaded) >= 3
    others = {name.removeprefix("sandbox.").replace(".", "/") for name in loaded}
    known = {*AREAS[area], area}
    assert not {name for name in others if OTHER_KIND.get(area, "-") in name}
    foreign = {
        name for name in others if name.partition("/")[0] in ("aws", "build", "nodes", "cli", "local_cloud")
    }
    assert {name for name in foreign if not name.startswith(tuple(f"{each}/" for each in known))} == set()


def test_no_module_imports_itself_by_way_of_others():
    known = {source.module: set(source.loads()) for source in sources()}
    graph = {name: loaded & known.keys() for name, loaded in known.items()}
    assert sum(map(len, graph.values())) > 300, "the search must find imports"
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


def test_only_the_readers_of_configuration_and_outputs_need_pulumi():
    found = {
        source.name for source in of("config") if "pulumi" in {n.partition(".")[0] for n in source.imports()}
    }
    assert found == {"config/last_update.py", "config/settings.py"}


@pytest.mark.parametrize("package", sorted(THIRD_PARTY))
def test_the_program_uses_few_libraries(package):
    assert outside(package) <= THIRD_PARTY[package]


def test_every_part_of_the_sdks_that_is_used_is_type_checked():
    """mypy skips the others, and what it skips may be called with anything."""
    overrides = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["mypy"][
        "overrides"
    ]
    (checked,) = (each["module"] for each in overrides if each.get("follow_imports") == "normal")
    used = {
        f"{node.module}.{alias.name}.*"
        for source in of("", "config", "components", "userdata", "foundation")
        for node in ast.walk(source.tree)
        if isinstance(node, ast.ImportFrom) and node.module in ("pulumi_aws", "pulumi_kubernetes")
        for alias in node.names
    }
    assert len(used) >= 4
    assert used <= set(checked)


def test_what_lives_in_the_cluster_could_live_elsewhere():
    """It needs settings and a provider, so it could move to a project of its own."""
    files = [source for source in of("components") if source.name.startswith("components/incluster/")]
    assert len(files) >= 8, "the search must find them"
    for source in files:
        ours = {name for name in source.imports() if name.partition(".")[0] in OURS - {"config"}}
        assert {name for name in ours if not name.startswith("components.incluster")} == set(), source.name


def test_the_program_knows_nothing_of_the_sandbox():
    # containerd, too, calls something a sandbox (`sandbox = "registry.k8s.io/pause:..."`).
    telling = re.compile(r"emulator|\bmoto\b|localstack|^sandbox$|sandbox/")
    searched = 0
    for source in of("", "config", "components", "userdata", "foundation"):
        words = {node.value for node in ast.walk(source.tree) if isinstance(node, ast.Constant)}
        named = {word for word in words if isinstance(word, str) and telling.search(word)}
        searched += len(words)
        assert named <= docstrings(source.tree), source.name
    assert searched > 1000, "the search must read them"


def docstrings(tree: ast.Module) -> set[str]:
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    found = (ast.get_docstring(node, clean=False) for node in ast.walk(tree) if isinstance(node, kinds))
    return {text for text in found if text}


@pytest.mark.parametrize("package", PACKAGES)
def test_files_are_short(package):
    lengths = {source.name: source.text.count("\n") for source in of(package)}
    assert len(lengths) >= 2, "the search must find them"
    assert {name: lines for name, lines in lengths.items() if lines > LONGEST} == {}


def test_the_local_cloud_does_not_outgrow_what_it_is_for():
    """What tests the program with it (program, stack, soak, bench) is not counted."""
    folder, counted = ROOT / "sandbox/tests", ("*.py", "aws/**/*.py", "build/**/*.py", "nodes/**/*.py")
    tests = [path.read_text(encoding="utf-8") for pattern in counted for path in folder.glob(pattern)]
    assert 10_000 < sum(source.text.count("\n") for source in of("sandbox")) <= SANDBOX
    assert 7_000 < sum(text.count("\n") for text in tests) <= ITS_TESTS


def test_only_one_place_catches_every_exception():
    # A failed call raises bare Exception in the SDK; it is caught where the records are read.
    found = [
        source.name
        for source in sources()
        for node in ast.walk(source.tree)
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or ast.unparse(node.type) in ("Exception", "BaseException"))
        and ast.unparse(node.body[-1]) != "raise"  # cleaning up and passing it on is no catching
    ]
    assert found == ["components/cluster.py"]


def test_no_file_names_a_machine_or_a_registry():
    searched = 0
    folders = [*PACKAGES, "tests", "docs", ".github", ".ci", "bin"]
    paths = [path for name in folders for path in (ROOT / name).rglob("*") if "__pycache__" not in path.parts]
    for path in [*paths, *ROOT.glob("*")]:
        if not path.is_file() or path.suffix not in TEXT or path.name == ".git":
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        searched += 1
        assert not MACHINE.search(text), path
        assert not REGISTRY.search(text), path
    assert searched >= 150, "the search must read them"


def test_the_search_would_find_them():
    assert MACHINE.search("see /" + "home/ana/notes")
    assert MACHINE.search("'/" + "work/main'")
    assert not MACHINE.search(".sandbox/" + "work/Pulumi.yaml")
    assert REGISTRY.search("https://" + "pypi" + ".org/simple")


def test_pytest_passes_by_no_folder_with_tests(pytestconfig):
    """By default it passes by folders of certain names, `build` among them, without a word."""
    folders = {
        path.parent.relative_to(ROOT)
        for top in ("tests", *PACKAGES)
        for path in (ROOT / top).rglob("test_*.py")
    }
    assert len(folders) >= 10
    passed_by = pytestconfig.getini("norecursedirs")
    searched = tuple(pytestconfig.getini("testpaths"))
    assert [str(folder) for folder in folders if not str(folder).startswith(searched)] == []
    assert [
        str(folder)
        for folder in folders
        for part in folder.parts
        for name in passed_by
        if fnmatch(part, name)
    ] == []
