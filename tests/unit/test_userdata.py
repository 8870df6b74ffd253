"""User data: what is in it, byte for byte, and what is never in it."""

from __future__ import annotations

import gzip
import json
import os
import re
from dataclasses import replace

import pytest
import yaml

import userdata
from tests import userdata_sample as sample
from tests.userdata_sample import GUARDED, ROLES, SETTINGS, SPOT, document, files, plan, text

# cloud-init ignores a key that it does not know, so a misspelt one would pass its schema.
KEYS = {"hostname", "manage_etc_hosts", "ssh_pwauth", "write_files", "runcmd"}


@pytest.mark.parametrize("role", ROLES)
def test_golden(role):
    golden = sample.GOLDEN / f"{role}.yaml"
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text(text(role))
    assert text(role) == golden.read_text(), "refresh with UPDATE_GOLDEN=1 and read the difference"


def test_golden_of_a_master_that_stops_and_starts_gpu_nodes():
    golden, found = sample.GOLDEN / "master-guard.yaml", text("master", GUARDED)
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text(found)
    assert found == golden.read_text(), "refresh with UPDATE_GOLDEN=1 and read the difference"
    assert [text(role, GUARDED) for role in ("worker", "gpu")] == [text(role) for role in ("worker", "gpu")]
    other = replace(GUARDED, gpu=replace(GUARDED.gpu, idle_minutes=None))
    assert text("master", other) == found, "numbers are in a parameter"


def test_golden_of_a_gpu_node_that_is_a_spot_instance():
    golden, found = sample.GOLDEN / "gpu-spot.yaml", text("gpu", SPOT)
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text(found)
    assert found == golden.read_text(), "refresh with UPDATE_GOLDEN=1 and read the difference"
    assert [text(role, SPOT) for role in ("worker", "master")] == [
        text(role) for role in ("worker", "master")
    ]


@pytest.mark.parametrize("role", ROLES)
def test_the_same_input_gives_the_same_bytes(role):
    first, second = (userdata.render(plan(role), SETTINGS) for _ in range(2))
    assert first == second
    assert first[4:8] == b"\0\0\0\0", "gzip carries a time"


@pytest.mark.parametrize("role", ROLES)
def test_it_fits_with_the_longest_names(role):
    labels = {f"label-{n}.example.org/some-key": f"value-{n}" for n in range(10)}
    long = sample.with_endpoints("https://" + "e" * 80, "https://" + "a" * 80 + ":6443")
    long = replace(long, cluster="c" * 40, gpu=replace(long.gpu, labels=labels))
    for guarded in (long, *(replace(long, gpu=replace(each.gpu, labels=labels)) for each in (GUARDED, SPOT))):
        assert userdata.oversize(userdata.render(plan(role, guarded), guarded)) == 0


def test_oversize_counts_the_bytes_beyond_the_limit():
    assert userdata.oversize(b"x" * userdata.MAX_BYTES) == 0
    assert userdata.oversize(b"x" * (userdata.MAX_BYTES + 7)) == 7


@pytest.mark.parametrize("role", ROLES)
def test_what_the_files_take_adds_up_to_the_user_data(role):
    sizes = userdata.biggest(plan(role), SETTINGS, count=99)
    assert {path for path, _ in sizes} == set(files(role))
    assert abs(sum(size for _, size in sizes) - len(userdata.render(plan(role), SETTINGS))) < 200
    assert sizes[0][0].startswith("/usr/local/lib/kubepark/")


def test_the_digest_follows_the_content_and_not_the_packing():
    data = userdata.render(plan("worker"), SETTINGS)
    repacked = gzip.compress(gzip.decompress(data), compresslevel=1, mtime=1)
    assert re.fullmatch("[0-9a-f]{16}", userdata.digest(data))
    assert userdata.digest(repacked) == userdata.digest(data)
    bumped = replace(plan("worker"), generation=2)
    assert userdata.digest(userdata.render(bumped, SETTINGS)) != userdata.digest(data)


@pytest.mark.parametrize("role", ROLES)
def test_only_known_keys_and_quoted_modes(role):
    assert text(role).startswith("#cloud-config\n")
    assert set(document(role)) == KEYS
    for entry in document(role)["write_files"]:
        assert set(entry) == {"path", "permissions", "content"}
        assert entry["permissions"] in ("0644", "0755")
        assert entry["path"].startswith("/")
    paths = [entry["path"] for entry in document(role)["write_files"]]
    assert len(paths) == len(set(paths))


@pytest.mark.parametrize("role", ROLES)
def test_nothing_secret_and_nothing_about_other_nodes(role):
    content = text(role)
    assert "planted" not in content
    assert not re.search(r"[a-z0-9]{6}\.[a-z0-9]{16}", content), "looks like a bootstrap token"
    assert "PRIVATE KEY" not in content
    others = {"master1", "worker01", "gpu01"} - {plan(role).name}
    assert not [name for name in others if name in content]


def test_worker_and_gpu_cannot_be_the_master():
    for role in ("worker", "gpu"):
        paths = set(files(role))
        assert not [path for path in paths if "refresh-join" in path or "kubeadm-init" in path]
        assert "/etc/kubernetes/audit-policy.yaml" not in paths
    assert "/etc/containerd/conf.d/99-nvidia.toml" not in files("worker")


