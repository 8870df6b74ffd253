"""Every rendered file is what its reader expects: shell, Python, TOML, units, YAML."""

from __future__ import annotations

import ast
import configparser
import re
import shutil
import subprocess
import sysconfig
import tomllib
from pathlib import Path

import pytest
import yaml

from tests.userdata_sample import GUARDED, ROLES, SPOT, document, files
from userdata.slim import slim

SHELLCHECK = Path(sysconfig.get_path("scripts")) / "shellcheck"
# What a kubelet with protectKernelDefaults checks (pkg/kubelet/cm, setupKernelTunables).
KUBELET_DEMANDS = {
    "vm.overcommit_memory": "1",
    "vm.panic_on_oom": "0",
    "kernel.panic": "10",
    "kernel.panic_on_oops": "1",
    "kernel.keys.root_maxkeys": "1000000",
    "kernel.keys.root_maxbytes": "25000000",
}
NODE = Path(__file__).parents[2] / "userdata" / "node"


def scripts(role: str, interpreter: str) -> dict[str, str]:
    return {path: text for path, text in files(role).items() if text.startswith(f"#!{interpreter}\n")}


def shellcheck(folder: Path) -> subprocess.CompletedProcess[str]:
    names = sorted(path.name for path in folder.iterdir())
    return subprocess.run(
        [SHELLCHECK, "--external-sources", "--exclude=SC1091", *names],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("role", ROLES)
def test_shell_is_clean(role, tmp_path):
    found = scripts(role, "/bin/bash")
    assert len(found) >= 9, "the steps and what they share"
    for path, text in found.items():
        (tmp_path / path.replace("/", "_")).write_text(text)
    (tmp_path / "profile.sh").write_text(
        "# shellcheck shell=sh\n" + files(role)["/etc/profile.d/kubepark.sh"]
    )
    for script in tmp_path.iterdir():
        subprocess.run(["bash", "-n", script], check=True)
    said = shellcheck(tmp_path)
    assert said.returncode == 0, said.stdout


def test_shellcheck_can_fail(tmp_path):
    (tmp_path / "bad.sh").write_text("#!/bin/bash\nrm -rf $1\n")
    assert "SC2086" in shellcheck(tmp_path).stdout


@pytest.mark.parametrize("role", ROLES)
def test_every_shell_script_stops_at_the_first_error(role):
    for path, text in scripts(role, "/bin/bash").items():
        strict = "set -Eeuo pipefail" if path.endswith("lib.sh") else "source /usr/local/lib/kubepark/lib.sh"
        assert text.splitlines()[1] == strict, path


@pytest.mark.parametrize("role", ROLES)
def test_python_compiles_for_the_oldest_platform(role):
    found = scripts(role, "/usr/bin/python3")
    assert {"kp-aws", "bootstrap", "refresh-hosts"} <= {Path(path).name for path in found}
    for path, text in found.items():
        ast.parse(text, filename=path, feature_version=(3, 9))


@pytest.mark.parametrize(
    ("role", "settings", "program", "unit"),
    [
        ("master", GUARDED, "guard-gpus", "kubepark-gpus.timer"),
        ("gpu", SPOT, "drain-spot", "kubepark-spot.service"),
    ],
)
def test_a_program_that_not_every_stack_has_comes_with_a_unit_that_starts_it(role, settings, program, unit):
    found, path = files(role, settings), f"/usr/local/lib/kubepark/{program}"
    assert path not in files(role)
    ast.parse(found[path], filename=path, feature_version=(3, 9))
    services = [text for name, text in found.items() if f"\nExecStart={path}\n" in text]
    assert len(services) == 1
    started = found[f"/etc/systemd/system/{unit}"]
    assert "\n[Install]\nWantedBy=" in started
    *_, enabled = document(role, settings)["runcmd"]
    assert enabled[-2:] == ["kubepark-bootstrap.service", unit]


def _without_docstrings(text: str) -> str:
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
            and ast.get_docstring(node) is not None
        ):
            node.body = node.body[1:] or [ast.Pass()]
    return ast.dump(tree)


@pytest.mark.parametrize("path", sorted(NODE.glob("*.py")), ids=lambda path: path.name)
def test_slimming_changes_no_python_program(path):
    text = path.read_text()
    assert _without_docstrings(slim(text)) == _without_docstrings(text)


def test_slimming_takes_comments_and_leaves_code():
    shell = "#!/bin/bash\n# why\n\nx='#not a comment' # kept\n  # gone\nif true; then\n  :\nfi\n"
    assert slim(shell) == "#!/bin/bash\nx='#not a comment' # kept\nif true; then\n  :\nfi\n"
    python = '#!/usr/bin/python3\n"""Doc."""\nclass A:\n    """Only."""\n\n'
    python += 'def f():\n    """Two\n    lines."""\n    return 1\n'
    assert slim(python) == '#!/usr/bin/python3\nclass A:\n    """Only."""\ndef f():\n    return 1\n'


