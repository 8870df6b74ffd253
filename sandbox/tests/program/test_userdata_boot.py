"""The node's own scripts, run to the end in a folder: records, failures, retries, second runs."""

from __future__ import annotations

import json
import random
import re
import secrets
import time
from pathlib import Path

import pytest

from sandbox.tests.program.node_root import LIB, booting
from tests.userdata_sample import ROLES, ROLES_OF_FAULTS, files, plan

TOKEN = re.compile(r"\b[a-z0-9]{6}\.[a-z0-9]{16}\b")
FIELDS = {
    "schema",
    "instanceId",
    "node",
    "generation",
    "bootId",
    "attempt",
    "since",
    "phase",
    "step",
    "rc",
    "message",
    "at",
}


def steps(role: str) -> list[str]:
    return [line.split()[0] for line in files(role)["/etc/kubepark/steps"].splitlines()[1:]]


@pytest.mark.parametrize("role", ROLES)
def test_a_node_boots_says_so_and_changes_nothing_the_second_time(role, tmp_path):
    with booting(role, tmp_path) as node:
        code, said = node.run()
        assert code == 0, said
        first, *records = node.records()
        assert first == {"schema": 1, "phase": "pending"}
        assert [(record["phase"], record["step"]) for record in records] == [
            ("running", "start"),
            *(("running", step) for step in steps(role)),
            ("api-ready" if role == "master" else "joined", "done"),
        ]
        last = records[-1]
        assert set(last) == FIELDS
        assert (last["instanceId"], last["node"]) == (node.world.values["instance-id"], plan(role).name)
        assert (last["generation"], last["attempt"], last["rc"]) == (1, 1, 0)
        assert last["message"] == "self-check passed"
        assert last["bootId"] == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        assert (
            abs(time.mktime(time.strptime(last["at"], "%Y-%m-%dT%H:%M:%SZ")) - time.timezone - time.time())
            < 60
        )
        assert node.world.unsigned == []

        before, calls = node.snapshot(), len(node.calls())
        code, said = node.run()
        assert code == 0, said
        assert node.snapshot() == before
        repeated = [call for call in node.calls()[calls:] if not call.startswith("systemctl cat")]
        assert not [
            call
            for call in repeated
            if re.match("apt-get|modprobe -a|hostnamectl|kubeadm (init|join|reset)", call)
        ]
        again = [(record["step"], record["attempt"]) for record in node.records()[len(records) + 1 :]]
        once = {
            line.split()[0] for line in files(role)["/etc/kubepark/steps"].splitlines() if " once" in line
        }
        assert again == [("start", 2), *((step, 2) for step in steps(role) if step not in once), ("done", 2)]


def test_what_a_worker_looks_like_afterwards(tmp_path):
    with booting("worker", tmp_path) as node:
        assert node.run()[0] == 0
        hosts = node.path("/etc/hosts").read_text()
        assert hosts.startswith("127.0.0.1 localhost\n")
        assert "\n#::1 ip6-localhost" in hosts
        assert "\nff02::1 " in hosts
        assert "\n10.20.0.10 master1 api.sample.internal\n" in hosts
        assert node.path("/etc/fstab").read_text().splitlines()[1] == "#/swapfile none swap sw 0 0"
        assert node.calls("hostnamectl") == ["hostnamectl set-hostname worker01"]
        assert "preserve_hostname: true\n" in node.path("/etc/cloud/cloud.cfg.d/99-kubepark.cfg").read_text()
        (install,) = node.calls("apt-get -y .* install .*kubelet")
        for package in (
            "containerd.io=2.3.6-1~ubuntu.24.04~noble",
            *(f"kube{x}=1.36.4-1.1" for x in ("let", "adm", "ctl")),
        ):
            assert f" {package}" in install
        source = node.path("/etc/apt/sources.list.d/kubernetes.list").read_text()
        assert source.endswith("kubernetes.asc] https://pkgs.k8s.io/core:/stable:/v1.36/deb/ /\n")
        used = (tmp_path / "joined.yaml").read_text()
        record = json.loads(node.world.parameter("/sample/join"))
        assert record["token"] in used
        assert record["caCertHashes"][0] in used
        assert "value: '10.20.0.11'" in used or "value: 10.20.0.11" in used
        assert "@" not in used
        assert not list((tmp_path / "run").glob("*.yaml")), "the token stays on no disk"


