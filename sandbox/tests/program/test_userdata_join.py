"""Workers join with a record that is for them; GPU nodes only once the GPU answers."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from sandbox.tests.program.node_root import LIB, booting, join_record, publish_join


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"generation": 0}, "join record is of master generation 0, older than 1"),
        ({"expiresAt": "2020-01-01T00:00:00Z"}, "join record expires too soon: 2020-01-01T00:00:00Z"),
        ({"caCertHashes": []}, "join record is not there yet"),
        ({"caCertHashes": ["sha256:beef"]}, "join record has no CA hash to pin"),
        ({"token": ""}, "join record is not there yet"),
        (
            {"endpoint": "127.0.0.1:1"},
            "no connection to the API server at 127.0.0.1:1: [Errno 111] Connection refused",
        ),
        ("pending", "join record is not there yet"),
    ],
)
def test_a_record_that_is_not_for_this_node_is_waited_out(changes, words, tmp_path):
    with booting("worker", tmp_path) as node:
        bad = {**join_record(), **changes} if isinstance(changes, dict) else changes
        publish_join(node.world, bad)
        with node.running() as process:
            end = time.monotonic() + 30
            while node.records()[-1].get("message") != f"waiting: {words}":
                assert time.monotonic() < end, node.records()[-1]
                time.sleep(0.1)
            assert not node.calls("kubeadm join")
            publish_join(node.world, join_record())
            said, _ = process.communicate(timeout=60)
        assert process.returncode == 0, said
        assert len(node.calls("kubeadm join")) == 1


def test_a_newer_master_is_joined(tmp_path):
    """The record says which is current; the node was made when there was another."""
    with booting("worker", tmp_path) as node:
        publish_join(node.world, join_record(generation=2))
        assert node.run()[0] == 0
        assert node.records()[-1]["phase"] == "joined"


def test_a_record_that_aws_refuses_to_give_is_not_waited_for(tmp_path):
    with booting("worker", tmp_path) as node:
        call = 'return str(ssm(node, "GetParameter"'
        node.edit(f"{LIB}/kp-aws", call, f'raise SystemExit("kp-aws: AccessDeniedException"); {call}')
        assert node.run()[0] == 1
        record = node.records()[-1]
        assert (record["phase"], record["step"], record["rc"]) == ("failed", "join", 77)
        assert "AccessDeniedException" in record["message"]


def test_patience_for_a_join_record_ends_with_the_reason(tmp_path):
    with booting("worker", tmp_path) as node:
        publish_join(node.world, join_record(generation=0))
        node.edit(f"{LIB}/await-join", "PATIENCE = 1500", "PATIENCE = 0")
        assert node.run()[0] == 1
        record = node.records()[-1]
        assert record["step"] == "join"
        assert (
            "nothing to join within 0 s: join record is of master generation 0, older than 1"
            in record["message"]
        )


def test_a_failed_join_is_cleared_away_and_tried_again_with_a_fresh_record(tmp_path):
    with booting("worker", tmp_path) as node:
        join = (tmp_path / "bin/kubeadm").read_text()
        node.stand_in(
            "kubeadm",
            f"if [[ $1 == join && ! -e {tmp_path}/once ]]; then touch {tmp_path}/once "
            f"{tmp_path}/etc/kubernetes/bootstrap-kubelet.conf; "
            "echo 'error: could not reach the API'; exit 1; fi\n" + join.split("\n", 3)[3],
        )
        before = node.world.calls.count("GetParameter")
        assert node.run()[0] == 0
        assert node.calls("kubeadm (join|reset)")[1] == "kubeadm reset --force"
        assert len(node.calls("kubeadm join")) == 2
        assert node.world.calls.count("GetParameter") == before + 2
        assert "error: could not reach the API" in node.log()


def test_a_node_that_took_up_a_former_machines_node_joins_again_once_it_is_gone(tmp_path):
    with booting("worker", tmp_path) as node:
        former = f"if ! [[ -e {tmp_path}/reaped ]]; then echo aws:///eu-central-1a/i-former; exit 0; fi"
        kubectl = (tmp_path / "bin/kubectl").read_text().split("\n", 3)[3]
        node.stand_in("kubectl", f"{former}\n{kubectl}")
        kubeadm = (tmp_path / "bin/kubeadm").read_text().split("\n", 3)[3]
        node.stand_in("kubeadm", f"if [[ $1 == reset ]]; then touch {tmp_path}/reaped; fi\n{kubeadm}")
        assert node.run()[0] == 0
        assert [call.split()[1] for call in node.calls("kubeadm (join|reset)")] == ["join", "reset", "join"]
        said = [record["message"] for record in node.records()[1:]]
        assert "waiting: Node worker01 has the provider id 'aws:///eu-central-1a/i-former'" in said


def test_a_node_that_stays_a_former_machines_has_not_joined(tmp_path):
    with booting("worker", tmp_path) as node:
        node.stand_in("kubectl", "echo aws:///eu-central-1a/i-former")
        assert node.run()[0] == 1
        record = node.records()[-1]
        assert (record["phase"], record["step"]) == ("failed", "join")
        assert "not joined after 5 tries" in record["message"]
        assert len(node.calls("kubeadm join")) == 5


def test_a_join_that_is_refused_for_ever_ends_in_kubeadms_own_words(tmp_path):
    with booting("worker", tmp_path) as node:
        refusal = "if [[ $1 == join ]]; then echo '[preflight] ...'; echo 'error: no route'; exit 1; fi"
        kubeadm = (tmp_path / "bin/kubeadm").read_text().split("\n", 3)[3]
        node.stand_in("kubeadm", f"{refusal}\n{kubeadm}")
        assert node.run()[0] == 1
        assert node.records()[-1]["message"] == "not joined after 5 tries: no route"


def test_a_node_that_slept_past_its_certificate_joins_again(tmp_path):
    with booting("worker", tmp_path) as node:
        assert node.run()[0] == 0
        certificate = tmp_path / "var/lib/kubelet/pki/kubelet-client-current.pem"
        certificate.write_bytes(expired_certificate())
        assert node.run()[0] == 0
        assert [call.split()[1] for call in node.calls("kubeadm (join|reset)")] == ["join", "reset", "join"]


def expired_certificate() -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "node")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now - timedelta(days=366))
    signed = builder.not_valid_after(now - timedelta(days=1)).sign(key, hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.PEM)


def test_a_gpu_node_gets_kernel_module_and_user_space_that_fit_and_reboots_once_for_them(tmp_path):
    """An older image's own kernel is not asked about: its module may be gone, or of another driver."""
    with booting("gpu", tmp_path) as node:
        (tmp_path / "driver").unlink()
        assert node.run()[0] == 0
        assert node.calls("systemctl reboot") == ["systemctl reboot"]
        assert (node.records()[-1]["phase"], node.records()[-1]["message"]) == ("running", "rebooting once")
        assert not node.calls("kubeadm join")
        (install,) = node.calls("apt-get .*nvidia-headless")
        assert install.endswith(
            "install --allow-change-held-packages linux-image-aws linux-modules-nvidia-580-server-open-aws "
            "nvidia-headless-no-dkms-580-server-open nvidia-utils-580-server"
        )
        assert node.calls("apt-mark hold linux-aws$"), (
            "held before the reboot; what is not installed cannot be"
        )
        assert node.run()[0] == 0  # the stand-in for reboot brought the driver up
        assert node.records()[-1]["phase"] == "joined"
        (toolkit,) = node.calls("apt-get .*nvidia-container-toolkit")
        assert toolkit.count("=1.20.1-1") == 4


