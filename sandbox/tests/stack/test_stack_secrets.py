"""Where the secrets of a stack may be read, and that they can be read nowhere else.

One `up` and one `refresh` of the real command are watched; then everything that they left, said or
sent is searched for every secret of the stack. A harmless canary takes the ways that a secret could
take (a person's name, a tag, a label, an argument), so a place in which the canary is found is a
place in which a secret would have been found.
"""

from __future__ import annotations

import base64
import gzip
import json
import secrets as random
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
import yaml

from sandbox.tests.stack import leaks
from sandbox.tests.stack.leaks import Arguments, Document, Leak, Secret, search
from sandbox.tests.stack.project import Project

pytestmark = pytest.mark.sandbox

NODES = ["master1", "worker01", "worker02", "worker03", "gpu01"]
# Everything in the cluster that is not a Secret and could carry one.
KINDS = (
    "configmaps,namespaces,nodes,pods,services,serviceaccounts,limitranges,events,deployments.apps,"
    "daemonsets.apps,jobs.batch,clusterroles,profiles.kubeflow.org,installations.operator.tigera.io"
)
# Place -> how many documents there are at least.
EXPECTED = {
    "exported state": 2,
    "backend": 6,  # checkpoint, its predecessor, and one backup, history entry and copy each
    "output": 5,
    "user data": len(NODES),
    "arguments": 20,
    "requests": 300,
    "logs": 7,  # emulator, boot, four of the control plane, audit; KWOK's is empty but for accidents
    "cluster": 50,
    "etcd": 2,
    "node disks": 100,
    "state folder": 5,
}


@dataclass
class Watched:
    """A project after `up` and `refresh`, and what was seen meanwhile."""

    project: Project
    canary: str
    arguments: Arguments
    documents: list[Document] = field(default_factory=list)
    secrets: list[Secret] = field(default_factory=list)

    @property
    def state(self) -> Path:
        return self.project.state

    @cached_property
    def shown(self) -> list[Leak]:
        """Every place in which a secret can be read, homes included."""
        return search(self.documents, [replace(secret, homes=frozenset()) for secret in self.secrets])

    def command(self, *words: str) -> None:
        """Run `kubepark WORDS` and keep its output."""
        name = " ".join(words)
        self.documents.append(Document("output", name, self.project.ok(*words).encode()))

    def export(self, when: str) -> None:
        text = self.project.pulumi("stack", "export")
        self.documents.append(Document("exported state", when, text.encode()))


@pytest.fixture(scope="module")
def watched(checkout: Project) -> Watched:
    project = checkout
    canary = f"canary{random.token_hex(8)}"
    config = yaml.safe_load(project.stack_file.read_text(encoding="utf-8"))["config"]
    person = {"name": canary, "email": f"{canary}@example.org"}
    project.set("kubepark:people", [*config["kubepark:people"], person])
    project.set("kubepark:tags", {"note": canary})
    project.set("kubepark:gpu.labels", {"note": canary})
    found = Watched(project, canary, Arguments())
    with found.arguments:
        bystander = subprocess.Popen([sys.executable, "-c", "input()", canary], stdin=subprocess.PIPE)
        found.command("up", "--diff")
        found.arguments.wait_for(canary)
        bystander.communicate()
        found.export("after up")
        found.command("refresh", "--yes")
        found.export("after refresh")
        found.command("preview", "--json")
    for verb in ("status", "env"):
        found.documents.append(Document("output", verb, project.ok(verb).encode()))
    found.documents += [*found.arguments.documents(), *leaks.files(project.state)]
    found.documents += [*user_data(project), *cluster(project)]
    found.secrets += all_secrets(project)
    return found


def user_data(project: Project) -> Iterator[Document]:
    """What EC2 hands to each node, as the node unpacks it."""
    for node in NODES:
        answer = project.aws("ec2").describe_instance_attribute(
            InstanceId=project.instance(node)["InstanceId"], Attribute="userData"
        )
        packed = base64.b64decode(answer["UserData"]["Value"])
        assert packed.startswith(leaks.GZIP)
        yield Document("user data", node, gzip.decompress(packed))


