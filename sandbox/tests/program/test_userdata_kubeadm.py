"""The kubeadm documents are accepted by the kubeadm of the row's minor."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from sandbox.tests.tools import tool
from tests.node_labels import ACCEPTED, REFUSED
from tests.userdata_sample import ROLES, SETTINGS, files

VALUES = {
    "INSTANCE_ID": "i-0123456789abcdef0",
    "PRIVATE_IP": "10.20.0.10",
    "PUBLIC_IP": "203.0.113.80",
    "AVAILABILITY_ZONE": "eu-central-1a",
    "REGION": "eu-central-1",
    "INSTANCE_TYPE": "m6i.large",
    "PROVIDER_ID": "aws:///eu-central-1a/i-0123456789abcdef0",
    "JOIN_ENDPOINT": "api.sample.internal:6443",
    "JOIN_CA_HASH": "sha256:" + "0123456789abcdef" * 4,
}


def filled(role: str) -> str:
    kind = "init" if role == "master" else "join"
    template = files(role)[f"/etc/kubepark/kubeadm-{kind}.yaml.tmpl"]
    values = {**VALUES, "JOIN_TOKEN": "a" * 6 + "." + "b" * 16}
    return re.sub("@([A-Z_]+)@", lambda match: values[match.group(1)], template)


def validate(text: str, folder: Path) -> tuple[int, str]:
    config = folder / "kubeadm.yaml"
    config.write_text(text)
    said = subprocess.run(
        [tool("kubeadm"), "config", "validate", "--config", config],
        capture_output=True,
        text=True,
        check=False,
    )
    return said.returncode, said.stdout + said.stderr


def complaints(text: str, folder: Path) -> list[str]:
    code, said = validate(text, folder)
    bad = [
        line
        for line in said.splitlines()
        if re.search("unknown field|strict decoding|deprecated|W[0-9]{4} ", line)
    ]
    return bad + ([said] if code else [])


def test_kubeadm_has_the_rows_minor():
    said = subprocess.run(
        [tool("kubeadm"), "version", "-o", "short"], capture_output=True, text=True, check=True
    )
    assert said.stdout.startswith(f"v{SETTINGS.release.minor}.")


@pytest.mark.parametrize("role", ROLES)
def test_documents_are_valid(role, tmp_path):
    assert complaints(filled(role), tmp_path) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("localAPIEndpoint:", "localApiEndpoint:"),
        ("certSANs:", "certSans:"),
        ("rotateCertificates:", "rotateCertificate:"),
        ("192.168.0.0/16", "192.168.0.0/99"),
        ("kubeadm.k8s.io/v1beta4", "kubeadm.k8s.io/v1beta3"),
    ],
)
def test_a_fault_in_the_documents_is_seen(old, new, tmp_path):
    text = filled("master")
    assert old in text
    assert complaints(text.replace(old, new), tmp_path)


def test_kubeadm_asks_for_the_pause_image_that_containerd_pins(tmp_path):
    config = tmp_path / "kubeadm.yaml"
    config.write_text(filled("master"))
    said = subprocess.run(
        [tool("kubeadm"), "config", "images", "list", "--config", config],
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"registry.k8s.io/pause:{SETTINGS.release.pause}" in said.stdout.split()
    assert f"registry.k8s.io/kube-apiserver:v{SETTINGS.release.kubernetes}" in said.stdout.split()


def test_skipped_phases_exist():
    init = next(iter(yaml.safe_load_all(filled("master"))))
    said = subprocess.run(
        [tool("kubeadm"), "init", "phase", "--help"], capture_output=True, text=True, check=True
    )
    for phase in init["skipPhases"]:
        assert re.search(rf"^  {phase} ", said.stdout, re.MULTILINE)


def test_the_settings_take_the_labels_that_the_kubelet_takes():
    kubelet = tool("kubelet")
    if not kubelet.exists():
        pytest.skip("the kubelet is built where real nodes can run")

    def takes(key):
        """It looks at its flags before it reads its configuration, which ends it."""
        said = subprocess.run(
            [kubelet, f"--node-labels={key}=v", "--config=/nonexistent"],
            capture_output=True,
            text=True,
            timeout=60,
        ).stderr
        assert ("failed to load kubelet config file" in said) != ("failed to validate kubelet flags" in said)
        return "failed to validate kubelet flags" not in said

    assert [key for key in ACCEPTED if not takes(key)] == []
    assert [key for key, wrong in REFUSED if "is set by" not in wrong and takes(key)] == []
