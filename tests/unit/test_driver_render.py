"""Engine events as people see them."""

from __future__ import annotations

import io
import re

import pytest

from sandbox.driver.events import Urn, property_at, step_of
from sandbox.driver.render import Renderer

STACK = "urn:pulumi:sandbox::kubepark::pulumi:pulumi:Stack::kubepark-sandbox"
NETWORK = "urn:pulumi:sandbox::kubepark::kubepark:network:Network::network"
VPC = "urn:pulumi:sandbox::kubepark::kubepark:network:Network$aws:ec2/vpc:Vpc::vpc"


def shown(*events, **options) -> str:
    stream = io.StringIO()
    renderer = Renderer(stream, **options)
    for event in events:
        renderer.handle(event)
    renderer.close()
    return stream.getvalue()


def step(kind, operation, urn=VPC, planning=False, custom=True, old=None, new=None, detailed=None):
    state = {"custom": custom, "parent": NETWORK}
    metadata = {
        "op": operation,
        "urn": urn,
        "type": "aws:ec2/vpc:Vpc",
        "old": None if old is None else {**state, "inputs": old, "outputs": None},
        "new": None if new is None else {**state, "inputs": new, "outputs": None},
        "detailedDiff": detailed,
    }
    return {kind: {"metadata": metadata, "planning": planning}}


def message(text, severity="error", urn="", **more):
    return {"diagnosticEvent": {"message": text, "severity": severity, "urn": urn, "color": "raw", **more}}


def test_urn_parts():
    assert Urn(VPC).name == "vpc"
    assert Urn(VPC).type == "aws:ec2:Vpc"
    assert Urn("urn:pulumi:s::p::kubernetes:apps/v1:Deployment::a::b").type == "kubernetes:apps:Deployment"
    assert Urn("urn:pulumi:s::p::kubernetes:apps/v1:Deployment::a::b").name == "a::b"


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("tags.Name", "n"),
        ('labels["a.b/c"]', "x"),
        ("rules[1].port", 2),
        ("rules[7].port", None),
        ("missing.deep", None),
        ("tags", {"Name": "n"}),
    ],
)
def test_property_paths(path, value):
    properties = {"tags": {"Name": "n"}, "labels": {"a.b/c": "x"}, "rules": [{"port": 1}, {"port": 2}]}
    assert property_at(properties, path) == value


def test_a_finished_step_is_one_line_with_parent_and_time():
    lines = shown(step("resourcePreEvent", "create", new={}), step("resOutputsEvent", "create", new={}))
    assert lines.count("\n") == 1
    assert "aws:ec2:Vpc" in lines
    assert "vpc (in network)" in lines
    assert "created in 0.0 s" in lines


@pytest.mark.parametrize("custom", [True, False])
def test_unchanged_resources_and_components_are_not_shown(custom):
    assert shown(step("resOutputsEvent", "same", new={}, custom=custom)) == ""
    assert shown(step("resOutputsEvent", "create", new={}, custom=False)) == ""


def test_a_replacement_is_one_line_in_a_preview_and_two_when_done():
    parts = ("create-replacement", "replace", "delete-replaced")
    plan = shown(*(step("resourcePreEvent", part, old={}, new={}, planning=True) for part in parts))
    assert plan.count("\n") == 1
    assert "replace" in plan
    done = shown(*(step("resOutputsEvent", part, old={}, new={}) for part in parts))
    assert done.count("\n") == 2


def test_a_plan_names_what_changes_or_what_forces_a_replacement():
    update = {"b": {"diffKind": "update", "inputDiff": True}, "a": {"diffKind": "add", "inputDiff": True}}
    assert "update [a, b]" in shown(
        step("resourcePreEvent", "update", old={}, new={}, planning=True, detailed=update)
    )
    replace = {**update, "ami": {"diffKind": "update-replace", "inputDiff": True}}
    said = shown(step("resourcePreEvent", "replace", old={}, new={}, planning=True, detailed=replace))
    assert "replace [ami]" in said


def test_a_diff_shows_values_and_shortens_long_ones():
    detailed = {
        "tags.Name": {"diffKind": "update", "inputDiff": True},
        "gone": {"diffKind": "delete", "inputDiff": True},
        "made": {"diffKind": "add-replace", "inputDiff": True},
    }
    old, new = {"tags": {"Name": "a"}, "gone": "x" * 300}, {"tags": {"Name": "b"}, "made": [1]}
    said = shown(
        step("resourcePreEvent", "update", old=old, new=new, planning=True, detailed=detailed),
        show_diff=True,
    )
    assert '~ tags.Name: "a" => "b"' in said
    assert "+ made: [1]  (forces replacement)" in said
    assert max(len(line) for line in said.splitlines()) < 130


