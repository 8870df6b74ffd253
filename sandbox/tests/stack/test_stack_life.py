"""One sandbox stack from an empty emulator to nothing left, as a person would drive it."""

from __future__ import annotations

import json
import re
import time

import psutil
import pytest

from sandbox.summary import REAL
from sandbox.tests.nodes.boot_world import until
from sandbox.tests.program.operator_calls import judge, operators
from sandbox.tests.stack.account import live
from sandbox.tests.stack.machines import Machines
from sandbox.tests.stack.nodes import ADDRESSES, await_ready, nodes
from sandbox.tests.stack.project import QUICK, Project
from sandbox.tests.stack.refusals import problems, refused, resources
from sandbox.tests.tools import cmdline, kill

pytestmark = pytest.mark.sandbox

OPERATORS = "203.0.113.7/32"
API_RULE = "security-api-from-203.0.113.7-32"


def test_up_makes_what_the_preview_of_nothing_showed_and_says_what_is_there(empty: Project) -> None:
    document = empty.json_of("preview", "--json")
    assert {step["op"] for step in document["steps"]} == {"create"}
    (empty.root / "preview.json").write_text(json.dumps(document), encoding="utf-8")
    changed = empty.json_of("price", "--json", "--preview", str(empty.root / "preview.json"))
    price = empty.json_of("price", "--json")["usd"]["month"]["all"]["running"]
    assert (changed["usdMonthly"], changed["unknown"]) == (price, [])
    said = empty.ok("up", "--skip-preview", timeout=400)
    # The engine's own provider, which reads the stack's last outputs, is in the state and in no preview.
    assert {item["urn"] for item in empty.resources()} ^ {step["urn"] for step in document["steps"]} == {
        "urn:pulumi:sandbox::kubepark::pulumi:providers:pulumi::default"
    }
    assert {node: empty.instance(node)["State"]["Name"] for node in ADDRESSES} == dict.fromkeys(
        ADDRESSES, "running"
    )
    for words in (empty.verified, "ana@example.org", "kubeconfig", REAL[empty.nodes], "Stand-ins"):
        assert words in said
    assert "from $PATH" not in said, "language host and providers lie where the CLI looks by itself"
    (warning,) = set(re.findall(r"^ *warning: (.*)$", said, re.MULTILINE))
    assert warning.startswith("resource plugin kubernetes is expected to have version ")


def test_nodes_are_as_planned(project: Project) -> None:
    # A heartbeat that is late on a busy machine makes a node Unknown until the next one.
    await_ready(project, set(ADDRESSES))
    found = nodes(project)
    assert set(found) == set(ADDRESSES)
    for name, node in found.items():
        addresses = {a["type"]: a["address"] for a in node["status"]["addresses"]}
        assert addresses["InternalIP"] == ADDRESSES[name]
        instance = project.instance(name)
        assert node["spec"]["providerID"] == f"aws:///us-east-1a/{instance['InstanceId']}"
        assert node["metadata"]["labels"]["node.kubernetes.io/instance-type"] == instance["InstanceType"]
        assert node["metadata"]["labels"]["topology.kubernetes.io/zone"] == "us-east-1a"
    tainted = {
        "master1": ["node-role.kubernetes.io/control-plane"],
        "worker01": [],
        "worker02": [],
        "worker03": [],
        "gpu01": ["nvidia.com/gpu"],
    }
    # That of a node which is not ready goes a moment after it is.
    until("no other taints are there", lambda: taints(project) == tainted, 20)
    assert found["gpu01"]["metadata"]["labels"]["accelerator"] == "nvidia-t4"
    allocatable = {name: node["status"]["allocatable"].get("nvidia.com/gpu") for name, node in found.items()}
    assert allocatable == dict.fromkeys(ADDRESSES) | {"gpu01": "1"}


def taints(project: Project) -> dict[str, list[str]]:
    return {
        name: [taint["key"] for taint in node["spec"].get("taints", [])]
        for name, node in nodes(project).items()
    }