@pytest.mark.parametrize("role", ROLES_OF_FAULTS)
def test_each_step_failing_once_is_named_and_then_done(role, tmp_path, record_property):
    """Every step fails at its first try: one attempt each, and nothing done is done again."""
    record_property(f"faults: {role}'s script, a step fails once and is retried to success", len(steps(role)))
    with booting(role, tmp_path) as node:
        for step in steps(role):
            node.edit(
                f"{LIB}/steps/{step}",
                "\n",
                f"\nif ! [[ -e {tmp_path}/tried-{step} ]]; then touch {tmp_path}/tried-{step}; "
                f"echo broken: {step}; exit 9; fi\n",
                count=1,
            )
        for attempt, step in enumerate(steps(role), start=1):
            assert node.run()[0] == 1
            record = node.records()[-1]
            assert (record["phase"], record["step"], record["rc"]) == ("failed", step, 9)
            assert record["message"] == f"broken: {step}"
            assert record["attempt"] == attempt
        assert node.run()[0] == 0
        assert node.records()[-1]["phase"] == ("api-ready" if role == "master" else "joined")
        assert len(node.calls("kubeadm (init|join) --config")) == 1
        assert len(node.calls("hostnamectl")) == 1


def test_nothing_upgrades_in_the_background(tmp_path):
    """A service that its timer has started already is ended, and nothing can start it again."""
    with booting("worker", tmp_path) as node:
        node.stand_in("systemctl", ":")
        assert node.run()[0] == 0
        for unit in ("apt-daily", "apt-daily-upgrade"):
            for kind in ("timer", "service"):
                assert f"systemctl mask --now {unit}.{kind}" in node.calls()
        assert "systemctl mask --now unattended-upgrades.service" in node.calls()


def test_a_failure_carries_the_commands_own_words(tmp_path):
    with booting("worker", tmp_path) as node:
        node.stand_in("apt-get", "echo 'E: Unable to locate package kubelet' >&2; exit 100")
        assert node.run()[0] == 1
        record = node.records()[-1]
        assert (record["phase"], record["step"]) == ("failed", "packages")
        assert "E: Unable to locate package kubelet" in record["message"]
        assert "gave up after 5 tries: apt_get " in record["message"]
        assert re.search(r"lib.sh|packages", record["message"])
        assert len(node.calls("apt-get")) == 5
        assert "E: Unable to locate package kubelet" in node.log()


def test_what_aws_refuses_is_told_by_its_exit_code(tmp_path):
    """Also where the step itself only knows that it failed."""
    with booting("worker", tmp_path) as node:
        refused = 'echo "kp-aws: GetParametersByPath: {\\"__type\\":\\"AccessDeniedException\\"}"; exit 1'
        node.edit(f"{LIB}/steps/hosts", "\n", f"\n{refused}\n", count=1)
        assert node.run()[0] == 1
        record = node.records()[-1]
        assert (record["step"], record["rc"]) == ("hosts", 77)
        assert "AccessDeniedException" in record["message"]


@pytest.mark.parametrize(
    ("file", "text", "words"),
    [
        ("etc/os-release", 'PRETTY_NAME="Debian 12"\nVERSION_CODENAME=bookworm\n', "not Ubuntu noble"),
        ("bin/stat", "#!/bin/bash\necho tmpfs\n", "this image has cgroup v1"),
    ],
)
def test_a_machine_of_another_platform_cannot_heal(file, text, words, tmp_path):
    with booting("worker", tmp_path) as node:
        (tmp_path / file).write_text(text)
        assert node.run()[0] == 1
        record = node.records()[-1]
        assert (record["step"], record["rc"]) == ("kernel", 78)
        assert words in record["message"]