def test_a_refresh_preview_names_what_has_changed_only_at_its_end():
    changed = {"tags.Name": {"diffKind": "update", "inputDiff": False}}
    said = shown(
        step("resourcePreEvent", "refresh", old={}, new={}, planning=True),
        step("resOutputsEvent", "update", old={}, new={}, planning=True, detailed=changed),
    )
    assert said.count("\n") == 1
    assert "update [tags.Name]" in said


def test_an_error_is_said_once_and_noise_never():
    said = shown(
        message("<{%reset%}>2 problems\n  kubepark:x: wrong<{%reset%}>", urn=STACK),
        message("an unhandled error occurred: 2 problems\n  kubepark:x: wrong", urn=STACK),
        message("update failed", urn=STACK),
        message("using pulumi-resource-aws from $PATH at /x/pulumi-resource-aws", "warning"),
    )
    assert said.count("2 problems") == 1
    assert said.count("\n") == 2
    assert "<{%" not in said
    assert "$PATH" not in said


def test_an_error_names_its_resource_unless_it_does_so_itself():
    assert "error: vpc: no such vpc\n" in shown(message("no such vpc", urn=VPC))
    assert "error: vpc is odd\n" in shown(message("vpc is odd", urn=VPC))


def test_a_programs_last_words_are_said_though_they_repeat_a_resources():
    last = "1 of 4 nodes did not come up:\n  - vpc: no space left"
    said = shown(
        message("no space left", urn=VPC),
        message(last, urn=STACK),
        message(f"an unhandled error occurred: {last}", urn=STACK),
        {"errorEvent": {"error": f"Exception calling application: {last}"}},
    )
    assert said.splitlines() == [
        "error: vpc: no space left",
        "error: 1 of 4 nodes did not come up:",
        "         - vpc: no space left",
    ]


def test_a_message_names_its_resource_but_not_the_stack():
    assert "      warning: vpc: slow\n" in shown(message("slow", "warning", urn=VPC))
    assert "      vpc: join\n" in shown(message("join", "info", urn=VPC))
    assert "      hello\n" in shown(message("hello", "info", urn=STACK))


def test_progress_is_said_once_for_each_state():
    waiting = message("master1: init", "info", VPC, ephemeral=True)
    assert shown(waiting, waiting).count("master1: init") == 1


def test_policies():
    event = {
        "resourceUrn": VPC,
        "message": "wrong",
        "policyName": "rule",
        "policyPackName": "pack",
        "enforcementLevel": "mandatory",
    }
    assert "error: policy violation: aws:ec2:Vpc vpc: wrong [rule]" in shown({"policyEvent": event})
    advice = {**event, "enforcementLevel": "advisory"}
    assert "policy advice: aws:ec2:Vpc vpc: wrong [rule]" in shown({"policyEvent": advice}, quiet=True)


def test_summary_says_what_failed_instead_of_no_changes():
    summary = {"summaryEvent": {"resourceChanges": {"same": 3, "create": 2}, "isPreview": False}}
    assert "2 created; 3 unchanged" in shown(summary)
    stream = io.StringIO()
    renderer = Renderer(stream)
    for event in (message("bad", urn=VPC), step("resOpFailedEvent", "create", new={}), summary):
        renderer.handle(event)
    assert renderer.totals == "2 created, 1 failed; 3 unchanged"
    assert "unchanged" not in stream.getvalue()
    assert "FAILED to create" in stream.getvalue()


def test_events_without_a_step_are_none():
    assert step_of({"preludeEvent": {}}) is None


def test_what_runs_for_long_is_named_again_every_half_minute(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr("sandbox.driver.render.time.monotonic", lambda: now[0])
    stream = io.StringIO()
    renderer = Renderer(stream)

    def after(seconds):
        now[0] += seconds
        stream.seek(0)
        stream.truncate()
        renderer.remind()
        return stream.getvalue()

    renderer.handle(step("resourcePreEvent", "create", new={}))
    renderer.handle(step("resourcePreEvent", "same", urn=NETWORK, old={}, new={}))
    assert after(29) == ""
    said = after(2)
    assert re.fullmatch(r"  31\.0 s  \+ aws:ec2:Vpc +vpc .* create: still at it after 31 s\n", said)
    assert after(28) == ""
    assert "after 61 s" in after(2)
    renderer.handle(step("resOutputsEvent", "create", new={}))
    assert after(40) == ""
    renderer.handle(step("resourcePreEvent", "update", planning=True, old={}, new={"a": 1}))
    assert after(40) == ""
