"""`kubepark verify gpu`: the Job it asks for, and why a pod stays Pending, in plain words."""

from __future__ import annotations

import copy

import pytest

from cli.gpu_reasons import accelerators, explain_pending
from cli.verify_gpu import build_job, evaluate, verify_gpu


def gpu_node(name="gpu01", allocatable=1, **labels):
    return {
        "metadata": {
            "name": name,
            "labels": {"accelerator": "nvidia-t4", "nvidia.com/gpu.present": "true", **labels},
        },
        "spec": {"taints": [{"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}]},
        "status": {
            "allocatable": {"nvidia.com/gpu": str(allocatable)} if allocatable is not None else {},
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    }


def worker(name="worker01"):
    ready = [{"type": "Ready", "status": "True"}]
    return {"metadata": {"name": name}, "spec": {}, "status": {"conditions": ready}}


def plugin():
    return {
        "metadata": {"name": "nvidia-device-plugin", "namespace": "kube-system", "uid": "ds-1"},
        "spec": {"template": {"spec": {"nodeSelector": {"nvidia.com/gpu.present": "true"}}}},
    }


def plugin_pod(phase="Running", node="gpu01", **status):
    return {
        "metadata": {
            "name": "nvidia-device-plugin-abcde",
            "namespace": "kube-system",
            "ownerReferences": [{"uid": "ds-1"}],
        },
        "spec": {"nodeName": node, "containers": [{}]},
        "status": {"phase": phase, **status},
    }


def pending(**options):
    spec = build_job("j", "nvidia-t4", timeout=60, **options)["spec"]["template"]["spec"]
    return {
        "metadata": {"name": "j-x", "namespace": "default"},
        "spec": copy.deepcopy(spec),
        "status": {"phase": "Pending"},
    }


def reasons(pod=None, nodes=None, pods=None, daemonsets=None):
    return explain_pending(
        pod or pending(),
        [worker(), gpu_node()] if nodes is None else nodes,
        [plugin_pod()] if pods is None else pods,
        [plugin()] if daemonsets is None else daemonsets,
    )


def test_the_job_asks_as_a_user_must():
    job = build_job("cuda-vector-add-1", "nvidia-t4", timeout=60)
    pod = job["spec"]["template"]["spec"]
    resources = pod["containers"][0]["resources"]
    assert resources["requests"] == resources["limits"] == {"nvidia.com/gpu": "1"}
    assert pod["nodeSelector"] == {"accelerator": "nvidia-t4"}
    assert pod["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]
    assert (pod["runtimeClassName"], pod["restartPolicy"]) == ("nvidia", "Never")
    assert job["spec"]["backoffLimit"] == 0
    assert job["spec"]["activeDeadlineSeconds"] > 60


def test_nothing_is_said_when_nothing_is_in_the_way():
    assert reasons() == []


def test_no_gpu_node():
    assert reasons(nodes=[worker()]) == [
        "no node of the cluster has a GPU: gpu.power is absent, or the GPU node has not joined "
        "(kubectl get nodes)"
    ]


def test_the_label_was_changed():
    assert reasons(nodes=[worker(), gpu_node(accelerator="nvidia-l4")]) == [
        "the pod wants a node with accelerator=nvidia-t4; GPU node gpu01 has accelerator=nvidia-l4"
    ]


def test_the_label_is_missing():
    node = gpu_node()
    del node["metadata"]["labels"]["accelerator"]
    assert reasons(nodes=[node]) == [
        "the pod wants a node with accelerator=nvidia-t4; GPU node gpu01 has no label accelerator"
    ]


def test_the_toleration_was_removed():
    assert reasons(pending(tolerate=False)) == [
        "node gpu01 has the taint nvidia.com/gpu=present:NoSchedule, and the pod has no toleration for it"
    ]


def test_the_daemonset_was_removed():
    assert reasons(nodes=[gpu_node(allocatable=0)], pods=[], daemonsets=[]) == [
        "node gpu01 offers no nvidia.com/gpu: the DaemonSet nvidia-device-plugin is missing "
        "(kubepark up registers it)"
    ]


@pytest.mark.parametrize(
    ("pods", "says"),
    [
        ([], "the DaemonSet nvidia-device-plugin has no pod there"),
        ([plugin_pod(node="gpu02")], "the DaemonSet nvidia-device-plugin has no pod there"),
        (
            [plugin_pod("Pending")],
            "its device plugin kube-system/nvidia-device-plugin-abcde is Pending; "
            "it is on node gpu01, whose kubelet has not started it",
        ),
        (
            [
                plugin_pod(
                    "Pending",
                    containerStatuses=[
                        {"state": {"waiting": {"reason": "ImagePullBackOff", "message": "no"}}}
                    ],
                )
            ],
            "its device plugin kube-system/nvidia-device-plugin-abcde is Pending; "
            "on node gpu01 its container waits: ImagePullBackOff: no",
        ),
    ],
)
def test_the_device_plugin_does_not_run(pods, says):
    assert reasons(nodes=[gpu_node(allocatable=None)], pods=pods) == [
        f"node gpu01 offers no nvidia.com/gpu: {says}"
    ]


def test_a_plugin_pod_that_no_node_has_taken_is_found_by_its_affinity():
    pod = plugin_pod(
        "Pending", conditions=[{"type": "PodScheduled", "status": "False", "message": "no room"}]
    )
    del pod["spec"]["nodeName"]
    field = {"key": "metadata.name", "operator": "In", "values": ["gpu01"]}
    pod["spec"]["affinity"] = {
        "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [{"matchFields": [field]}]
            }
        }
    }
    assert reasons(nodes=[gpu_node(allocatable=0)], pods=[pod]) == [
        "node gpu01 offers no nvidia.com/gpu: its device plugin kube-system/nvidia-device-plugin-abcde is "
        "Pending; the scheduler says: no room"
    ]


def test_the_plugin_runs_but_finds_no_card():
    (reason,) = reasons(nodes=[gpu_node(allocatable=0)])
    assert reason == (
        "node gpu01 offers no nvidia.com/gpu although the device plugin runs: no driver, or no card "
        "(kubectl logs -n kube-system nvidia-device-plugin-abcde)"
    )


def test_the_plugin_is_not_meant_for_the_node():
    node = gpu_node(allocatable=0, **{"nvidia.com/gpu.present": "false"})
    assert reasons(nodes=[node]) == [
        "node gpu01 offers no nvidia.com/gpu: the DaemonSet nvidia-device-plugin wants the label "
        "nvidia.com/gpu.present=true, which the node has not"
    ]


def using(name, phase="Running"):
    pod = pending()
    pod["metadata"] = {"name": name, "namespace": "ana"}
    pod["spec"]["nodeName"] = "gpu01"
    pod["status"]["phase"] = phase
    return pod


def test_another_pod_has_the_card_and_a_finished_one_has_not():
    assert reasons(pods=[plugin_pod(), using("train"), using("done", "Succeeded")]) == [
        "node gpu01 offers 1 nvidia.com/gpu, the pod asks for 1; in use: 1, by ana/train"
    ]
    assert reasons(pods=[plugin_pod(), using("done", "Succeeded"), using("broken", "Failed")]) == []


def test_a_node_that_is_not_ready_or_cordoned():
    node = gpu_node()
    node["status"]["conditions"] = [
        {"type": "Ready", "status": "False", "message": "cni plugin not initialized"}
    ]
    node["spec"]["unschedulable"] = True
    node["spec"]["taints"].append({"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"})
    assert reasons(nodes=[node]) == [
        "node gpu01 is not Ready: cni plugin not initialized",
        "node gpu01 is cordoned (kubectl uncordon gpu01)",
    ]


def test_what_we_do_not_know_is_said_in_the_schedulers_words():
    pod = pending()
    pod["status"]["conditions"] = [{"type": "PodScheduled", "status": "False", "message": "Insufficient cpu"}]
    assert reasons(pod) == ["the scheduler says: Insufficient cpu"]


def test_a_pod_on_a_node_is_explained_by_its_containers():
    pod = pending()
    pod["spec"]["nodeName"] = "gpu01"
    pod["status"]["containerStatuses"] = [{"state": {"waiting": {"reason": "ErrImagePull"}}}]
    assert reasons(pod) == ["on node gpu01 its container waits: ErrImagePull"]


@pytest.mark.parametrize(
    ("toleration", "tolerated"),
    [
        ({"operator": "Exists"}, True),
        ({"key": "nvidia.com/gpu", "operator": "Equal", "value": "present"}, True),
        ({"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}, True),
        ({"key": "nvidia.com/gpu", "value": "other"}, False),
        ({"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoExecute"}, False),
        ({"key": "other", "operator": "Exists"}, False),
    ],
)
def test_tolerations_count_as_the_scheduler_counts_them(toleration, tolerated):
    pod = pending()
    pod["spec"]["tolerations"] = [toleration]
    assert (reasons(pod) == []) is tolerated


def test_accelerators_are_the_values_of_the_label():
    nodes = [worker(), gpu_node(), gpu_node("gpu02"), gpu_node("gpu03", accelerator="nvidia-l4")]
    assert accelerators(nodes) == ["nvidia-l4", "nvidia-t4"]


def test_a_kubeconfig_that_cannot_be_used_is_one_line(tmp_path):
    for content in (None, "", ": [", "apiVersion: v1\nkind: Config\n"):
        path = tmp_path / "kubeconfig"
        if content is not None:
            path.write_text(content)
        said: list[str] = []
        assert verify_gpu(path, timeout=1, out=said.append) == 1
        assert len(said) == 1
        assert said[0].startswith(f"error: kubeconfig {path} cannot be used: ")


def test_an_api_server_that_is_away_is_one_line(tmp_path):
    path = tmp_path / "kubeconfig"
    path.write_text(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\n"
        "clusters: [{name: c, cluster: {server: 'https://127.0.0.1:1'}}]\n"
        "users: [{name: u, user: {token: none}}]\n"
        "contexts: [{name: c, context: {cluster: c, user: u}}]\n"
    )
    said: list[str] = []
    assert verify_gpu(path, timeout=1, out=said.append) == 1
    assert len(said) == 1
    assert said[0].startswith("error: the Kubernetes API cannot be reached at https://127.0.0.1:1: ")
    assert "Connection refused" in said[0]


@pytest.mark.parametrize(
    ("outcome", "log", "passed", "says"),
    [
        ("Complete", "[Vector addition]\nTest PASSED\nDone\n", True, "passed: 'Test PASSED' on node gpu01"),
        (
            "Complete",
            "Failed to allocate device vector A\n",
            False,
            "FAILED: the pod completed on node gpu01, but its log does not say 'Test PASSED'",
        ),
        (
            "Complete",
            "",
            False,
            "FAILED: the pod completed on node gpu01, but its log does not say 'Test PASSED'",
        ),
        (
            "Complete",
            None,
            True,
            "passed: the pod completed on node gpu01 (its log is not served here and was not checked)",
        ),
        ("Failed: why", "Test PASSED\n", False, "FAILED: the Job ended as Failed: why on node gpu01"),
    ],
)
def test_the_log_decides_where_there_is_one(outcome, log, passed, says):
    said: list[str] = []
    assert evaluate(outcome, plugin_pod(), log, said.append) is passed
    assert said[-1] == says
    assert said[:-1] == [f"  | {line}" for line in (log or "").splitlines()]