def test_a_cause_takes_the_place_of_what_was_said_before_it(tmp_path):
    with booting("worker", tmp_path) as node:
        said = "for n in {1..9}; do echo noise $n; done; echo cause: no route to 10.20.0.10; exit 4"
        node.edit(f"{LIB}/steps/containerd", "\n", f"\n{said}\n", count=1)
        assert node.run()[0] == 1
        assert node.records()[-1]["message"] == "no route to 10.20.0.10"
        assert "noise 9" in node.log(), "on the node all of it is kept"


def test_a_mirror_that_fails_twice_does_no_harm(tmp_path):
    with booting("worker", tmp_path) as node:
        node.stand_in("apt-get", f"echo >>{tmp_path}/n; (($(wc -l <{tmp_path}/n) > 2))")
        assert node.run()[0] == 0
        assert not [record for record in node.records() if record["phase"] == "failed"]


def test_a_step_that_hangs_is_stopped_with_all_its_children(tmp_path):
    with booting("worker", tmp_path) as node:
        node.edit("/etc/kubepark/steps", "packages 1800", "packages 1")
        mark = secrets.token_hex(8)
        node.stand_in("apt-get", f"echo fetching; exec -a {mark} /bin/sleep 300")
        began = time.monotonic()
        assert node.run()[0] == 1
        assert time.monotonic() - began < 30
        record = node.records()[-1]
        assert (record["phase"], record["step"]) == ("failed", "packages")
        assert record["message"].endswith("fetching\nstopped after its deadline of 1 s")
        lines = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
        assert not [line for line in lines if mark.encode() in line]


def test_secrets_are_masked_in_log_record_and_output(tmp_path):
    with booting("worker", tmp_path) as node:
        token = f"{secrets.token_hex(3)}.{secrets.token_hex(8)}"
        access = "ASIA" + secrets.token_hex(8).upper()
        key = "Aa" + secrets.token_hex(21) + "="
        node.put(f"{LIB}/steps/hostname", f"#!/bin/bash\necho token {token}, {access}; echo {key}\nexit 3\n")
        code, said = node.run()
        assert code == 1
        for secret in (token, access, key):
            assert secret not in said + node.log() + json.dumps(node.records())
        assert node.records()[-1]["message"] == "token [masked], [masked]\n[masked]"


def test_hashes_versions_and_paths_are_not_masked(tmp_path):
    plain = f"sha256:{secrets.token_hex(32)} containerd.io=2.3.6-1~ubuntu.24.04~noble "
    plain += "/srv/local/lib/kubepark/steps/containerd"
    with booting("worker", tmp_path) as node:
        node.put(f"{LIB}/steps/hostname", f"#!/bin/bash\necho {plain}\nexit 3\n")
        node.run()
        assert node.records()[-1]["message"] == plain


def test_a_long_failure_keeps_its_end_within_what_a_parameter_holds(tmp_path):
    with booting("worker", tmp_path) as node:
        line = 'printf "%0300d \\xe2\\x82\\xac {{ \\"\\\\\\n" $i'
        body = f"for i in {{1..500}}; do {line}; done; echo the end; exit 4"
        node.put(f"{LIB}/steps/hostname", f"#!/bin/bash\n{body}\n")
        assert node.run()[0] == 1
        text = node.world.parameter("/sample/status/worker01")
        assert len(text) <= 4000
        assert len(text) > 3500
        assert "{{" not in text, "Parameter Store refuses it"
        assert json.loads(text)["message"].endswith("the end")


def test_records_that_cannot_be_delivered_do_not_stop_the_node(tmp_path):
    with booting("worker", tmp_path) as node:
        node.edit("/etc/kubepark/node.json", "/sample/status/worker01", "/aws/status")
        code, _ = node.run()
        assert code == 1, "the unit tries again, since nobody knows that the node is done"
        assert "AccessDeniedException" in node.log()
        assert "joined: done" in node.log()