def test_create_only_settings_and_another_account_are_refused_and_change_nothing(project: Project) -> None:
    state = resources(project)
    found = problems(project, network__vpcCidr="10.30.0.0/16", network__podCidr="172.16.0.0/16")
    assert [line.partition("; accepted: ")[0] for line in found] == [
        "kubepark:network.vpcCidr: was 10.20.0.0/16 when the cluster was made, now 10.30.0.0/16",
        "kubepark:network.podCidr: was 192.168.0.0/16 when the cluster was made, now 172.16.0.0/16",
    ]
    assert [line.rpartition(" ")[2] for line in found] == ["10.20.0.0/16", "192.168.0.0/16"], "the fixes"
    with project.changed("kubepark:aws.accountId", "999999999999"):
        _, line = refused(project)
    assert line.endswith("AWS account ID not allowed: 123456789012")
    assert resources(project) == state


def test_a_refused_preview_registers_nothing_but_the_stack(project: Project) -> None:
    with project.changed("kubepark:network.vpcCidr", "10.30.0.0/16"):
        done = project.run("preview", "--json")
    assert done.returncode == 1
    assert "Traceback" not in done.stdout
    document = json.loads(done.stdout)
    (said,) = [each["message"] for each in document["diagnostics"] if each["severity"] == "error"]
    assert "the configuration of stack sandbox has 1 problem" in said
    assert [step["urn"].split("::")[2] for step in document["steps"]] == ["pulumi:pulumi:Stack"]


def test_once_more_nothing_changes_by_our_command_nor_by_plain_pulumi(project: Project) -> None:
    """Not even the values that nodes wrote drift: the program ignores changes of those."""
    project.ok("preview", "--expect-no-changes")
    assert project.drift() == {}
    assert project.ok("drift", "--in-cluster").startswith("sandbox: no drift\ncompared: ")
    project.pulumi("preview", "--expect-no-changes", "--policy-pack", "policies")
    project.pulumi("up", "--yes", "--skip-preview", "--expect-no-changes")


def test_a_refresh_shows_exactly_what_was_changed_by_hand(project: Project) -> None:
    ec2 = project.aws("ec2")
    worker = project.instance("worker02")["InstanceId"]
    ec2.create_tags(Resources=[worker], Tags=[{"Key": "Name", "Value": "renamed"}])
    resized = project.instance("worker03")["InstanceId"]
    ec2.stop_instances(InstanceIds=[resized])
    ec2.modify_instance_attribute(InstanceId=resized, InstanceType={"Value": "m7i.2xlarge"})
    ec2.start_instances(InstanceIds=[resized])
    rules = ec2.describe_security_group_rules()["SecurityGroupRules"]
    (etcd,) = [rule for rule in rules if not rule["IsEgress"] and rule["FromPort"] == 2379]
    ec2.revoke_security_group_ingress(
        GroupId=etcd["GroupId"], SecurityGroupRuleIds=[etcd["SecurityGroupRuleId"]]
    )
    anyone = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
    ec2.authorize_security_group_ingress(GroupId=project.group("nodes"), IpPermissions=[anyone])
    (api,) = [rule for rule in rules if rule.get("CidrIpv4") == OPERATORS]
    opened = {name: api[name] for name in ("IpProtocol", "FromPort", "ToPort", "Description")}
    change = {"SecurityGroupRuleId": api["SecurityGroupRuleId"]}
    change["SecurityGroupRule"] = opened | {"CidrIpv4": "0.0.0.0/0"}
    ec2.modify_security_group_rules(GroupId=api["GroupId"], SecurityGroupRules=[change])
    config = project.get("configmap", "dex", "-n", "auth")["data"]["config.yaml"]
    patch = json.dumps({"data": {"config.yaml": config + "# by hand\n"}})
    project.kubectl("patch", "configmap", "dex", "-n", "auth", "--type", "merge", "-p", patch)
    assert project.drift() == {
        "worker02": ["tags.Name", "tagsAll.Name"],
        "worker03": ["instanceType"],
        "security-etcd": ["gone"],
        API_RULE: ["cidrIpv4"],
        "security-control-plane-only": ["ingressRuleIds"],
        "security-nodes-only": ["ingressRuleIds"],
        "configmap-auth-dex": ['data["config.yaml"]'],
    }
    says_what_drifted(project)
    project.ok("refresh", "--yes")
    project.ok("up", *QUICK)  # takes the state back to the program's
    assert project.drift() == {}
    assert project.instance("worker03")["InstanceType"] == "m7i.xlarge"
    rules = ec2.describe_security_group_rules()["SecurityGroupRules"]
    assert not [rule for rule in rules if rule.get("FromPort") == 22], "the added rule is revoked"
    assert [rule["CidrIpv4"] for rule in rules if rule["FromPort"] == 6443 and "CidrIpv4" in rule] == [
        OPERATORS
    ]


