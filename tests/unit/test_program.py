"""The whole program, recorded: what it registers, in what order, with which options."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from pulumi.runtime.rpc import wrap_rpc_secret

import userdata
from components.parameters import PENDING
from config import kubeconfig
from tests.configuration import HASH, configuration
from tests.engine import CallFailed, Recording, Resource
from tests.program import KUBECONFIG, PARAMETER, ROOT, run, whole

INSTANCE = "aws:ec2/instance:Instance"
NODES = ("gpu01", "master1", "worker01", "worker02", "worker03")


def up() -> Recording:
    return whole()


def preview() -> Recording:
    return whole(preview=True)


def test_preview_and_update_register_the_same() -> None:
    assert up().urns == preview().urns


def test_there_is_one_of_what_nobody_needs_twice() -> None:
    counts = Counter(item.type for item in up().resources.values())
    for kind in (
        "aws:ec2/vpc:Vpc",
        "aws:ec2/networkInterface:NetworkInterface",
        "aws:ec2/eip:Eip",
        "kubernetes:operator.tigera.io/v1:Installation",
        "kubernetes:node.k8s.io/v1:RuntimeClass",
        "kubernetes:apps/v1:DaemonSet",
    ):
        assert counts[kind] == 1, kind


def test_another_zone_of_the_gpu_nodes_changes_them_and_their_row_of_hosts_only() -> None:
    moved = run(config=configuration(gpu__availabilityZone="us-east-1b"))
    assert moved.error is None
    assert moved.urns == up().urns
    changed = {
        item.name
        for urn, item in up().resources.items()
        if (moved.resources[urn].inputs, moved.resources[urn].depends_on) != (item.inputs, item.depends_on)
    }
    assert changed == {"gpu01", "parameters-hosts-00"}
    (subnet,) = (item for item in moved.of_type("aws:ec2/subnet:Subnet") if item.name == "network-balancers")
    gpu = moved.one(INSTANCE, "gpu01").inputs
    assert (gpu["subnetId"], gpu["privateIp"]) == (subnet.id, "10.20.5.1")


def test_an_absent_gpu_takes_only_its_own_things_away() -> None:
    without = run(config=configuration(gpu__power="absent"))
    assert without.error is None
    gone = {up().resources[urn].name for urn in up().urns - without.urns}
    assert without.urns <= up().urns
    assert gone == {
        "iam-gpu01",
        "parameters-status-gpu01",
        "daemonset-kube-system-nvidia-device-plugin",
        "gpu01",
        "runtimeclass-nvidia",
    }


@pytest.mark.parametrize("node", NODES)
def test_every_instance_is_locked_down_and_fixed(node: str) -> None:
    instance = up().one(INSTANCE, node)
    assert instance.inputs["metadataOptions"]["httpTokens"] == "required"
    assert instance.inputs["metadataOptions"]["httpPutResponseHopLimit"] == 1
    disk = instance.inputs["rootBlockDevice"]
    assert (disk["encrypted"], disk["volumeType"]) == (True, "gp3")
    assert (
        disk["kmsKeyId"]
        == f"arn:aws:kms:us-east-1:123456789012:key/{up().one('aws:kms/key:Key', 'keys-cluster').id}"
    )
    assert "associatePublicIpAddress" not in instance.inputs
    assert set(instance.ignore_changes) == {"ami", "userDataBase64", 'tags["kubepark:user-data-digest"]'}
    assert instance.replacement_trigger == 1
    assert instance.delete_before_replace is True


def test_user_data_is_what_was_rendered_and_tagged() -> None:
    import base64

    for node in NODES:
        inputs = up().one(INSTANCE, node).inputs
        data = base64.b64decode(inputs["userDataBase64"])
        assert len(data) <= userdata.MAX_BYTES
        assert inputs["tags"]["kubepark:user-data-digest"] == userdata.digest(data)


def ancestors(recording: Recording, resource: Resource) -> set[str]:
    """URNs of everything that must be there before `resource`."""
    found: set[str] = set()
    queue = list(resource.depends_on)
    while queue:
        urn = queue.pop()
        if urn not in found:
            found.add(urn)
            queue += recording.resources[urn].depends_on
    return found


@pytest.mark.parametrize("node", NODES)
def test_a_node_boots_after_everything_it_needs_at_its_first_second(node: str) -> None:
    recording = up()
    before = {recording.resources[urn].name for urn in ancestors(recording, recording.one(INSTANCE, node))}
    rules = {
        item.name
        for kind in ("Ingress", "Egress")
        for item in recording.of_type(f"aws:vpc/securityGroup{kind}Rule:SecurityGroup{kind}Rule")
    }
    assert rules
    needs = rules | {"network-internet", "network-nodes", "keys-cluster", f"iam-{node}"}
    needs |= {"parameters-join", "parameters-kubeconfig", "parameters-encryption-key", "parameters-hosts-00"}
    assert needs | {f"parameters-status-{node}"} <= before
    policy = recording.one("aws:iam/rolePolicy:RolePolicy", f"iam-{node}")
    assert policy.urn in ancestors(recording, recording.one(INSTANCE, node))
    assert not before & set(NODES), "no node waits for another"


def test_what_only_gpu_nodes_need_goes_before_the_last_of_them() -> None:
    """Deleting a DaemonSet waits for its pods, which do not end on a machine that is gone."""
    recording = up()
    gpu = recording.one(INSTANCE, "gpu01").urn
    for kind, name in (
        ("apps/v1:DaemonSet", "daemonset-kube-system-nvidia-device-plugin"),
        ("node.k8s.io/v1:RuntimeClass", "runtimeclass-nvidia"),
    ):
        assert gpu in recording.one(f"kubernetes:{kind}", name).depends_on


def test_node_written_parameters_keep_their_values_and_have_constant_faces() -> None:
    written = [
        item
        for item in up().of_type("aws:ssm/parameter:Parameter")
        if not item.inputs["name"].startswith("/lab/hosts/")
    ]
    assert {item.name for item in written} >= {f"parameters-status-{node}" for node in NODES}
    for parameter in written:
        assert set(parameter.ignore_changes) == {
            *("value", "valueWoVersion", "description", "type", "tier", "keyId", "version")
        }
        assert parameter.inputs["tier"] == "Standard"
    secret = [item.inputs for item in written if item.inputs["type"] == "SecureString"]
    assert {each["name"] for each in secret} == {"/lab/join", "/lab/kubeconfig", "/lab/encryption-key"}
    # Made with `value`, a parameter is read into the state by every refresh.
    assert {(each["valueWo"], each["valueWoVersion"], "value" in each) for each in secret} == {
        (PENDING, 1, False)
    }


def test_everything_in_the_cluster_goes_with_the_master() -> None:
    master = up().one(INSTANCE, "master1").urn
    inside = [item for item in up().resources.values() if item.custom and item.package == "kubernetes"]
    assert inside
    assert {item.deleted_with for item in inside} == {master}
    outside = [item for item in up().resources.values() if item.package == "aws"]
    assert {item.deleted_with for item in outside} == {""}


def test_what_needs_the_network_comes_after_it_and_goes_before_it() -> None:
    (installation,) = (each for each in up().resources.values() if each.type.endswith(":Installation"))
    kubeflow = up().one("kubepark:index:Manifest", "kubeflow")
    assert kubeflow.depends_on == (installation.urn,)  # a child is made after its parent, and goes before it
    assert up().children(kubeflow)


def test_the_kubernetes_provider_does_not_wait_for_its_own_limit() -> None:
    """By default 50 questions a second: one for each object of a preview."""
    settings = up().one("pulumi:providers:kubernetes").inputs["kubeClientSettings"]
    assert json.loads(settings) == {"qps": 400, "burst": 800}


def test_the_cluster_is_identified_by_a_plain_string() -> None:
    provider = up().one("pulumi:providers:kubernetes")
    assert provider.inputs["clusterIdentifier"] == "lab/1"

    anew = run(config=configuration(controlPlane__identity=2)).one("pulumi:providers:kubernetes")
    assert anew.inputs["clusterIdentifier"] == "lab/1", "replaced, it would delete objects in the old cluster"
    assert anew.inputs["kubeconfig"] == ".kubepark/lab.2.kubeconfig", "as it was, it would not be read anew"


def test_operators_reach_the_api_where_the_stack_says_now_and_not_where_the_master_was_told_once() -> None:
    tunnel = "https://127.0.0.1:6443"
    recording = run(config=configuration(controlPlane__apiEndpoint=tunnel))
    wanted = KUBECONFIG.replace("https://198.51.100.7:6443", tunnel)
    assert wanted != KUBECONFIG
    provider = recording.one("pulumi:providers:kubernetes")
    assert recording.files == {provider.inputs["kubeconfig"]: wanted}
    assert recording.outputs["api_endpoint"] == tunnel
    assert provider.inputs["clusterIdentifier"] == "lab/1", "no object is replaced for another way to it"


DENIED = "AccessDeniedException: not authorized to perform: ssm:GetParameter on parameter/lab/kubeconfig"


def denied(args: dict[str, Any], recording: Recording) -> dict[str, Any]:
    raise CallFailed(DENIED)


def test_of_the_call_stack_the_state_keeps_what_names_our_lines() -> None:
    for item in up().resources.values():
        assert 1 <= len(item.stack) <= 4, (item.urn, item.stack)
        ours = [Path(file.removeprefix("file://")) for file in item.stack]
        named = [file for file in ours if file.is_relative_to(ROOT) and ".venv" not in file.parts]
        assert named, (item.urn, item.stack)
    assert not hasattr(sys, "tracebacklimit")  # of an error, everything is shown


def test_a_preview_tells_the_provider_what_the_update_does() -> None:
    kind = "pulumi:providers:kubernetes"
    assert preview().one(kind).inputs == up().one(kind).inputs
    assert preview().files == {".kubepark/lab.1.kubeconfig": kubeconfig.NOWHERE}


def test_an_update_without_the_kubeconfig_fails_with_what_is_missing() -> None:
    refused = run(invokes={PARAMETER: denied})
    said = f"the kubeconfig (/lab/kubeconfig) cannot be read: invoke of {PARAMETER} failed: {DENIED}"
    assert str(refused.error) == said
    unpublished = run(invokes={PARAMETER: {"name": "/lab/kubeconfig", "value": wrap_rpc_secret(PENDING)}})
    assert str(unpublished.error) == "the kubeconfig (/lab/kubeconfig) was not published"


def test_of_the_kubeconfig_pulumi_has_a_path_and_nothing_else() -> None:
    """Not even encrypted: whoever previews has the key."""
    recording = up()
    provider = recording.one("pulumi:providers:kubernetes")
    assert provider.inputs["kubeconfig"] == ".kubepark/lab.1.kubeconfig"
    assert recording.files == {".kubepark/lab.1.kubeconfig": KUBECONFIG}
    held = [(item.inputs, item.outputs) for item in recording.resources.values()]
    assert "stands for the operator's kubeconfig" not in json.dumps([held, recording.outputs], default=repr)


def test_a_protected_master_is_kept_by_pulumi_and_by_aws_and_nothing_else_is() -> None:
    recording = run(config=configuration(controlPlane__protected=True))
    assert recording.error is None
    assert [item.name for item in recording.resources.values() if item.protect] == ["master1"]
    kept = {item.name: item.inputs.get("disableApiTermination") for item in recording.of_type(INSTANCE)}
    assert kept == dict.fromkeys(NODES) | {"master1": True}
    assert up().one(INSTANCE, "master1").inputs["disableApiTermination"] is False, "so that it can be lifted"
    assert not [item for item in up().resources.values() if item.protect]


def test_only_the_data_key_outlives_the_stack() -> None:
    kept = [(item.type, item.name) for item in up().resources.values() if item.retain_on_delete]
    assert kept == [("aws:kms/key:Key", "keys-data")]


def test_nothing_secret_is_in_plain() -> None:
    text = up().plain_text()
    for secret in (HASH, "0123456789abcdef0123456789abcdef", KUBECONFIG.strip()):
        assert secret not in text
    assert HASH in json.dumps(configuration()), "the search must have something to find"


def test_the_secret_of_a_connector_is_in_no_plain_property() -> None:
    connector = {
        "type": "oidc",
        "id": "corp",
        "clientId": "kubepark",
        "issuer": "https://login.acme.org",
    }
    config = configuration(
        connectors=[connector],
        connectorSecrets={"corp": "planted-secret-of-corp"},
        oidcIssuer="https://kubeflow.acme.org/dex",
    )
    recording = run(config=config)
    assert "DEX_CONNECTOR_CORP" in recording.plain_text()
    assert "planted-secret-of-corp" not in recording.plain_text()
    assert base64.b64encode(b"planted-secret-of-corp").decode() not in recording.plain_text()


def test_outputs_are_the_documented_ones() -> None:
    outputs = up().outputs
    assert set(outputs) == {
        "access",
        "api_endpoint",
        "created_with",
        "data_key_id",
        "dex_issuer",
        "monthly_usd",
        "monthly_usd_gpu_parked",
        "nodes",
        "outdated_nodes",
        "people",
        "profiles",
    }
    assert outputs["outdated_nodes"] == []
    assert outputs["profiles"] == ["ana", "bo"]
    assert [node["name"] for node in outputs["nodes"]] == [
        "master1",
        "worker01",
        "worker02",
        "worker03",
        "gpu01",
    ]
    assert outputs["nodes"][4]["private_ip"] == "10.20.1.1"


def test_a_changed_create_only_setting_is_refused_before_anything_is_registered() -> None:
    before = {"created_with": up().outputs["created_with"]}
    changed = configuration(network__vpcCidr="10.30.0.0/16", network__podCidr="172.16.0.0/16")
    refused = run(before=before, config=changed)
    assert refused.urns == frozenset(urn for urn in refused.urns if "pulumi:pulumi:Stack" in urn)
    assert str(refused.error) == (
        "the configuration of stack dev has 2 problems; nothing was changed:\n"
        "  - kubepark:network.vpcCidr: was 10.20.0.0/16 when the cluster was made, now 10.30.0.0/16; accepted: "
        "10.20.0.0/16, or another one after `bin/kubepark destroy`; fix: pulumi config set --stack dev --path "
        "kubepark:network.vpcCidr 10.20.0.0/16\n"
        "  - kubepark:network.podCidr: was 192.168.0.0/16 when the cluster was made, now 172.16.0.0/16; accepted: "
        "192.168.0.0/16, or another one after `bin/kubepark destroy`; fix: pulumi config set --stack dev --path "
        "kubepark:network.podCidr 192.168.0.0/16"
    )
    assert run(before=before).error is None


def test_bad_configuration_registers_nothing() -> None:
    refused = run(config=configuration(network__adminCidrs=["0.0.0.0/0"], people=[{"name": "x"}]))
    assert "nothing was changed" in str(refused.error)
    assert all("pulumi:pulumi:Stack" in urn for urn in refused.urns)


def test_user_data_over_the_limit_is_refused_with_the_files_that_made_it_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(userdata, "MAX_BYTES", 100)
    lines = str(run().error).splitlines()
    assert len(lines) == 1 + len(NODES)
    assert lines[1].startswith("  - userdata/node/: the user data of master1 has ")
    assert re.search(r"bytes, most of them in /usr/local/lib/kubepark/kp-aws \([\d,]+\), ", lines[1])
    assert lines[1].endswith("; accepted: at most 100 bytes after gzip; fix: shorten these files")


def test_labels_that_make_user_data_too_long_are_what_the_error_names() -> None:
    labels = {f"label-{hashlib.sha256(bytes([n])).hexdigest()[:50]}": f"value-{n}" for n in range(120)}
    line = str(run(config=configuration(gpu__labels=labels)).error).splitlines()[1:]
    assert len(line) == 1
    assert line[0].startswith("  - kubepark:gpu.labels: the user data of gpu01 has ")
    assert re.search(r"most of them in /etc/kubepark/node.json \(\d,\d+\), ", line[0])
    assert line[0].endswith("; fix: pulumi config rm --stack dev --path kubepark:gpu.labels")


def test_every_object_has_the_same_field_manager_in_every_run():
    """Under another name the API server would refuse the update of an object that a killed run has made."""
    recording = up()
    objects = [item for item in recording.resources.values() if item.type.startswith("kubernetes:")]
    assert len(objects) > 20
    for item in objects:
        assert item.inputs["metadata"]["annotations"]["pulumi.com/patchFieldManager"] == "kubepark"
