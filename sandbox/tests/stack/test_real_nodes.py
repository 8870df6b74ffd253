"""A whole stack on real nodes: machines in namespaces that boot by running their own user data.

Where real nodes cannot run, the reason is what the skip says, and `make test-real` says it too.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from urllib.request import urlopen

import psutil
import pytest

from components.incluster.dex import CLIENT_SECRET
from components.incluster.dex_config import CLIENT_ID_VARIABLE, CLIENT_SECRET_VARIABLE, NAMESPACE
from sandbox.aws.statements import statements
from sandbox.nodes.cloudinit import parse
from sandbox.nodes.real.backend import prefix_of
from sandbox.processes import runs
from sandbox.tests.nodes.boot_world import until
from sandbox.tests.program.dex_login import login
from sandbox.tests.program.permission_table import page, unused, used
from sandbox.tests.stack import upkeep
from sandbox.tests.stack.machines import OBSTACLE, Machines
from sandbox.tests.stack.nodes import ADDRESSES, await_ready, nodes
from sandbox.tests.stack.project import QUICK, ROOT, Project
from sandbox.tests.stack.refusals import program_error
from sandbox.tests.tools import cmdline

PROBE = "kubepark.local/probe:1"
SOAK = bool(os.environ.get("KUBEPARK_SOAK"))
UPGRADES = ("apt-daily", "apt-daily-upgrade")
TIMERS = ("hosts",)
MASTER_TIMERS = ("certs", "hosts", "join", "nodes")
UP_SECONDS = 300  # two cores that other tests use as well; `make bench` measures

pytestmark = [
    pytest.mark.sandbox,
    pytest.mark.real,
    pytest.mark.skipif(bool(OBSTACLE), reason=f"real nodes cannot run here: {OBSTACLE}"),
]


@pytest.fixture
def machines(project: Project) -> Machines:
    return Machines(project)


def test_up_ends_in_a_cluster_of_real_nodes_and_a_completed_job(empty: Project) -> None:
    said = empty.ok("up", timeout=UP_SECONDS)
    assert empty.verified in said
    assert "containerd, runc, kube-proxy, CoreDNS, Dex" in said
    assert "package mirrors (programs built from source)" in said
    await_ready(empty, {*ADDRESSES})
    found = nodes(empty)
    for name, node in found.items():
        info = node["status"]["nodeInfo"]
        assert (info["kubeletVersion"], info["containerRuntimeVersion"]) == ("v1.36.4", "containerd://2.3.6")
        assert node["spec"]["providerID"].endswith(empty.instance(name)["InstanceId"])
        addresses = {each["type"]: each["address"] for each in node["status"]["addresses"]}
        assert addresses == {"InternalIP": ADDRESSES[name], "Hostname": name}
    assert [taint["key"] for taint in found["gpu01"]["spec"]["taints"]] == ["nvidia.com/gpu"]
    assert found["gpu01"]["metadata"]["labels"]["accelerator"] == "nvidia-t4"
    gpus = {name: node["status"]["allocatable"].get("nvidia.com/gpu") for name, node in found.items()}
    assert gpus == dict.fromkeys(ADDRESSES) | {"gpu01": "1"}
    empty.ok("preview", "--expect-no-changes")


def test_every_node_says_that_its_own_user_data_brought_it_here(machines: Machines) -> None:
    for name in ADDRESSES:
        record = machines.record(name)
        done = "api-ready" if name == "master1" else "joined"
        assert (record["phase"], record["step"], record["message"]) == (done, "done", "self-check passed")
        instance = machines.project.instance(name)["InstanceId"]
        assert record["instanceId"] == instance
        answer = machines.project.aws("ec2").describe_instance_attribute(
            InstanceId=instance, Attribute="userData"
        )
        data = parse(base64.b64decode(answer["UserData"]["Value"]))
        for path in ("/usr/local/lib/kubepark/bootstrap", "/etc/containerd/config.toml"):
            assert (machines.disk(name) / "upper" / path[1:]).read_bytes() == data.files[path].content


def test_pods_reach_services_by_name_on_other_nodes_and_can_be_looked_into(machines: Machines) -> None:
    project = machines.project
    project.kubectl(
        "run", "probe", f"--image={PROBE}", "--restart=Never", "--command", "--", "/bin/probe", "sleep", "600"
    )
    project.kubectl("wait", "pod/probe", "--for=condition=Ready", "--timeout=60s")
    where = project.get("pod", "probe")["spec"]["nodeName"]
    dns = {
        pod["spec"]["nodeName"]
        for pod in project.get("pods", "-n", "kube-system", "-l", "k8s-app=kube-dns")["items"]
    }
    assert dns - {where}, "a DNS server is on another node"
    said = project.kubectl(
        "exec", "probe", "--", "/bin/probe", "resolve", "dex.auth.svc.cluster.local"
    ).strip()
    assert said == project.get("service", "dex", "-n", "auth")["spec"]["clusterIP"]
    assert ip_address(said)
    issuer = "http://dex.auth.svc.cluster.local:5556/dex"
    page = project.kubectl(
        "exec", "probe", "--", "/bin/probe", "get", f"{issuer}/.well-known/openid-configuration"
    )
    assert json.loads(page)["issuer"] == issuer
    assert 'msg="listening on" server=http address=0.0.0.0:5556' in project.kubectl(
        "logs", "-n", "auth", "-l", "app=dex"
    )
    with project.forwarded("service/dex", 5556, "-n", "auth") as port:
        url = f"http://127.0.0.1:{port}/dex/.well-known/openid-configuration"
        page = urlopen(url, timeout=10).read()
    assert json.loads(page)["issuer"] == issuer
    project.kubectl("delete", "pod", "probe", "--grace-period=1")


def test_people_log_in_at_dex_with_the_password_that_they_have_and_while_they_are_there(
    machines: Machines,
) -> None:
    project = machines.project
    noted = [line.split() for line in (project.state / "passwords.txt").read_text().splitlines()]
    passwords = {person: password for stack, person, password in noted if stack == project.stack}
    assert set(passwords) == {"ana", "bo", "chris"}
    assert logins(project, passwords) == {"ana", "bo", "chris"}
    assert logins(project, dict.fromkeys(passwords, passwords["ana"])) == {"ana"}
    project.ok("people", "suspend", "bo", "--yes", "--no-preview")
    project.ok("people", "passwd", "chris", "--no-preview", given="another password\n")
    project.ok("up", *QUICK)
    assert logins(project, passwords) == {"ana"}
    assert logins(project, dict.fromkeys(passwords, "another password")) == {"chris"}


def logins(project: Project, passwords: Mapping[str, str]) -> set[str]:
    """Whom Dex lets in with these, through its Service."""
    data = project.get("secret", CLIENT_SECRET, "-n", NAMESPACE)["data"]
    client, secret = (
        base64.b64decode(data[each]).decode() for each in (CLIENT_ID_VARIABLE, CLIENT_SECRET_VARIABLE)
    )
    with project.forwarded("service/dex", 5556, "-n", NAMESPACE) as port:
        base = f"http://127.0.0.1:{port}/dex"
        found = {
            each: login(base, (client, secret), f"{each}@example.org", password)
            for each, password in passwords.items()
        }
    assert all(claims["email"] == f"{each}@example.org" for each, claims in found.items() if claims)
    return {each for each, claims in found.items() if claims}


def test_a_pod_with_an_image_of_another_registry_runs(machines: Machines, team_image: str) -> None:
    project = machines.project
    project.kubectl(
        *("run", "other", f"--image={team_image}:1", "--restart=Never", "--command", "--"),
        *("/bin/other", "print", "pulled through"),
    )
    project.kubectl("wait", "pod/other", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=50s")
    assert project.kubectl("logs", "other") == "pulled through\n"
    project.kubectl("delete", "pod", "other", "--grace-period=1")


def why_waiting(project: Project, pod: str) -> str:
    """Why a pod's one container does not run, in the kubelet's words."""
    statuses = project.get("pod", pod)["status"].get("containerStatuses") or [{}]
    waiting = statuses[0].get("state", {}).get("waiting", {})
    return f"{waiting.get('reason')}: {waiting.get('message')}"


@pytest.mark.parametrize(
    ("image", "why"),
    [
        ("127.0.0.1:1/team/other:1", "127.0.0.1:1 does not answer here: "),
        ("{}/team/other:9", "{} answers 404: 9 unknown to registry.test; the sandbox itself has "),
    ],
)
def test_a_pod_with_an_image_of_nobody_says_why_at_once(
    machines: Machines, team_image: str, image: str, why: str
) -> None:
    project, host = machines.project, team_image.partition("/")[0]
    image, why = image.format(host), why.format(host)
    project.kubectl("run", "nobody", f"--image={image}", "--restart=Never")
    until("it is refused", lambda: "ErrImagePull" in why_waiting(project, "nobody"), 20)
    assert f"denied: {image}: {why}" in why_waiting(project, "nobody")
    found = project.get("events", "--field-selector=involvedObject.name=nobody")["items"]
    first = {
        each["reason"]: datetime.fromisoformat(each["firstTimestamp"])
        for each in found[::-1]
        if each["firstTimestamp"]
    }
    assert first["Failed"] - first["Pulling"] <= timedelta(seconds=4)
    project.kubectl("delete", "pod", "nobody", "--grace-period=1")


def test_secrets_are_encrypted_in_etcd_and_the_api_keeps_an_audit_log(machines: Machines) -> None:
    pki = "/etc/kubernetes/pki/etcd"
    credentials = ["--cacert", f"{pki}/ca.crt", "--cert", f"{pki}/server.crt", "--key", f"{pki}/server.key"]
    key = base64.b64encode(b"/registry/secrets/auth/dex-passwords").decode()
    asked = json.dumps({"key": key})
    said = machines.run(
        "master1", "/usr/bin/curl", "-sS", *credentials, "-d", asked, "https://127.0.0.1:2379/v3/kv/range"
    )
    (found,) = json.loads(said.stdout)["kvs"]
    value = base64.b64decode(found["value"])
    assert value.startswith(b"k8s:enc:secretbox:v1:key1:")
    assert b"$2b$" not in value
    log = (machines.disk("master1") / "upper/var/log/kubernetes/audit/audit.log").read_text()
    events = [json.loads(line) for line in log.splitlines()]
    about = [each for each in events if each.get("objectRef", {}).get("name") == "dex-passwords"]
    assert about
    assert {each["level"] for each in about} == {"Metadata"}


def test_dns_is_on_two_nodes_and_no_node_is_short_of_time_to_end_or_upgrades_by_itself(
    machines: Machines,
) -> None:
    pods = machines.project.get("pods", "-n", "kube-system", "-l", "k8s-app=kube-dns")["items"]
    assert len({pod["spec"]["nodeName"] for pod in pods if pod["status"]["phase"] == "Running"}) == 2
    for node in ADDRESSES:
        for name in UPGRADES:  # they are there, and run at the first boot if nobody stops them
            assert upkeep.said(machines, node, "ls", f"/usr/lib/systemd/system/{name}.timer")
        assert upkeep.shutdown_delay(machines, node) == "t 45000000"
        for unit in (f"{name}.{kind}" for name in UPGRADES for kind in ("service", "timer")):
            assert machines.run(node, "systemctl", "is-enabled", unit).stdout == "masked\n", (node, unit)
        assert upkeep.said(machines, node, "systemctl", "is-system-running") == "running"
        timers = upkeep.said(machines, node, "systemctl", "list-timers", "--plain", "--no-legend", "--all")
        listed = {word for word in timers.split() if word.startswith("kubepark-") and word.endswith(".timer")}
        assert listed == {
            f"kubepark-{name}.timer" for name in (MASTER_TIMERS if node == "master1" else TIMERS)
        }


def test_certificates_are_renewed_when_they_must_be_one_pod_after_the_other(machines: Machines) -> None:
    before = upkeep.static_pods(machines)
    assert before.keys() == set(upkeep.PODS)
    early = upkeep.renew(machines, days=60)
    assert "the first certificate runs out in 364 days" in early.journal
    assert {name: each["containerID"] for name, each in early.pods.items()} == {
        name: each["containerID"] for name, each in before.items()
    }
    due = upkeep.renew(machines, days=366)
    assert "Done renewing certificates" in due.journal
    started = [due.pods[name]["state"]["running"]["startedAt"] for name in upkeep.PODS]
    assert started == sorted(set(started)), "one after the other"
    assert started[0] > max(each["state"]["running"]["startedAt"] for each in before.values())
    assert early.away < 5, "nothing was restarted"
    assert due.away < 30
    await_ready(machines.project, {*ADDRESSES})


def test_a_kernel_that_changed_underneath_gets_its_module(machines: Machines) -> None:
    upkeep.reboot_into(machines, "gpu01", "99.0.0-1012-aws")
    assert "Tesla T4" in upkeep.said(machines, "gpu01", "nvidia-smi", "-L")
    installed = upkeep.said(machines, "gpu01", "dpkg-query", "-W", "-f", "${db:Status-Status} ${Package}\n")
    names = [line.split()[1] for line in installed.splitlines() if line.startswith("installed ")]
    kernel = {
        name
        for name in names
        if name.startswith(("linux-image-aws", "linux-modules-nvidia-", "nvidia-", "libnvidia-"))
    }
    assert {
        "linux-image-aws",
        "linux-modules-nvidia-580-server-open-aws",
        "nvidia-utils-580-server",
    } <= kernel
    assert kernel <= set(upkeep.said(machines, "gpu01", "apt-mark", "showhold").split())
    until("Ready again", lambda: machines.is_ready("gpu01"), 60)


KP_AWS = "/usr/local/lib/kubepark/kp-aws"


@pytest.mark.parametrize(
    ("words", "action", "resource"),
    [
        (
            ("get-parameter", "/kubepark-sandbox/kubeconfig"),
            "ssm:GetParameter",
            "/kubepark-sandbox/kubeconfig",
        ),
        (("get-parameter", "/other/join"), "ssm:GetParameter", "/other/join"),
        (("put-parameter", "/kubepark-sandbox/join"), "ssm:PutParameter", "/kubepark-sandbox/join"),
        (
            ("put-parameter", "/kubepark-sandbox/status/worker02"),
            "ssm:PutParameter",
            "/kubepark-sandbox/status/worker02",
        ),
    ],
)
def test_a_worker_may_do_no_more_than_its_role_says(
    machines: Machines, words: tuple[str, ...], action: str, resource: str
) -> None:
    done = machines.run("worker01", KP_AWS, *words, stdin="planted-value")
    role, instance = "kubepark-sandbox-worker01", machines.project.instance("worker01")["InstanceId"]
    assert done.returncode == 1
    assert (
        f"User: arn:aws:sts::123456789012:assumed-role/{role}/{instance} is not authorized to perform: {action} "
        f"on resource: arn:aws:ssm:us-east-1:123456789012:parameter{resource} because no identity-based policy "
        f"allows the {action} action" in done.stderr
    )


# It takes ten of the twenty seconds that it asks for, and ends well when it is told to.
PATIENT = {
    "spec": {
        "nodeName": "gpu01",
        "terminationGracePeriodSeconds": 20,
        "containers": [
            {
                "name": "patient",
                "image": PROBE,
                "command": ["/bin/probe", "sleep"],
                "lifecycle": {"preStop": {"sleep": {"seconds": 10}}},
            }
        ],
        "tolerations": [{"operator": "Exists"}],
    }
}


def test_a_machine_that_is_stopped_and_started_is_the_same_node(machines: Machines) -> None:
    """A stop lets pods end by themselves, and their machine."""
    project = machines.project
    uid, boot = nodes(project)["gpu01"]["metadata"]["uid"], machines.record("gpu01")["bootId"]
    instance = project.instance("gpu01")["InstanceId"]
    project.kubectl(
        "run", "patient", f"--image={PROBE}", "--restart=Never", f"--overrides={json.dumps(PATIENT)}"
    )
    project.kubectl("wait", "pod/patient", "--for=condition=Ready", "--timeout=60s")
    init, pressed = machines.init("gpu01"), datetime.now(UTC)
    project.aws("ec2").stop_instances(InstanceIds=[instance])
    until("the machine is off", lambda: not runs(init), 90)
    until("its node is not Ready", lambda: not machines.is_ready("gpu01"), 60)
    ended = project.get("pod", "patient")["status"]["containerStatuses"][0]["state"]["terminated"]
    assert ended["exitCode"] == 0
    assert datetime.fromisoformat(ended["finishedAt"]) - pressed >= timedelta(seconds=9)
    assert "the plug is pulled" not in (project.state / "logs" / "boot.log").read_text()
    project.aws("ec2").start_instances(InstanceIds=[instance])
    until(
        "it has booted",
        lambda: machines.record("gpu01")["phase"] == "joined" and machines.record("gpu01")["bootId"] != boot,
        90,
    )
    until("Ready again", lambda: machines.is_ready("gpu01"), 60)
    node = nodes(project)["gpu01"]
    assert node["metadata"]["uid"] == uid
    until(
        "GPU allocatable",
        lambda: nodes(project)["gpu01"]["status"]["allocatable"].get("nvidia.com/gpu") == "1",
        60,
    )


@pytest.mark.parametrize("node", ["worker01", "master1"])
def test_a_machine_that_reboots_is_ready_again(machines: Machines, node: str) -> None:
    """A worker, and the master without which nobody is Ready; of the GPU node another test shows it."""
    boot = machines.record(node)["bootId"]
    machines.systemctl(node, "reboot")
    until(
        f"{node} is back",
        lambda: machines.record(node)["bootId"] != boot and machines.record(node)["step"] == "done",
        120,
    )
    await_ready(machines.project, {*ADDRESSES})


def test_every_permission_of_every_role_is_used_but_session_managers(machines: Machines) -> None:
    """Session Manager's agent is what operators reach a node with; its service is not emulated here."""
    machines.systemctl("master1", "start", "kubepark-nodes.service")  # its timer's first turn may be to come
    iam = machines.project.aws("iam")
    roles = {f"kubepark-sandbox-{node}" for node in ADDRESSES}
    policies = {
        role: statements("node", iam.get_role_policy(RoleName=role, PolicyName="node")["PolicyDocument"])
        for role in roles
    }
    log = (machines.project.state / "logs" / "calls.jsonl").read_text()
    lines = [line for line in log.splitlines() if json.loads(line)["role"] in roles]
    assert {row.role for row in used(lines)} == roles
    assert {(row.role, row.statement) for row in unused(policies, lines)} == {
        (role, "SessionManager") for role in roles
    }
    table, golden = page(used(lines), unused(policies, lines)), ROOT / "docs" / "permissions.md"
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text(table, encoding="utf-8")
    assert table == golden.read_text(encoding="utf-8"), "refresh with UPDATE_GOLDEN=1 and read the difference"