@pytest.mark.parametrize("role", ROLES)
def test_node_json(role):
    node = json.loads(files(role)["/etc/kubepark/node.json"])
    planned = plan(role)
    assert node == {
        "schema": 1,
        "cluster": "sample",
        "node": planned.name,
        "role": role,
        "generation": 1,
        "masterGeneration": 1,
        "region": "eu-central-1",
        "awsEndpoint": None,
        "apiName": "api.sample.internal",
        "apiEndpoint": None,
        "privateIp": planned.private_ip,
        "kubernetesVersion": "1.36.4",
        "labels": dict(planned.labels),
        "taints": [{"key": t.key, "value": t.value, "effect": t.effect} for t in planned.taints],
        "parameters": {
            "join": "/sample/join",
            "kubeconfig": "/sample/kubeconfig",
            "encryptionKey": "/sample/encryption-key",
            "hostsPath": "/sample/hosts",
            "status": f"/sample/status/{planned.name}",
        },
        "clusterKeyAlias": "alias/kubepark/sample",
    }


def test_a_worker_knows_the_generation_of_the_master_it_may_join():
    control = SETTINGS.control_plane
    bumped = replace(SETTINGS, control_plane=replace(control, node=replace(control.node, generation=3)))
    node = json.loads(files("worker", bumped)["/etc/kubepark/node.json"])
    assert (node["masterGeneration"], node["generation"]) == (3, 1)


@pytest.mark.parametrize("role", ROLES)
def test_versions_come_from_the_row(role):
    row = replace(
        SETTINGS.release,
        minor="9.87",
        kubernetes="9.87.65",
        package_revision="4.3",
        containerd_package="2.99.1-x",
        pause="7.7.7",
        containerd_config=9,
    )
    content = text(role, replace(SETTINGS, release=row))
    for old in ("1.36", "2.3.6", "3.10", "version = 3"):
        assert old not in content
    assert "KUBERNETES_PACKAGE=9.87.65-4.3" in content
    assert "CONTAINERD_PACKAGE=2.99.1-x" in content


@pytest.mark.parametrize("role", ROLES)
def test_the_plan_names_every_step_script_once(role):
    found = files(role)
    rows = [line.split() for line in found["/etc/kubepark/steps"].splitlines() if line[0] != "#"]
    names = [row[0] for row in rows]
    scripts = {path.rsplit("/", 1)[1] for path in found if "/kubepark/steps/" in path}
    assert len(names) == len(set(names))
    assert set(names) == scripts
    for _, deadline, when, *inputs in rows:
        assert 60 <= int(deadline) <= 3600
        assert when in ("once", "boot")
        assert set(inputs) <= set(found)


@pytest.mark.parametrize("role", ROLES)
def test_logind_waits_as_long_as_the_kubelet_asks_for(role):
    template = files("master")["/etc/kubepark/kubeadm-init.yaml.tmpl"]
    seconds = list(yaml.safe_load_all(template))[-1]["shutdownGracePeriod"].removesuffix("s")
    folder = "/etc/systemd/logind.conf.d/"
    (dropin,) = (path for path in files(role) if path.startswith(folder))
    assert dropin == f"{folder}unattended-upgrades-logind-maxdelay.conf", "in place of Ubuntu's own"
    assert files(role)[dropin] == f"[Login]\nInhibitDelayMaxSec={seconds}\n"
    assert f'"t {seconds}000000"' in files(role)["/usr/local/lib/kubepark/steps/verify"]


def test_the_order_that_matters():
    def order(role: str) -> list[str]:
        return [line.split()[0] for line in files(role)["/etc/kubepark/steps"].splitlines()[1:]]

    for role in ROLES:
        assert order(role)[:3] == ["clock", "hostname", "hosts"], "a record needs the clock only"
        assert order(role)[-1] == "verify"
    master, gpu = order("master"), order("gpu")
    assert master.index("encryption") < master.index("init") < master.index("publish")
    assert gpu.index("gpu-driver") < gpu.index("containerd") < gpu.index("gpu-check") < gpu.index("join")


def test_gpu_registration_comes_from_the_plan():
    (join,) = yaml.safe_load_all(files("gpu")["/etc/kubepark/kubeadm-join.yaml.tmpl"])
    registration = join["nodeRegistration"]
    arguments = {each["name"]: each["value"] for each in registration["kubeletExtraArgs"]}
    assert registration["taints"] == [{"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}]
    assert {"accelerator=nvidia-t4", "nvidia.com/gpu.present=true", "team=vision"} < set(
        arguments["node-labels"].split(",")
    )
    assert arguments["provider-id"] == "@PROVIDER_ID@"
    assert arguments["hostname-override"] == registration["name"] == "gpu01"


def test_a_worker_has_no_taint_at_all():
    (join,) = yaml.safe_load_all(files("worker")["/etc/kubepark/kubeadm-join.yaml.tmpl"])
    assert join["nodeRegistration"]["taints"] == [], "absent would mean kubeadm's default"


def test_the_outside_address_is_in_the_certificate():
    settings = sample.with_endpoints("https://aws.example", "https://api.example.org:443")
    cluster = list(yaml.safe_load_all(files("master", settings)["/etc/kubepark/kubeadm-init.yaml.tmpl"]))[1]
    assert "api.example.org" in cluster["apiServer"]["certSANs"]
    assert "API_ENDPOINT=https://api.example.org:443\n" in files("master", settings)["/etc/kubepark/node.env"]
