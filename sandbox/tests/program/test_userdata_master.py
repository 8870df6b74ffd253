"""What the master publishes, when it issues anew, and how nodes keep /etc/hosts."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import subprocess
import time
from pathlib import Path

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sandbox.tests.program.node_root import HOSTS, LIB, NodeRoot, booting

FIELDS = {"schema", "instanceId", "generation", "endpoint", "token", "caCertHashes", "expiresAt"}
OPERATOR = "/etc/kubernetes/kubepark-operator.conf"


def certificate(node: NodeRoot) -> x509.Certificate:
    config = yaml.safe_load(node.world.parameter("/sample/kubeconfig"))
    data = base64.b64decode(config["users"][0]["user"]["client-certificate-data"])
    return x509.load_pem_x509_certificate(data)


def test_what_the_master_publishes(tmp_path):
    with booting("master", tmp_path) as node:
        assert node.run()[0] == 0
        text = node.world.parameter("/sample/kubeconfig")
        assert len(text) < 4096, "a standard parameter"
        assert yaml.safe_load(text)["clusters"][0]["cluster"]["server"] == "https://203.0.113.80:6443"
        issued = certificate(node)
        assert isinstance(issued.public_key(), ec.EllipticCurvePublicKey)
        subject = {part.rfc4514_attribute_name: part.value for part in issued.subject}
        assert subject == {"O": "kubeadm:cluster-admins", "CN": "kubepark-operator"}

        record = json.loads(node.world.parameter("/sample/join"))
        assert set(record) == FIELDS
        assert record["instanceId"] == node.world.values["instance-id"]
        assert (record["schema"], record["generation"]) == (1, 1)
        assert record["endpoint"] == "api.sample.internal:6443"
        ca = x509.load_pem_x509_certificate(node.path("/etc/kubernetes/pki/ca.crt").read_bytes())
        key = ca.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        assert record["caCertHashes"] == [f"sha256:{hashlib.sha256(key).hexdigest()}"]
        left = (
            time.mktime(time.strptime(record["expiresAt"], "%Y-%m-%dT%H:%M:%SZ"))
            - time.timezone
            - time.time()
        )
        assert 86000 < left <= 86400

        config = yaml.safe_load(node.path("/etc/kubernetes/enc/encryption.yaml").read_text())
        (provider, _) = config["resources"][0]["providers"]
        secret = provider["secretbox"]["keys"][0]["secret"]
        assert len(base64.b64decode(secret)) == 32
        assert node.world.parameter("/sample/encryption-key") == secret
        for path in ("/etc/kubernetes/enc/encryption.yaml", "/etc/kubernetes/enc/key", OPERATOR):
            assert node.path(path).stat().st_mode & 0o077 == 0, path


def test_refreshing_renews_the_token_and_keeps_the_kubeconfig(tmp_path):
    with booting("master", tmp_path) as node:
        assert node.run()[0] == 0
        token, config = (node.world.parameter(f"/sample/{name}") for name in ("join", "kubeconfig"))
        assert node.run("refresh-join")[0] == 0
        assert node.world.parameter("/sample/join") != token
        assert node.world.parameter("/sample/kubeconfig") == config

        node.world.values["public-ipv4"] = "203.0.113.99"
        assert node.run("refresh-join")[0] == 0
        moved = yaml.safe_load(node.world.parameter("/sample/kubeconfig"))
        assert moved["clusters"][0]["cluster"]["server"] == "https://203.0.113.99:6443"
        before = certificate(node).serial_number

        assert node.run("refresh-join")[0] == 0
        assert certificate(node).serial_number == before
        node.edit(f"{LIB}/refresh-join", "60 * 24 * 3600", "366 * 24 * 3600")  # a year counts as too short
        assert node.run("refresh-join")[0] == 0
        assert certificate(node).serial_number != before


def test_the_configured_address_goes_into_the_kubeconfig(tmp_path):
    with booting("master", tmp_path) as node:
        node.edit("/etc/kubepark/node.env", "API_ENDPOINT=''", "API_ENDPOINT=https://127.0.0.1:7443")
        assert node.run()[0] == 0
        config = yaml.safe_load(node.world.parameter("/sample/kubeconfig"))
        assert config["clusters"][0]["cluster"]["server"] == "https://127.0.0.1:7443"


def test_an_api_that_is_not_ready_publishes_nothing(tmp_path):
    with booting("master", tmp_path) as node:
        node.stand_in("kubectl", "echo 'connection refused' >&2; exit 1")
        assert node.run()[0] == 1
        assert node.records()[-1]["step"] == "dns"
        assert "connection refused" in node.records()[-1]["message"]
        assert node.world.parameter("/sample/kubeconfig") == "pending"
        assert node.world.parameter("/sample/join") == "pending"


def test_dns_servers_are_parted_before_any_node_can_join(tmp_path):
    """Later, both would run on the master already."""
    with booting("master", tmp_path) as node:
        assert node.run()[0] == 0
        steps = [record["step"] for record in node.records()[1:]]
        assert steps.index("init") < steps.index("dns") < steps.index("publish")
        (patch,) = node.calls("kubectl .* patch deployment coredns -n kube-system")
        file = Path(patch.split("--patch-file ")[1])
        rules = yaml.safe_load(file.read_text())["spec"]["template"]["spec"]["affinity"]["podAntiAffinity"]
        (rule,) = rules["requiredDuringSchedulingIgnoredDuringExecution"]
        assert rule["topologyKey"] == "kubernetes.io/hostname"
        assert rule["labelSelector"] == {"matchLabels": {"k8s-app": "kube-dns"}}, "kubeadm's label"


def test_a_failed_init_is_cleared_away_and_a_finished_one_never(tmp_path):
    with booting("master", tmp_path) as node:
        good = (tmp_path / "bin/kubeadm").read_text().split("\n", 3)[3]
        manifests = "$ROOT/etc/kubernetes/manifests"
        bad = f"mkdir -p {manifests}; touch {manifests}/kube-apiserver.yaml; echo 'error: no etcd'; exit 1"
        node.stand_in("kubeadm", f"if [[ $1 == init ]]; then {bad}; fi\n{good}")
        assert node.run()[0] == 1
        assert "error: no etcd" in node.records()[-1]["message"]
        key = node.world.parameter("/sample/encryption-key")
        node.stand_in("kubeadm", good)
        assert node.run()[0] == 0
        assert [call.split()[1] for call in node.calls("kubeadm (init|reset)")] == ["init", "reset", "init"]
        assert node.world.parameter("/sample/encryption-key") == key

        node.edit(f"{LIB}/lib.sh", "umask 022", "umask 027")  # repeats every step of the plan
        assert node.run()[0] == 0
        assert len(node.calls("kubeadm (init|reset)")) == 3


def test_hosts_follow_the_parameter_and_survive_a_bad_one(tmp_path):
    with booting("worker", tmp_path) as node:
        name = "/sample/hosts/00"

        def publish(rows) -> None:
            value = json.dumps({"schema": 1, "rows": rows})
            node.world.ssm.put_parameter(Name=name, Value=value, Type="String", Overwrite=True)

        for rows in (
            [["10.20.0.10", ["master1"]]],
            [["10.20.0.10", ["master1", "m"]], ["10.20.0.12", ["worker02"]]],
        ):
            publish(rows)
            assert node.run("refresh-hosts")[0] == 0
            text = node.path("/etc/hosts").read_text()
            block = "".join(f"{address} {' '.join(names)}\n" for address, names in rows)
            expected = HOSTS.replace("\n::1", "\n#::1") + f"# BEGIN kubepark\n{block}# END kubepark\n"
            assert text == expected
        for bad in (
            [["10.20.0.10\n1.2.3.4", ["master1"]]],
            [["10.20.0.10", ["a\nb"]]],
            [["10.20.0.10", []]],
            [],
        ):
            publish(bad)
            assert node.run("refresh-hosts")[0] != 0
            assert node.path("/etc/hosts").read_text() == text


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ("A=1\nB=2\n", ""),
        ("A=1\n", "no value for @B@"),
        ("A=1\nB=2'\\nc: 3\n", "unexpected characters in B"),
        ("A=1\nB=\n", "unexpected characters in B"),
    ],
)
def test_filling_a_template(values, words, tmp_path):
    with booting("worker", tmp_path) as node:
        (tmp_path / "t").write_text("a: '@A@'\nb: '@B@'\n")
        script = f"source {node.path(f'{LIB}/lib.sh')}; fill {tmp_path}/t {tmp_path}/result"
        said = subprocess.run(
            ["bash", "-c", script], input=values, capture_output=True, text=True, check=False
        )
        assert (said.returncode == 0) == (not words)
        assert re.search(re.escape(words), said.stderr)
        if not words:
            assert (tmp_path / "result").read_text().rstrip() == "a: '1'\nb: '2'"
        else:
            assert not (tmp_path / "result").exists()


DAY = 24 * 3600


def certificates(node: NodeRoot, *days: int) -> None:
    """kubeadm says how long each certificate is good; crictl and kubectl follow the restarts of pods."""
    rows = ", ".join(f'{{"name": "c{n}",\n "residualTime": {left * DAY + 1}}}' for n, left in enumerate(days))
    node.put("/expiry", f'{{"certificates": [{rows}]}}')
    node.stand_in("kubeadm", 'if [[ $2 == check-expiration ]]; then cat "$ROOT/expiry"; fi')
    node.stand_in(
        "crictl",
        """