@pytest.mark.parametrize("role", ["master", "worker"])
def test_a_node_whose_power_is_cut_ends_joined_once(role, tmp_path, record_property):
    record_property(f"faults: {role}'s script, all its processes killed", 10)
    pick = random.Random(role)
    with booting(role, tmp_path) as node:
        for _ in range(10):
            with node.running():
                time.sleep(pick.uniform(0.1, 1.5))
        code, said = node.run()
        assert code == 0, said
        assert node.records()[-1]["phase"] == ("api-ready" if role == "master" else "joined")
        if role == "master":
            (key,) = re.findall(
                "secret: (.+)}]", node.path("/etc/kubernetes/enc/encryption.yaml").read_text()
            )
            assert node.world.parameter("/sample/encryption-key") == key


@pytest.mark.parametrize("dpkg", ["touch {}/whole", "touch {}/whole; exit 2"])
def test_what_a_power_cut_left_of_dpkg_is_ended_before_apt_is_asked(dpkg, tmp_path):
    """Also where dpkg says no, because somebody else holds its lock."""
    with booting("worker", tmp_path) as node:
        node.stand_in("dpkg", dpkg.format(tmp_path))
        node.stand_in(
            "apt-get", f"test -e {tmp_path}/whole || (echo 'E: dpkg was interrupted' >&2; exit 100)"
        )
        assert node.run()[0] == 0


def test_only_one_bootstrap_runs_at_a_time(tmp_path):
    with booting("worker", tmp_path) as node:
        with node.running() as first, node.running() as second:
            assert [process.wait(60) for process in (first, second)] == [0, 0]
            first.communicate()
            second.communicate()
        attempts = [record["attempt"] for record in node.records()[1:]]
        assert attempts == sorted(attempts)
        assert len(node.calls("kubeadm join")) == 1


def test_a_changed_input_repeats_its_step_and_no_other(tmp_path):
    with booting("worker", tmp_path) as node:
        assert node.run()[0] == 0
        node.edit("/etc/containerd/config.toml", "pause:3.10.2", "pause:3.10.3")
        calls = len(node.calls())
        assert node.run()[0] == 0
        after = node.calls()[calls:]
        assert "systemctl restart containerd.service" in after
        assert not [call for call in after if call.startswith(("apt", "hostnamectl"))]


def test_no_token_or_key_is_ever_an_argument(tmp_path):
    with booting("master", tmp_path) as node:
        assert node.run()[0] == 0
        calls = "\n".join(node.calls())
        token = json.loads(node.world.parameter("/sample/join"))["token"]
        assert TOKEN.fullmatch(token)
        for secret in (token, node.world.parameter("/sample/encryption-key")):
            assert secret not in calls + node.log() + json.dumps(node.records())


def test_a_shutdown_gives_pods_their_time_whatever_ubuntu_and_the_kubelet_say(tmp_path):
    """A file of the kubelet's comes before Ubuntu's, which has less; ours takes Ubuntu's name."""
    with booting("worker", tmp_path) as node:
        folder = node.path("/etc/systemd/logind.conf.d")
        (folder / "99-kubelet.conf").write_text("[Login]\nInhibitDelayMaxSec=40\n")
        assert node.run()[0] == 0
        (folder / "zz-of-somebody.conf").write_text("[Login]\nInhibitDelayMaxSec=30\n")
        assert node.run()[0] == 1
        assert node.records()[-1]["message"] == "not so: pods get 45 s to end before the machine does"


def test_a_failing_self_check_names_each_finding(tmp_path):
    with booting("worker", tmp_path) as node:
        node.stand_in("swapon", "echo /swapfile")
        node.stand_in("kubelet", "echo Kubernetes v1.35.0")
        assert node.run()[0] == 1
        record = node.records()[-1]
        assert (record["phase"], record["step"]) == ("failed", "verify")
        assert record["message"].splitlines() == [
            "not so: swap is off",
            "not so: the kubelet has version 1.36.4",
        ]
