"""One sandbox stack from an empty emulator to nothing left, as a person would drive it.

The tests build on each other in the order of the file: one cluster serves them all.
"""

from __future__ import annotations

import json
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from sandbox.summary import REAL
from sandbox.tests.stack.account import live
from sandbox.tests.stack.machines import Machines
from sandbox.tests.stack.project import ROOT, Project
from sandbox.tests.stack.refusals import problems, refused, resources
from sandbox.tests.tools import cmdline

pytestmark = pytest.mark.sandbox

ADDRESSES = {
    "master1": "10.20.0.10",
    "worker01": "10.20.0.11",
    "worker02": "10.20.0.12",
    "worker03": "10.20.0.13",
    "gpu01": "10.20.1.1",
}
# What the tests look at is the update; a preview of the same change was looked at just before.
QUICK = ("--skip-verify", "--skip-preview")
INSTANCE = "aws:ec2/instance:Instance"


class Life:
    """What the tests of this file hand on to each other."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.previewed: set[str] = set()
        self.up_output = ""


@pytest.fixture(scope="module")
def life(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Life]:
    project = Project(tmp_path_factory.mktemp("life") / "project")
    try:
        yield Life(project)
    finally:
        project.stop()


def nodes(project: Project) -> dict[str, dict[str, Any]]:
    return {item["metadata"]["name"]: item for item in project.get("nodes")["items"]}


def test_a_preview_before_anything_exists_shows_every_resource(life: Life) -> None:
    document = life.project.json_of("preview", "--json")
    assert {step["op"] for step in document["steps"]} == {"create"}
    life.previewed = {step["urn"] for step in document["steps"]}
    assert len(life.previewed) == 107


def test_up_makes_what_the_preview_showed(life: Life) -> None:
    life.up_output = life.project.ok("up", "--skip-preview", timeout=400)
    deployed = life.project.resources()
    made = {item["urn"] for item in deployed}
    # The engine's own provider, which reads the stack's last outputs, is in the state and in no preview.
    assert made ^ life.previewed == {"urn:pulumi:sandbox::kubepark::pulumi:providers:pulumi::default"}
    types = Counter(item["type"] for item in deployed)
    assert types[INSTANCE] == 5
    assert types["kubernetes:operator.tigera.io/v1:Installation"] == 1


def test_the_gpu_job_ran_and_the_summary_says_what_is_there(life: Life) -> None:
    assert life.project.verified in life.up_output
    for words in ("ana@example.org", "kubeconfig", REAL[life.project.nodes], "Stand-ins"):
        assert words in life.up_output


def test_nodes_are_as_planned(life: Life) -> None:
    found = nodes(life.project)
    assert set(found) == set(ADDRESSES)
    for name, node in found.items():
        ready = [c for c in node["status"]["conditions"] if c["type"] == "Ready"]
        assert [condition["status"] for condition in ready] == ["True"], name
        addresses = {a["type"]: a["address"] for a in node["status"]["addresses"]}
        assert addresses["InternalIP"] == ADDRESSES[name]
        instance = life.project.instance(name)
        assert node["spec"]["providerID"] == f"aws:///us-east-1a/{instance['InstanceId']}"
        assert node["metadata"]["labels"]["node.kubernetes.io/instance-type"] == instance["InstanceType"]
        assert node["metadata"]["labels"]["topology.kubernetes.io/zone"] == "us-east-1a"
    taints = {name: [t["key"] for t in node["spec"].get("taints", [])] for name, node in found.items()}
    assert taints == {
        "master1": ["node-role.kubernetes.io/control-plane"],
        "worker01": [],
        "worker02": [],
        "worker03": [],
        "gpu01": ["nvidia.com/gpu"],
    }
    assert found["gpu01"]["metadata"]["labels"]["accelerator"] == "nvidia-t4"
    allocatable = {name: node["status"]["allocatable"].get("nvidia.com/gpu") for name, node in found.items()}
    assert allocatable == dict.fromkeys(ADDRESSES) | {"gpu01": "1"}


# -- what an existing stack refuses; that nothing has changed is what the preview after it shows ----


def test_create_only_settings_are_refused_with_the_old_value_and_the_way(life: Life) -> None:
    state = resources(life.project)
    found = problems(life.project, network__vpcCidr="10.30.0.0/16", network__podCidr="172.16.0.0/16")
    assert [line.partition("; accepted: ")[0] for line in found] == [
        "kubepark:network.vpcCidr: was 10.20.0.0/16 when the cluster was made, now 10.30.0.0/16",
        "kubepark:network.podCidr: was 192.168.0.0/16 when the cluster was made, now 172.16.0.0/16",
    ]
    assert all(line.endswith(", or destroy the stack and make it anew") for line in found)
    assert resources(life.project) == state


def test_a_refused_preview_registers_nothing_but_the_stack(life: Life) -> None:
    with life.project.changed("kubepark:network.vpcCidr", "10.30.0.0/16"):
        done = life.project.run("preview", "--json")
    assert done.returncode == 1
    assert "Traceback" not in done.stdout
    document = json.loads(done.stdout)
    (said,) = [each["message"] for each in document["diagnostics"] if each["severity"] == "error"]
    assert "the configuration of stack sandbox has 1 problem" in said
    assert [step["urn"].split("::")[2] for step in document["steps"]] == ["pulumi:pulumi:Stack"]


def test_a_refused_change_of_an_existing_stack_changes_nothing(life: Life) -> None:
    state = resources(life.project)
    problems(life.project, oidcClientSecret="0123456789abcdef" * 3)
    with life.project.changed("kubepark:aws.accountId", "999999999999"):
        (line,) = refused(life.project)
    assert line.endswith("AWS account ID not allowed: 123456789012")
    assert resources(life.project) == state


def test_an_unchanged_preview_has_no_steps(life: Life) -> None:
    life.project.ok("preview", "--expect-no-changes")


def test_a_refresh_after_up_shows_nothing(life: Life) -> None:
    """Not even the values that nodes wrote: the program ignores changes of those."""
    assert life.project.drift() == {}


def test_a_refresh_shows_exactly_what_was_changed_by_hand(life: Life) -> None:
    project = life.project
    ec2 = project.aws("ec2")
    worker = project.instance("worker02")["InstanceId"]
    ec2.create_tags(Resources=[worker], Tags=[{"Key": "Name", "Value": "renamed"}])
    resized = project.instance("worker03")["InstanceId"]
    ec2.stop_instances(InstanceIds=[resized])
    ec2.modify_instance_attribute(InstanceId=resized, InstanceType={"Value": "m7i.2xlarge"})
    ec2.start_instances(InstanceIds=[resized])
    (etcd,) = [
        rule
        for rule in ec2.describe_security_group_rules()["SecurityGroupRules"]
        if not rule["IsEgress"] and rule["FromPort"] == 2379
    ]
    ec2.revoke_security_group_ingress(
        GroupId=etcd["GroupId"], SecurityGroupRuleIds=[etcd["SecurityGroupRuleId"]]
    )
    anyone = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
    ec2.authorize_security_group_ingress(GroupId=project.group("nodes"), IpPermissions=[anyone])
    config = project.get("configmap", "dex", "-n", "auth")["data"]["config.yaml"]
    patch = json.dumps({"data": {"config.yaml": config + "# by hand\n"}})
    project.kubectl("patch", "configmap", "dex", "-n", "auth", "--type", "merge", "-p", patch)
    assert project.drift() == {
        "worker02": ["tags.Name", "tagsAll.Name"],
        "worker03": ["instanceType"],
        "security-etcd": ["gone"],
        "security-control-plane-only": ["ingressRuleIds"],
        "security-nodes-only": ["ingressRuleIds"],
        "configmap-auth-dex": ['data["config.yaml"]'],
    }
    project.ok("refresh", "--yes")
    project.ok("up", *QUICK)  # takes the state back to the program's
    assert project.drift() == {}
    assert project.instance("worker03")["InstanceType"] == "m7i.xlarge"
    rules = ec2.describe_security_group_rules()["SecurityGroupRules"]
    assert not [rule for rule in rules if rule.get("FromPort") == 22], "the added rule is revoked"


# From here on one update carries out what several previews showed: the previews are exact, and an
# update is what takes the time.


def ids(project: Project, *but: str) -> dict[str, str]:
    return {name: project.instance(name)["InstanceId"] for name in ADDRESSES if name not in but}


def test_a_new_worker_and_a_changed_script_touch_no_other_instance(life: Life) -> None:
    project = life.project
    before = ids(project)
    project.set("kubepark:workers.nodes", {f"worker{n:02d}": {} for n in (1, 2, 3, 4)})
    script = project.root / "userdata" / "node" / "lib.sh"
    script.write_text(script.read_text(encoding="utf-8") + "\n: # changed\n", encoding="utf-8")
    assert project.steps() == {
        "create": [*["iam-worker04"] * 3, "parameters-status-worker04", "worker04"],
        "update": ["parameters-hosts-00"],
    }
    project.ok("up", *QUICK)
    assert ids(project) == before
    assert nodes(project)["worker04"]["status"]["addresses"][0]["address"] == "10.20.0.14"
    assert project.outputs()["outdated_nodes"] == ["master1", "worker01", "worker02", "worker03", "gpu01"]


def test_a_bumped_generation_replaces_that_node_alone(life: Life) -> None:
    project = life.project
    shutil.copy2(ROOT / "userdata" / "node" / "lib.sh", project.root / "userdata" / "node" / "lib.sh")
    before = ids(project)
    old, uid = project.instance("worker04"), nodes(project)["worker04"]["metadata"]["uid"]
    project.set("kubepark:workers.nodes.worker04", {"generation": 2})
    with project.changed("kubepark:gpu.nodes", {"gpu01": {"generation": 2}}):
        steps = project.steps()  # what depends on the GPU node is not replaced with it
        assert {name for names in steps.values() for name in names} == {"worker04", "gpu01"}, steps
    project.ok("up", *QUICK)
    new = project.instance("worker04")
    assert new["InstanceId"] != old["InstanceId"]
    assert new["PrivateIpAddress"] == old["PrivateIpAddress"]
    assert nodes(project)["worker04"]["metadata"]["uid"] != uid
    assert ids(project) == before
    assert project.outputs()["outdated_nodes"] == []


def dex_generation(project: Project) -> int:
    return int(project.get("deployment", "dex", "-n", "auth")["metadata"]["generation"])


GPU_ONLY = [
    "iam-gpu01",
    "parameters-status-gpu01",
    "daemonset-kube-system-nvidia-device-plugin",
    "gpu01",
    "runtimeclass-nvidia",
]


def test_a_removed_worker_an_absent_gpu_and_tags_touch_nothing_else(life: Life) -> None:
    project = life.project
    before, generation = ids(project, "gpu01"), dex_generation(project)
    project.set("kubepark:workers.nodes", None)
    project.set("kubepark:gpu", {"power": "absent"})
    steps = project.steps()
    assert set(steps) == {"delete", "update"}
    worker = {"parameters-status-worker04", "iam-worker04", "worker04"}
    assert set(steps["delete"]) == {*worker, *GPU_ONLY}
    assert steps["update"] == ["parameters-hosts-00"]
    project.set("kubepark:tags", {"team": "ml"})
    project.ok("up", *QUICK)
    assert ids(project, "gpu01") == before
    assert {"Key": "team", "Value": "ml"} in project.instance("master1")["Tags"]
    assert [node["name"] for node in project.outputs()["nodes"]] == list(before)
    assert "nvidia-device-plugin" not in project.kubectl("get", "daemonsets", "--all-namespaces")
    assert dex_generation(project) == generation


def test_the_gpu_comes_back_and_a_new_person_is_exactly_the_expected_steps(life: Life) -> None:
    project = life.project
    before, generation = ids(project, "gpu01"), dex_generation(project)
    project.set("kubepark:gpu", None)
    people = [
        {"name": name, "email": f"{name}@example.org", "displayName": name.capitalize(), "tier": tier}
        for name, tier in (("ana", "gpu"), ("bo", "medium"), ("chris", "small"), ("dana", "small"))
    ]
    project.set("kubepark:people", people)
    steps = project.steps()
    assert set(steps) == {"create", "update"}
    person = {"limitrange-dana-kubepark-defaults", "namespace-dana", "profile-dana"}
    assert set(steps["create"]) == {*GPU_ONLY, *person}
    dex = ["configmap-auth-dex", "deployment-auth-dex", "secret-auth-dex-passwords"]
    assert steps["update"] == sorted(["parameters-hosts-00", *dex])
    project.ok("up", "--skip-preview")  # with the GPU Job, on the new GPU node
    assert nodes(project)["gpu01"]["status"]["allocatable"]["nvidia.com/gpu"] == "1"
    assert ids(project, "gpu01") == before
    assert dex_generation(project) > generation


def test_a_changed_hash_updates_in_place_and_rolls_dex(life: Life) -> None:
    """The sandbox made ana's hash itself; forgotten, it makes another, as for a new password."""
    before = dex_generation(life.project)
    life.project.forget_password("ana")
    assert life.project.steps() == {"update": ["deployment-auth-dex", "secret-auth-dex-passwords"]}
    life.project.ok("up", *QUICK)
    assert dex_generation(life.project) > before