def test_whatever_fits_together_is_held(tmp_path):
    with booting("gpu", tmp_path) as node:
        assert node.run()[0] == 0
        (asked,) = node.calls("dpkg-query")
        for name in (
            "linux-image-aws",
            "linux-modules-nvidia-580-server-open-7.0.0-1009-aws",
            "nvidia-utils-580-server",
            "libnvidia-compute-580-server",
        ):
            assert any(fnmatchcase(name, pattern) for pattern in asked.split()[5:]), name


def test_a_kernel_that_changed_underneath_gets_its_module_and_a_reboot_of_its_own(tmp_path):
    with booting("gpu", tmp_path) as node:
        release = tmp_path / "osrelease"
        for path in (f"{LIB}/bootstrap", f"{LIB}/steps/gpu-driver"):
            node.edit(path, "/proc/sys/kernel/osrelease", str(release))
        for kernel in ("7.0.0-1009-aws", "7.0.0-1010-aws"):
            release.write_text(f"{kernel}\n")
            (tmp_path / "driver").unlink()
            assert node.run()[0] == 0
            assert node.records()[-1]["message"] == "rebooting once"
            assert node.run()[0] == 0
            assert node.records()[-1]["phase"] == "joined"
        assert len(node.calls("systemctl reboot")) == len(node.calls("apt-get .*nvidia-headless")) == 2


def test_a_driver_that_never_answers_fails_before_joining(tmp_path):
    with booting("gpu", tmp_path) as node:
        (tmp_path / "driver").unlink()
        node.stand_in("systemctl", "[[ $1 != cat ]]")
        assert [node.run()[0] for _ in range(3)] == [0, 1, 1]
        assert len(node.calls("systemctl reboot")) == 1
        record = node.records()[-1]
        assert (record["phase"], record["step"], record["attempt"]) == ("failed", "gpu-driver", 3)
        assert "the driver does not answer under kernel" in record["message"]
        assert not node.calls("kubeadm join")