@pytest.mark.parametrize("path", [*NODE.glob("*.sh"), *NODE.glob("steps/*.sh")], ids=lambda path: path.name)
def test_no_here_document_or_string_loses_a_line_by_slimming(path):
    """A line that starts with # inside a here-document or a quoted string would be lost."""
    text = path.read_text()
    for body in re.findall(r"<<(?:'?)(\w+)'?\n(.*?)\n\1\n", text, re.DOTALL):
        assert not [
            line for line in body[1].splitlines() if line.lstrip().startswith("#") or not line.strip()
        ]


@pytest.mark.parametrize("role", ROLES)
def test_containerd_configuration(role):
    found = files(role)
    root = tomllib.loads(found["/etc/containerd/config.toml"])
    runtime = root["plugins"]["io.containerd.cri.v1.runtime"]["containerd"]
    assert root["version"] == 3
    assert root["imports"] == ["/etc/containerd/conf.d/*.toml"]
    assert runtime["default_runtime_name"] == "runc"
    assert runtime["runtimes"]["runc"]["options"]["SystemdCgroup"] is True
    images = root["plugins"]["io.containerd.cri.v1.images"]
    assert images["pinned_images"]["sandbox"] == "registry.k8s.io/pause:3.10.2"
    dropins = [path for path in found if path.startswith("/etc/containerd/conf.d/")]
    assert len(dropins) == (1 if role == "gpu" else 0)
    for path in dropins:
        dropin = tomllib.loads(found[path])
        assert dropin["version"] == root["version"], "a higher version stops containerd"
        nvidia = dropin["plugins"]["io.containerd.cri.v1.runtime"]["containerd"]
        assert nvidia["default_runtime_name"] == "nvidia"
        options = nvidia["runtimes"]["nvidia"]["options"]
        assert options == {"BinaryName": "/usr/bin/nvidia-container-runtime", "SystemdCgroup": True}


@pytest.mark.parametrize("role", ROLES)
def test_units(role):
    found = files(role)
    units = {Path(path).name: text for path, text in found.items() if path.startswith("/etc/systemd/system/")}
    for name, text in units.items():
        unit = configparser.ConfigParser(interpolation=None, strict=True)
        unit.optionxform = str  # type: ignore[assignment,method-assign]
        unit.read_string(text)
        assert unit["Unit"]["Description"].startswith("kubepark: ")
        if name.endswith(".timer"):
            assert name.replace(".timer", ".service") in units
            assert unit["Install"]["WantedBy"] == "timers.target"
        else:
            assert unit["Service"]["ExecStart"] in found
    enabled = set(re.findall(r"kubepark-\w+\.timer", "".join(found.values())))
    assert enabled <= set(units)
    assert {name for name in units if name.endswith(".timer")} <= enabled


def test_the_token_is_refreshed_every_six_hours_and_after_boot():
    timer = files("master")["/etc/systemd/system/kubepark-join.timer"]
    assert "OnBootSec=2min\n" in timer
    assert "OnUnitActiveSec=6h\n" in timer


@pytest.mark.parametrize("role", ROLES)
def test_kernel_settings_are_those_that_the_kubelet_demands(role):
    lines = files(role)["/etc/sysctl.d/99-kubepark.conf"].splitlines()
    values = dict(line.split(" = ") for line in lines if not line.startswith("#"))
    assert values.items() >= KUBELET_DEMANDS.items()
    assert values["net.bridge.bridge-nf-call-iptables"] == "1"
    assert values["net.ipv4.ip_forward"] == "1"


def test_audit_policy_keeps_secrets_out_and_decides_about_everything():
    policy = yaml.safe_load(files("master")["/etc/kubernetes/audit-policy.yaml"])
    levels = [rule["level"] for rule in policy["rules"]]
    assert levels[-1] == "Metadata"
    assert set(policy["rules"][-1]) == {"level"}, "the last rule takes what is left"
    for rule in policy["rules"]:
        covers = [name for group in rule.get("resources", []) for name in group.get("resources", [])]
        if "secrets" in covers:
            assert rule["level"] == "Metadata"
    bodies = [rule for rule in policy["rules"] if rule["level"] in ("Request", "RequestResponse")]
    assert [group["group"] for rule in bodies for group in rule["resources"]] == ["rbac.authorization.k8s.io"]


def test_bash_is_here():
    assert shutil.which("bash"), "the node scripts are run by the tests"