def test_a_new_gpu_label_waits_for_the_node_s_next_generation(life: Life) -> None:
    """The kubelet sets labels at registration only, and an ordinary update rebuilds no node."""
    with life.project.changed("kubepark:gpu.labels", {"shared": "yes"}):
        assert life.project.steps() == {}


def test_without_the_device_plugin_the_job_stays_pending_and_says_why(life: Life) -> None:
    project = life.project
    project.kubectl("delete", "daemonset", "nvidia-device-plugin", "-n", "kube-system")
    deadline = time.monotonic() + 30
    while nodes(project)["gpu01"]["status"]["allocatable"].get("nvidia.com/gpu", "0") != "0":
        assert time.monotonic() < deadline, "the GPU stays allocatable without its plugin"
        time.sleep(0.5)
    done = project.run("verify", "gpu", "--timeout", "6")
    project.ok("refresh", "--yes")
    project.ok("up", "--skip-preview")  # puts it back, and the Job completes
    assert done.returncode == 1
    assert "DaemonSet nvidia-device-plugin is missing" in done.stdout


def test_without_toleration_or_with_another_label_it_stays_pending_and_says_why(life: Life) -> None:
    project = life.project
    refused = project.run("verify", "gpu", "--timeout", "6", "--no-toleration")
    assert refused.returncode == 1
    assert "toleration" in refused.stdout
    project.kubectl("label", "node", "gpu01", "accelerator=other", "--overwrite")
    refused = project.run("verify", "gpu", "--timeout", "6", "--accelerator", "nvidia-t4")
    assert refused.returncode == 1
    assert "accelerator=nvidia-t4" in refused.stdout
    project.kubectl("label", "node", "gpu01", "accelerator=nvidia-t4", "--overwrite")
    project.ok("verify", "gpu")


def test_destroy_with_a_dead_api_server_leaves_nothing(life: Life) -> None:
    project = life.project
    before = live(project)
    assert all(before.values()), "the search must find what is there"
    kill_api_server(project)
    project.ok("destroy", "--yes", "--purge")
    assert {kind: left for kind, left in live(project).items() if left} == {}
    assert project.resources() == []


def kill_api_server(project: Project) -> None:
    """By its own id: the process whose arguments name this sandbox's port, or that runs in its master."""
    import psutil

    if project.nodes == "real":
        machines = Machines(project)
        machines.systemctl("master1", "stop", "kubelet.service")  # or it would start it again
        running = machines.init("master1").children(recursive=True)
    else:
        running = list(psutil.process_iter())
    port = f"--secure-port={6443 if project.nodes == 'real' else project.api_port}"
    found = [p for p in running if port in (words := cmdline(p)) and words[0].endswith("kube-apiserver")]
    assert len(found) == 1
    found[0].kill()
    found[0].wait(10)


def test_nothing_runs_after_down(life: Life) -> None:
    import psutil

    life.project.ok("down")
    marker = str(life.project.state)
    left = [words for p in psutil.process_iter() if marker in (words := " ".join(cmdline(p)))]
    assert left == []