def cluster(project: Project) -> Iterator[Document]:
    """The objects in the API server that are no Secrets."""
    for item in project.get(KINDS, "--all-namespaces")["items"]:
        metadata = item["metadata"]
        name = f"{item['kind']} {metadata.get('namespace', '')}/{metadata['name']}"
        yield Document("cluster", name, json.dumps(item).encode())


def all_secrets(project: Project) -> Iterator[Secret]:
    """Every secret of the stack, from the places where it lives, with its homes in the state folder."""
    in_file = containers_of_dex(project)
    yield Secret("OIDC client secret", project.config("kubepark:oidcClientSecret"), in_file)
    hashes = project.config("kubepark:passwordHashes")
    yield from (Secret(f"hash of {name}", text, in_file) for name, text in hashes.items())
    for line in (project.state / "passwords.txt").read_text(encoding="utf-8").splitlines():
        _, person, password = line.split()
        yield Secret(f"password of {person}", password, frozenset({"passwords.txt"}))
    passphrase = (project.state / "passphrase").read_text(encoding="utf-8").strip()
    yield Secret("passphrase", passphrase, frozenset({"passphrase"}))
    yield from cluster_secrets(project)


def containers_of_dex(project: Project) -> frozenset[str]:
    """Where a real node keeps a container's environment, which for Dex has hashes: readable by its root."""
    if project.nodes == "simulated":
        return frozenset()
    pods = project.get("pods", "-n", "auth", "-l", "app=dex")["items"]
    ids = {project.instance(pod["spec"]["nodeName"])["InstanceId"] for pod in pods}
    return frozenset(
        f"machines/{each}/var-lib-containerd/io.containerd.metadata.v1.bolt/meta.db" for each in ids
    )


def cluster_secrets(project: Project) -> Iterator[Secret]:
    """Tokens, keys of the control plane, the key that encrypts Secrets in etcd."""
    join = json.loads(parameter(project, "join"))
    tokens = {join["token"].partition(".")[2]}
    for item in project.get("secrets", "-n", "kube-system")["items"]:
        if item["type"] == "bootstrap.kubernetes.io/token":
            tokens.add(base64.b64decode(item["data"]["token-secret"]).decode())
    yield from (Secret(f"join token {number}", token) for number, token in enumerate(sorted(tokens)))
    operator = leaks.client_key(parameter(project, "kubeconfig"))
    for key in leaks.keys_on_disks(project.state):
        # The sandbox's own look into a cluster of real nodes is with a copy of that file.
        is_admin = project.nodes == "real" and any(home.endswith("/super-admin.conf") for home in key.homes)
        copies = {"super-admin.conf"} if is_admin else set()
        yield replace(key, homes=key.homes | copies | ({"kubeconfig"} if key.text == operator else set()))
    master = project.instance("master1")["InstanceId"]
    folder = f"{leaks.ROOTS[project.nodes].format(master)}/etc/kubernetes/enc"
    homes = {f"{folder}/encryption.yaml"} | ({f"{folder}/key"} if project.nodes == "real" else set())
    yield Secret("encryption key", parameter(project, "encryption-key"), frozenset(homes))


def parameter(project: Project, name: str) -> str:
    """The decrypted value of a parameter that nodes write."""
    found = project.aws("ssm").get_parameter(Name=f"/kubepark-sandbox/{name}", WithDecryption=True)
    value: str = found["Parameter"]["Value"]
    assert value != "pending"
    return value


# -- the stack -------------------------------------------------------------------------------------