def test_no_secret_is_in_what_a_machine_keeps_or_says(machines: Machines) -> None:
    """Join token, etcd's key: not on the console, in a journal, a log, a record, an argument or user data."""
    ssm = machines.project.aws("ssm")
    found = {
        name: ssm.get_parameter(Name=f"/kubepark-sandbox/{name}", WithDecryption=True)["Parameter"]["Value"]
        for name in ("join", "encryption-key")
    }
    secrets = [json.loads(found["join"])["token"].encode(), found["encryption-key"].encode()]
    places: dict[str, bytes] = {}
    for node in ADDRESSES:
        disk = machines.disk(node)
        logs = [path for path in (disk / "upper/var/log").rglob("*") if path.is_file()]
        for path in (disk / "console.log", *logs, *(disk / "upper/etc/kubepark").rglob("*")):
            if path.is_file():
                places[str(path)] = path.read_bytes()
        places[f"journal of {node}"] = upkeep.said(machines, node, "journalctl", "--output=export").encode()
        places[f"record of {node}"] = json.dumps(machines.record(node)).encode()
    for path in (machines.project.state / "logs").glob("*"):
        if path.name != "requests.jsonl":  # the nodes' own PutParameter bodies are in there
            places[str(path)] = path.read_bytes()
    for process in psutil.process_iter():
        places[f"arguments of {process.pid}"] = " ".join(cmdline(process)).encode()
    assert any(b"kubeadm join" in text or b"[join]" in text for text in places.values())
    leaks = [place for place, text in places.items() if any(secret in text for secret in secrets)]
    assert leaks == []


