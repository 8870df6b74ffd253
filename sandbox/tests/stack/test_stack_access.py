"""What people may do in the cluster, asked of the API server as themselves. Without Kubeflow: all bindings are ours.

Each has a kubeconfig of their own, made as an operator makes it.
"""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from kubernetes import client, config

from config.naming import ACCELERATOR
from config.versions import VECTOR_ADD_IMAGE
from sandbox.tests.stack.project import QUICK, ROOT, Project

pytestmark = pytest.mark.sandbox

PEOPLE = [
    {"name": "ana", "email": "ana@example.org", "role": "admin", "tier": "gpu"},
    {"name": "bo", "email": "bo@example.org", "groups": ["research"]},
    {"name": "chris", "email": "chris@example.org", "access": {"bo": "edit"}},
    {"name": "vi", "email": "vi@example.org", "role": "viewer", "access": {"chris": "view"}},
    {"name": "sue", "email": "sue@example.org", "state": "suspended", "access": {"bo": "edit"}},
    {"name": "gone", "email": "gone@example.org", "state": "removed", "data": "keep"},
]
GROUPS = {"research": {"access": {"chris": "view"}}}
ACTIVE = ("ana", "bo", "chris", "vi")
CONTAINER: dict[str, Any] = {"name": "main", "image": "kubepark.local/probe:1"}
# What tells the roles apart, as (verb, resource, group).
PROBES = {
    "look": ("get", "pods", ""),
    "secrets": ("get", "secrets", ""),
    "work": ("create", "deployments", "apps"),
    "share": ("create", "rolebindings", "rbac.authorization.k8s.io"),
    # Nobody's, whatever their role: the label that Pod Security goes by, the quota, the defaults.
    "namespace": ("patch", "namespaces", ""),
    "quota": ("delete", "resourcequotas", ""),
    "defaults": ("update", "limitranges", ""),
}
# Of docs/daily-use.md: they need a kubelet, which simulated nodes do not have, or do not end by themselves.
NEED_A_KUBELET = ("kubectl logs ", "kubectl exec ", "kubectl port-forward ")
ROLES = {
    "owner": {"look", "secrets", "work", "share"},
    "edit": {"look", "secrets", "work"},
    "view": {"look"},
}
CLUSTER_WIDE = [("list", "nodes", ""), ("list", "secrets", ""), ("create", "pods", ""), ("*", "*", "*")]


@pytest.fixture(scope="module")
def checkout(checkout: Project) -> Project:
    checkout.set("kubepark:kubeflow.profiles", "none")
    checkout.set("kubepark:people", PEOPLE)
    checkout.set("kubepark:groups", GROUPS)
    return checkout


def own(project: Project, name: str, *words: str) -> Path:
    """Somebody's kubeconfig, as `kubepark people kubeconfig` makes it."""
    file = project.root / f"{name}.kubeconfig"
    project.ok("people", "kubeconfig", name, "--output", str(file), *words, timeout=60)
    return file