case $1 in
pods) echo "sandbox-of-${*: -1}" ;;
stopp) echo 0 >$ROOT/looks ;;
ps) echo $(($(<$ROOT/looks) + 1)) >$ROOT/looks
  if (($(<$ROOT/looks) > 1)); then echo new; fi ;;
esac""",
    )
    # The API says that the old container is ready for a while, and knows the new one last.
    node.stand_in(
        "kubectl",
        "if (($(<$ROOT/looks) > 2)); then echo true containerd://new; else echo true containerd://old; fi",
    )


def test_certificates_that_are_good_for_sixty_days_are_left_alone(tmp_path):
    with booting("master", tmp_path) as node:
        certificates(node, 364, 60, 3650)
        code, said = node.run("renew-certs")
        assert (code, said) == (0, "the first certificate runs out in 60 days\n")
        assert not node.calls("kubeadm certs renew|crictl")


@pytest.mark.parametrize("days", [(364, 59), (59, 364), (-3, 364)])
def test_one_static_pod_after_the_other_is_restarted_and_waited_for(days, tmp_path):
    with booting("master", tmp_path) as node:
        assert node.run()[0] == 0
        certificates(node, *days)
        before = len(node.calls())
        code, said = node.run("renew-certs")
        assert code == 0, said
        calls = node.calls()[before:]
        assert calls.index("kubeadm certs renew all") < calls.index("crictl stopp sandbox-of-^etcd-")
        pods = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
        stops = [calls.index(f"crictl stopp sandbox-of-^{pod}-") for pod in pods]
        assert stops == sorted(stops)
        for pod, begin, end in zip(pods, stops, [*stops[1:], len(calls)], strict=True):
            looks = [call for call in calls[begin:end] if f"{pod}-master1" in call]
            assert len(looks) == 3, "until the API knows the new container as ready"


def test_a_static_pod_that_stays_away_ends_the_renewal(tmp_path):
    with booting("master", tmp_path) as node:
        certificates(node, 1)
        node.stand_in("kubectl", "echo false containerd://new")
        code, said = node.run("renew-certs")
        assert code == 1
        assert "etcd is not ready two minutes after its restart" in said
        assert len(node.calls("crictl stopp")) == 1, "the others run on"