JOIN = "/kubepark-sandbox/join"
# What is wrong with the record, minutes until the node says so for sure (kubeadm looks for two minutes for
# a server that the hash fits), and its words.
REFUSALS = [
    ({"generation": 0}, 1, "join record is of master generation 0, older than 1"),
    ({"expiresAt": "2026-01-01T00:00:00Z"}, 1, "join record expires too soon: 2026-01-01T00:00:00Z"),
    ({"caCertHashes": ["sha256:" + 64 * "0"]}, 4, "none of the public keys"),
]


def test_join_records_that_must_not_be_used_are_refused_in_the_nodes_own_words(machines: Machines) -> None:
    """In the error of `up`, which ends at its deadline; once the record is right, plain `up` succeeds."""
    project = machines.project
    ssm = project.aws("ssm")
    # It would put a right record in place, two minutes after the master's boot and every six hours.
    machines.systemctl("master1", "stop", "kubepark-join.timer")
    right = ssm.get_parameter(Name=JOIN, WithDecryption=True)["Parameter"]["Value"]

    def put(value: str) -> None:
        ssm.put_parameter(
            Name=JOIN,
            Value=value,
            Type="SecureString",
            KeyId="alias/kubepark/kubepark-sandbox",
            Overwrite=True,
        )

    project.set("kubepark:workers.nodes", {f"worker{number:02d}": {} for number in (1, 2, 3, 4)})
    before = {name: project.instance(name)["InstanceId"] for name in ADDRESSES}
    for change, minutes, words in REFUSALS if SOAK else REFUSALS[:1]:
        project.set("kubepark:controlPlane.waitMinutes", minutes)
        put(json.dumps({**json.loads(right), **change}))
        done = project.run("up", *QUICK, timeout=UP_SECONDS)
        assert done.returncode == 1, done.stdout
        _, told, _ = program_error(done.stdout)
        assert told.startswith("- worker04: ")
        assert words in told
        assert "worker04" not in nodes(project)
    put(right)
    project.set("kubepark:controlPlane.waitMinutes", 5)
    project.ok("up", *QUICK)
    assert {name: project.instance(name)["InstanceId"] for name in ADDRESSES} == before
    until("worker04 is Ready", lambda: machines.is_ready("worker04"), 60)
    machines.systemctl("master1", "start", "kubepark-join.timer")


def test_nothing_is_left_after_down(deployed: Project) -> None:
    project = deployed
    prefix = prefix_of(project.state)
    assert list(Path("/run/netns").glob(f"{prefix}-*")), "what is looked for must be found while it is there"
    assert list(Path("/sys/fs/cgroup").glob(f"**/kubepark/{prefix}"))
    project.ok("down", timeout=UP_SECONDS)
    assert list(Path("/run/netns").glob(f"{prefix}-*")) == []
    assert list(Path("/sys/fs/cgroup").glob(f"**/kubepark/{prefix}")) == []
    assert str(project.state) not in Path("/proc/self/mountinfo").read_text()
    marker = str(project.state)
    assert [p.pid for p in psutil.process_iter() if marker in " ".join(cmdline(p))] == []
    assert not (project.state / "machines").exists()