def test_every_secret_of_the_stack_is_known_and_where_it_lives(watched: Watched) -> None:
    names = [secret.name for secret in watched.secrets]
    assert len({secret.text for secret in watched.secrets}) == len(names)
    kinds = {name: sum(each.startswith(name) for each in names) for name in ("hash of", "password of")}
    assert kinds == {"hash of": 4, "password of": 4}
    assert {"OIDC client secret", "passphrase", "encryption key", "join token 0"} <= set(names)
    keys = {name.partition("/etc/kubernetes/")[2] for name in names if name.startswith("key of")}
    assert {"pki/ca.key", "pki/sa.key", "pki/etcd/ca.key", "admin.conf", "kubepark-operator.conf"} <= keys
    assert all(len(secret.text) >= 16 for secret in watched.secrets)
    found = {(leak.secret, leak.document) for leak in watched.shown}
    for secret in watched.secrets:
        # Which of Dex's nodes has written its environment to disk is the runtime's business.
        assert {(secret.name, home) for home in secret.homes if "containerd" not in home} <= found


def test_a_canary_that_goes_the_ways_of_a_secret_is_found_in_every_place(watched: Watched) -> None:
    counts = leaks.counted(watched.documents)
    assert set(counts) == set(EXPECTED)
    assert {place: counts[place] for place in EXPECTED if counts[place] < EXPECTED[place]} == {}
    found = search(watched.documents, [Secret("canary", watched.canary)])
    assert leaks.places(found) == set(EXPECTED)
    documents = {leak.document for leak in found}
    assert {"up --diff", "after up", "after refresh", "refresh --yes", "preview --json", "gpu01"} <= documents
    history = {name.split("/")[2] for name in documents if name.startswith("backend/.pulumi/")}
    assert history == {"stacks", "history", "backups"}


def test_the_cli_keeps_no_log_of_its_own(watched: Watched) -> None:
    """It would be encrypted, and could not be searched."""
    home = watched.state / "pulumi-home"
    assert (home / "logs").is_file()
    assert [path for path in home.rglob("*") if path.is_file() and path.read_bytes()[:4] == b"PLOG"] == []