def says_what_drifted(project: Project) -> None:
    """By `kubepark drift`: of AWS without the key of the stack's secrets, of the cluster where one asks for it."""
    state = project.checkpoint_file.read_bytes()
    key = project.state / "passphrase"
    with project.edited(key, "another"):
        assert project.run("refresh", "--preview-only").returncode != 0, "which a refresh needs"
        document = json.loads(project.printed("drift", "--json"))
    assert {
        each["resource"]: (each["gone"], [one["path"] for one in each["properties"]])
        for each in document["differences"]
    } == {
        "SecurityGroupIngressRule security-etcd": (True, []),
        f"SecurityGroupIngressRule {API_RULE}": (False, ["cidrIpv4"]),
        "Instance worker02": (False, ["tags.Name"]),
        "Instance worker03": (False, ["instanceType"]),
        "VpcSecurityGroupRulesExclusive security-control-plane-only": (False, ["ingressRuleIds"]),
        "VpcSecurityGroupRulesExclusive security-nodes-only": (False, ["ingressRuleIds"]),
    }
    done = project.run("drift", "--in-cluster")
    assert (done.returncode, "ConfigMap auth/dex (auth/dex) is changed" in done.stdout) == (10, True)
    assert project.checkpoint_file.read_bytes() == state


def dex_generation(project: Project) -> int:
    return int(project.get("deployment", "dex", "-n", "auth")["metadata"]["generation"])


def test_a_changed_hash_updates_in_place_and_rolls_dex(project: Project) -> None:
    """The sandbox made ana's hash itself; forgotten, it makes another, as for a new password."""
    before = dex_generation(project)
    project.forget_password("ana")
    assert project.applied() == {"update": ["deployment-auth-dex", "secret-auth-dex-passwords"]}
    assert dex_generation(project) > before


def test_a_new_gpu_label_waits_for_the_node_s_next_generation(project: Project) -> None:
    """The kubelet sets labels at registration only, and an ordinary update rebuilds no node."""
    with project.changed("kubepark:gpu.labels", {"shared": "yes"}):
        assert project.steps() == {}


def test_the_gpu_job_stays_pending_and_says_why(project: Project) -> None:
    """Without its toleration, with another label on the node, and without the device plugin."""
    job = ("verify", "gpu", "--timeout", "6")
    intolerant = project.run(*job, "--no-toleration")
    project.kubectl("label", "node", "gpu01", "accelerator=other", "--overwrite")
    labelled = project.run(*job, "--accelerator", "nvidia-t4")
    project.kubectl("label", "node", "gpu01", "accelerator=nvidia-t4", "--overwrite")
    project.kubectl("delete", "daemonset", "nvidia-device-plugin", "-n", "kube-system")
    deadline = time.monotonic() + 30
    while nodes(project)["gpu01"]["status"]["allocatable"].get("nvidia.com/gpu", "0") != "0":
        assert time.monotonic() < deadline, "the GPU stays allocatable without its plugin"
        time.sleep(0.5)
    unplugged = project.run(*job)
    project.ok("refresh", "--yes")
    project.ok("up", "--skip-preview")  # puts it back, and the Job completes
    for done, reason in (
        (intolerant, "toleration"),
        (labelled, "accelerator=nvidia-t4"),
        (unplugged, "DaemonSet nvidia-device-plugin is missing"),
    ):
        assert done.returncode == 1
        assert reason in done.stdout


# From here on one update carries out what previews showed: the previews are exact, and an update is
# what takes the time.


def ids(project: Project, *but: str) -> dict[str, str]:
    return {name: project.instance(name)["InstanceId"] for name in ADDRESSES if name not in but}


def of_worker(name: str) -> list[str]:
    return [*[f"iam-{name}"] * 3, f"parameters-status-{name}", name]


GPU_ONLY = [
    *["iam-gpu01"] * 3,
    "parameters-status-gpu01",
    "daemonset-kube-system-nvidia-device-plugin",
    "gpu01",
    "runtimeclass-nvidia",
]