def kubectl(kubeconfig: Path, *words: str, given: str = "") -> tuple[int, str]:
    """Exit code and output."""
    done = subprocess.run(
        [str(ROOT / ".venv" / "bin" / "kubectl"), "--kubeconfig", str(kubeconfig), *words],
        input=given,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout


def may(kubeconfig: Path, probes: Iterable[tuple[str, str, str]], namespace: str | None) -> list[bool]:
    """What the API server says to a SelfSubjectAccessReview for each, as `kubectl auth can-i` asks it."""
    with config.new_client_from_config(str(kubeconfig)) as api:
        reviews = client.AuthorizationV1Api(api)
        found = []
        for verb, resource, group in probes:
            asked = {"verb": verb, "resource": resource, "group": group, "namespace": namespace}
            review = {"spec": {"resourceAttributes": asked}}
            found.append(reviews.create_self_subject_access_review(review).status.allowed)
    return found


def test_what_each_may_do_in_each_namespace_is_exactly_the_access_matrix(project: Project) -> None:
    matrix = {(row["person"], row["namespace"]): row["role"] for row in project.outputs()["access"]}
    assert set(matrix.values()) == set(ROLES)
    namespaces = [item["metadata"]["name"] for item in project.get("namespaces")["items"]]
    assert {"ana", "bo", "chris", "sue", "gone", "default", "kube-system", "auth"} <= {*namespaces}
    for name in ACTIVE:
        kubeconfig = own(project, name)
        for namespace in namespaces:
            allowed = {
                p for p, yes in zip(PROBES, may(kubeconfig, PROBES.values(), namespace), strict=True) if yes
            }
            assert allowed == ROLES.get(matrix.get((name, namespace), ""), set()), (name, namespace)
        assert may(kubeconfig, CLUSTER_WIDE, None) == [False] * len(CLUSTER_WIDE), name
    # And one question by the tool that people have.
    code, said = kubectl(own(project, "vi"), "auth", "can-i", "get", "pods")
    assert (code, said) == (0, "yes\n"), "in the namespace of the context"


def test_the_commands_of_daily_use_work_as_written(project: Project) -> None:
    page = (ROOT / "docs" / "daily-use.md").read_text(encoding="utf-8")
    kubeconfig = own(project, "ana")
    spec = {"containers": [CONTAINER]}
    labels = {"app": "web"}
    deployment = {
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": spec},
    }
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    for kind, version, name, body in (
        ("Pod", "v1", "web", spec),
        ("Deployment", "apps/v1", "web", deployment),
        ("PersistentVolumeClaim", "v1", "data", claim),
    ):
        document = {"apiVersion": version, "kind": kind, "metadata": {"name": name}, "spec": body}
        assert kubectl(kubeconfig, "create", "-f-", given=json.dumps(document))[0] == 0

    path = f"{ROOT / '.venv' / 'bin'}:{os.environ['PATH']}"
    commands = re.findall(r"^    (kubectl .*?)(?: +#.*)?$", page, re.MULTILINE)
    assert len(commands) >= 15
    for command in commands:
        if command.startswith(NEED_A_KUBELET):
            continue
        done = subprocess.run(
            ["sh", "-c", command],
            env={"KUBECONFIG": str(kubeconfig), "PATH": path, "HOME": str(project.root)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        # grep finds nothing where no pod uses the claim.
        assert done.returncode == (1 if "| grep " in command else 0), f"{command}: {done.stderr}"
    services = json.loads(kubectl(kubeconfig, "get", "services", "-o", "json")[1])["items"]
    assert sorted(each["spec"]["type"] for each in services) == ["ClusterIP", "NodePort"]

    (pod,) = re.findall(r"^```yaml\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    code, said = kubectl(kubeconfig, "create", "--dry-run=server", "-f-", given=pod)
    assert code == 0, said
    (container,) = yaml.safe_load(pod)["spec"]["containers"]
    assert container["image"] == VECTOR_ADD_IMAGE
    assert yaml.safe_load(pod)["spec"]["nodeSelector"] == {ACCELERATOR: "nvidia-t4"}


def test_the_file_is_the_persons_alone_and_the_certificate_says_who_and_until_when(project: Project) -> None:
    file = own(project, "bo", "--hours", "2")
    assert file.stat().st_mode & 0o777 == 0o600
    document = yaml.safe_load(file.read_text(encoding="utf-8"))
    assert document["current-context"] == "bo@kubepark-sandbox"
    (context,) = document["contexts"]
    assert context["context"] == {"cluster": "kubepark-sandbox", "user": "bo", "namespace": "bo"}
    user = document["users"][0]["user"]
    certificate = x509.load_pem_x509_certificate(base64.b64decode(user["client-certificate-data"]))
    assert [(each.oid, each.value) for each in certificate.subject] == [
        (NameOID.COMMON_NAME, "bo@example.org")
    ]
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert [*usage] == [ExtendedKeyUsageOID.CLIENT_AUTH]
    left = certificate.not_valid_after_utc - datetime.now(UTC)
    assert timedelta(hours=1, minutes=50) < left <= timedelta(hours=2)

    printed = project.ok("people", "kubeconfig", "bo", timeout=60)
    assert yaml.safe_load(printed)["current-context"] == "bo@kubepark-sandbox"
    key = user["client-key-data"]
    assert key not in printed, "each has a key of its own"
    requests = json.dumps(project.get("certificatesigningrequests"))
    assert "kubepark-bo-" in requests
    secret = base64.b64decode(key).decode().splitlines()[1]
    logs = [path for path in (project.state / "logs").rglob("*") if path.is_file()]
    assert not [path for path in logs if secret.encode() in path.read_bytes()]
    assert secret not in requests


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "sue",
            "error: sue is suspended, and gets no kubeconfig; if that is over: bin/kubepark people resume sue "
            "--stack sandbox",
        ),
        ("gone", "error: gone is removed, and gets no kubeconfig"),
        ("anna", "error: anna is not in Pulumi.sandbox.yaml (did you mean ana?)"),
    ],
)
def test_whoever_is_not_active_gets_none(deployed: Project, name: str, said: str) -> None:
    before = len(deployed.get("certificatesigningrequests")["items"])
    done = deployed.run("people", "kubeconfig", name)
    assert done.returncode == 1
    assert done.stdout.startswith(said)
    assert len(deployed.get("certificatesigningrequests")["items"]) == before, "the cluster was not asked"


@pytest.mark.parametrize(
    "spec",
    [
        {"volumes": [{"name": "etc", "hostPath": {"path": "/etc/kubernetes"}}]},
        {"hostNetwork": True},
        {"containers": [CONTAINER | {"securityContext": {"privileged": True}}]},
    ],
)
def test_a_pod_that_reaches_for_the_host_is_refused_to_the_owner_of_the_namespace(
    deployed: Project, spec: dict[str, Any]
) -> None:
    kubeconfig = own(deployed, "bo")
    for more, refused in (({}, False), (spec, True)):
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "x", "namespace": "bo"},
            "spec": {"containers": [CONTAINER], **more},
        }
        code, said = kubectl(kubeconfig, "create", "--dry-run=server", "-f", "-", given=json.dumps(pod))
        assert (code != 0) == refused, said
        assert ('violates PodSecurity "baseline:latest"' in said) == refused


def test_a_certificate_from_before_a_suspension_opens_nothing_after_it(project: Project) -> None:
    kubeconfig = own(project, "chris")
    assert may(kubeconfig, [PROBES["work"]], "bo") == [True]
    project.ok("people", "suspend", "chris", "--yes", "--no-preview")
    project.ok("up", *QUICK)
    for namespace in ("chris", "bo"):
        assert may(kubeconfig, PROBES.values(), namespace) == [False] * len(PROBES)