def test_the_processes_of_the_sandbox_were_sampled(watched: Watched) -> None:
    assert watched.arguments.samples > 100
    modules = b"\n".join(watched.arguments.seen)
    programs = ("pulumi", "kubeadm", "etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
    if watched.project.nodes == "simulated":
        assert watched.arguments.of(watched.state) >= {*programs, "kwok"}
    else:  # inside their machines they have other paths
        assert [name for name in programs if name.encode() not in modules] == []
    for module in (b"sandbox.nodes", b"sandbox.aws.emulator", b"pulumi-resource-aws"):
        assert module in modules


def test_no_secret_can_be_read_outside_its_home(watched: Watched) -> None:
    homes = {secret.name: secret.homes for secret in watched.secrets}
    assert [leak for leak in watched.shown if leak.document not in homes[leak.secret]] == []


def test_what_nodes_store_is_not_in_the_state_even_decrypted_after_a_refresh(watched: Watched) -> None:
    """Whoever may preview can decrypt the state."""
    text = watched.project.pulumi("stack", "export", "--show-secrets")
    stored = [
        secret
        for secret in watched.secrets
        if secret.name.startswith(("join token", "key of", "encryption key"))
    ]
    assert leaks.client_key(parameter(watched.project, "kubeconfig")) in {secret.text for secret in stored}
    assert not search([Document("decrypted state", "all", text.encode())], stored)
    assert search([Document("decrypted state", "all", text.encode())], watched.secrets), "it is decrypted"


def test_the_values_that_nodes_store_are_the_only_ones_left_out_of_the_requests(watched: Watched) -> None:
    log = (watched.state / "logs" / "requests.jsonl").read_text(encoding="utf-8")
    requests = [json.loads(line) for line in log.splitlines()]
    left_out = [request for request in requests if leaks.is_node_write(request)]
    assert {request["params"]["Name"] for request in left_out} == {
        f"/kubepark-sandbox/{name}" for name in ("join", "kubeconfig", "encryption-key")
    }
    whole = [Document("requests", "whole", json.dumps(requests).encode())]
    operator = leaks.client_key(parameter(watched.project, "kubeconfig"))
    stored = {secret.name for secret in watched.secrets if secret.text == operator} | {"encryption key"}
    found = {leak.secret for leak in search(whole, watched.secrets)}
    assert stored < found
    assert all(name.startswith("join token") for name in found - stored)


def test_a_secret_that_leaks_is_found_and_not_repeated(watched: Watched) -> None:
    """Real secrets, in a log, in a state file and in an argument list."""
    token = next(secret for secret in watched.secrets if secret.name == "join token 0")
    ca = next(secret for secret in watched.secrets if secret.name.endswith("/pki/ca.key"))
    log = watched.state / "logs" / "careless.log"
    state = watched.state / "backend" / ".pulumi" / "careless.json"
    log.write_text(f"joined with abcdef.{token.text}\n", encoding="utf-8")
    pem = (watched.state / next(iter(ca.homes))).read_text(encoding="utf-8")
    state.write_text(json.dumps({"data": base64.b64encode(pem.encode()).decode()}), encoding="utf-8")
    with Arguments() as arguments:
        process = subprocess.Popen([sys.executable, "-c", "input()", token.text], stdin=subprocess.PIPE)
        arguments.wait_for(token.text)
        process.communicate()
    documents = [*leaks.files(watched.state), *arguments.documents()]
    log.unlink()
    state.unlink()
    found = search(documents, watched.secrets)
    assert {(leak.secret, leak.place, leak.document) for leak in found} == {
        (token.name, "logs", "logs/careless.log"),
        (token.name, "arguments", f"pid {process.pid}"),
        (ca.name, "backend", "backend/.pulumi/careless.json"),
    }
    assert all(value not in repr([found, token, ca, documents]) for value in (token.text, ca.text))


# -- the search itself -----------------------------------------------------------------------------

HASH = "$2b$12$" + "Ab/9." * 10 + 'x"\\'  # with what JSON and URLs escape
KEY = "\n".join(["-----BEGIN EC PRIVATE KEY-----", "MHc" + "q/+Z" * 15 + "C", "xyz==", "-----END"])


def packed(value: Any) -> bytes:
    return gzip.compress(json.dumps(value).encode())


@pytest.mark.parametrize("before", ["", "a", "ab", "abc"])
@pytest.mark.parametrize("text", [HASH, leaks.key_line(KEY), "0123456789abcdef"])
def test_each_way_of_writing_a_secret_is_recognised(text: str, before: str) -> None:
    around = f"{before}{text} and more"
    once = base64.b64encode(around.encode()).decode()
    ways = {
        "as it is": around,
        "JSON": json.dumps({"value": around}),
        "JSON in JSON": json.dumps({"value": json.dumps({"value": around})}),
        "base64": once,
        "URL-safe base64": base64.urlsafe_b64encode(around.encode()).decode(),
        "base64 in JSON, twice": json.dumps({"data": base64.b64encode(f"{before}{once}".encode()).decode()}),
        "URL": "a=1&v=" + around.replace("$", "%24").replace("/", "%2F").replace('"', "%22")
        .replace("\\", "%5C").replace("+", "%2B"),
    }  # fmt: skip
    secret = Secret("it", text)
    for way, written in ways.items():
        assert search([Document("place", way, written.encode())], [secret]), way
    assert search([Document("place", "gzip", packed([around]))], [secret])
    assert search([Document("place", "cut", packed([around])[:-8])], [secret])
    other = text[:-4] + "????"
    documents = [Document("place", "other", other.encode()), Document("place", "gz", packed(other))]
    assert search(documents, [secret]) == []


def test_a_key_is_recognised_however_its_lines_are_broken() -> None:
    secret = Secret("key", leaks.key_line(KEY))
    for written in (KEY.replace("\n", "\n      "), json.dumps(KEY), KEY.replace("\n", "\r\n")):
        assert search([Document("place", "x", written.encode())], [secret])


def test_a_home_counts_for_its_own_secret_only() -> None:
    document = Document("place", "home", b"0123456789abcdef fedcba9876543210")
    mine = Secret("mine", "0123456789abcdef", frozenset({"home"}))
    yours = Secret("yours", "fedcba9876543210", frozenset({"elsewhere"}))
    assert [leak.secret for leak in search([document], [mine, yours])] == ["yours"]