def test_a_removed_worker_an_absent_gpu_and_tags_touch_nothing_else_and_both_come_back(
    project: Project,
) -> None:
    before, generation = ids(project, "worker03", "gpu01"), dex_generation(project)
    project.ok("park", "gpu")  # the device plugin's pod stays there, on a machine that is off
    gone = sorted([*of_worker("worker03"), *GPU_ONLY])
    project.set("kubepark:workers", {"nodes": {"worker01": {}, "worker02": {}}})
    project.set("kubepark:gpu", {"power": "absent"})
    project.set("kubepark:tags", {"team": "ml"})
    steps = project.applied()
    assert (steps.pop("delete"), [*steps]) == (gone, ["update"])
    assert ids(project, "worker03", "gpu01") == before
    assert {"Key": "team", "Value": "ml"} in project.instance("master1")["Tags"]
    assert [node["name"] for node in project.outputs()["nodes"]] == list(before)
    assert "nvidia-device-plugin" not in project.kubectl("get", "daemonsets", "--all-namespaces")

    project.set("kubepark:workers", None)
    project.set("kubepark:gpu", None)
    project.set("kubepark:tags", None)
    steps = project.applied("--skip-preview")  # with the GPU Job, on the new GPU node
    assert (steps.pop("create"), [*steps]) == (gone, ["update"])
    assert nodes(project)["gpu01"]["status"]["allocatable"]["nvidia.com/gpu"] == "1"
    assert ids(project, "worker03", "gpu01") == before
    assert dex_generation(project) == generation


def test_a_new_worker_and_a_changed_script_replace_nothing_a_generation_that_node_alone(
    project: Project,
) -> None:
    before, old = ids(project, "worker03"), project.instance("worker03")
    uid = nodes(project)["worker03"]["metadata"]["uid"]
    workers = {"worker01": {}, "worker02": {}, "worker03": {"generation": 2}, "worker04": {}}
    project.set("kubepark:workers", {"nodes": workers})
    script = project.root / "userdata" / "node" / "lib.sh"
    with project.edited(script, script.read_text(encoding="utf-8") + "\n: # changed\n"):
        with project.changed("kubepark:gpu.nodes", {"gpu01": {"generation": 2}}):
            steps = project.steps()
        project.ok("up", *QUICK)
    assert steps.pop("create") == of_worker("worker04")
    assert steps.pop("update") == ["parameters-hosts-00"]
    replaced = {name for names in steps.values() for name in names}
    assert replaced == {"worker03", "gpu01"}, "what depends on the GPU node is not replaced with it"
    assert ids(project, "worker03") == before
    assert nodes(project)["worker04"]["status"]["addresses"][0]["address"] == "10.20.0.14"
    new = project.instance("worker03")
    assert new["InstanceId"] != old["InstanceId"]
    assert new["PrivateIpAddress"] == old["PrivateIpAddress"]
    assert nodes(project)["worker03"]["metadata"]["uid"] != uid
    assert project.outputs()["outdated_nodes"] == ["master1", "worker01", "worker02", "gpu01"]


def test_destroy_with_a_dead_api_server_leaves_nothing_and_after_down_nothing_runs(deployed: Project) -> None:
    before = live(deployed)
    assert all(before.values()), "the search must find what is there"
    kill_api_server(deployed)
    deployed.ok("destroy", "--yes", "--purge")
    assert {kind: left for kind, left in live(deployed).items() if left} == {}
    assert deployed.resources() == []
    requests = (deployed.state / "logs" / "requests.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(list(operators(requests))) > 200
    assert judge(deployed.json_of("permissions"), requests).denied == [], "the printed policy was enough"
    deployed.ok("down")
    marker = str(deployed.state)
    left = [words for p in psutil.process_iter() if marker in (words := " ".join(cmdline(p)))]
    assert left == []


def kill_api_server(project: Project) -> None:
    """By its own id: the process whose arguments name this sandbox's port, or that runs in its master."""
    if project.nodes == "real":
        machines = Machines(project)
        machines.systemctl("master1", "stop", "kubelet.service")  # or it would start it again
        running = machines.init("master1").children(recursive=True)
    else:
        running = list(psutil.process_iter())
    port = f"--secure-port={6443 if project.nodes == 'real' else project.api_port}"
    found = [p for p in running if port in (words := cmdline(p)) and words[0].endswith("kube-apiserver")]
    assert len(found) == 1
    kill(found[0])
