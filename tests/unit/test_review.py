"""`kubepark review`: what it says of a preview, how long that gets, and with which code it ends."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from cli import review_text
from cli.errors import CommandError
from cli.review_effects import Effect
from cli.review_preview import parse, parts, value_at
from tests.review_previews import (
    DEPLOYMENT,
    SECRET,
    STACK,
    finding,
    outputs,
    preview,
    reviewed,
    said,
    step,
    workload,
)

INSTANCE = "aws:ec2/instance:Instance"
NAMESPACE = "kubernetes:core/v1:Namespace"
ROLLED = step(
    "update", DEPLOYMENT, "dex", workload(), workload(image="dex:2"), "spec.template.spec.containers[0].image"
)
WORKER = {"tags": {"kubepark:role": "worker"}, "instanceType": "m7i.large"}
REBUILT = step("replace", INSTANCE, "worker01", WORKER, WORKER)
GONE = step("delete", NAMESPACE, "namespace-chris", {"kind": "Namespace", "metadata": {"name": "chris"}})
ALL = (ROLLED, REBUILT, GONE, outputs({}, {}))


def test_nothing_changes() -> None:
    found = reviewed(
        step("same", DEPLOYMENT, "dex", workload(), workload()), outputs({}, {"outdated_nodes": []})
    )
    assert (found.changes, found.exit_code, found.worst) == ((), 0, Effect.HARMLESS)
    body = review_text.markdown(found)
    assert body.startswith("<!-- kubepark review dev deployed -->\n### Review of dev: nothing changes\n")
    assert "price: the same" in body


def test_the_worst_comes_first_and_decides_the_code() -> None:
    found = reviewed(*ALL)
    assert [(change.effect, change.what) for change in found.changes] == [
        (Effect.DATA, "Namespace chris"),
        (Effect.NODE, "Instance worker01"),
        (Effect.POD, "Deployment auth/dex"),
    ]
    assert found.counts == {"delete": 1, "replace": 1, "update": 1}
    assert found.exit_code == 15
    assert reviewed(*ALL, acknowledged={Effect.DATA}).exit_code == 12
    assert reviewed(*ALL, acknowledged={Effect.DATA, Effect.NODE}).exit_code == 0
    assert reviewed(ROLLED).exit_code == 0, "a pod that restarts needs nobody's word"


def test_a_review_does_not_depend_on_the_order_of_the_steps() -> None:
    assert review_text.markdown(reviewed(*ALL)) == review_text.markdown(reviewed(*reversed(ALL)))


def test_halves_of_a_replacement_are_not_counted_again() -> None:
    halves = (
        step("delete-replaced", INSTANCE, "worker01", WORKER),
        step("create-replacement", INSTANCE, "worker01", None, WORKER),
    )
    assert len(reviewed(REBUILT, *halves).changes) == 1


def test_an_operation_that_nobody_knows_is_an_error() -> None:
    with pytest.raises(CommandError, match="conjure is no operation of pulumi"):
        reviewed(step("conjure", DEPLOYMENT, "dex", workload(), workload()))


def test_what_was_not_compared_is_one_line_and_no_change() -> None:
    events = [step("update", DEPLOYMENT, f"d{number}", workload(), workload()) for number in range(40)]
    found = reviewed(*events)
    assert (found.changes, found.not_comparable, found.exit_code) == ((), 40, 0)
    body = review_text.markdown(found)
    assert body.count("not comparable") == 1
    assert "not comparable: 40 (" in body
    assert "nothing comparable changes" in body


def test_before_there_is_a_cluster_nothing_can_be_harmed() -> None:
    events = [
        step("create", STACK, "s", None, {}),
        step("create", INSTANCE, "master1", None, {"tags": {"kubepark:role": "master"}}),
    ]
    found = reviewed(*events)
    assert (found.worst, found.exit_code) == (Effect.HARMLESS, 0)
    assert "there is no cluster yet" in review_text.markdown(found)


def test_nodes_that_become_outdated_are_those_that_were_not() -> None:
    found = reviewed(outputs({"outdated_nodes": ["gpu01"]}, {"outdated_nodes": ["worker02", "gpu01"]}))
    assert found.outdated == ("worker02",)
    assert "wait for a new generation: worker02" in review_text.markdown(found)


def test_access_is_told_person_by_person() -> None:
    def row(person: str, namespace: str, role: str) -> dict[str, str]:
        return {"person": person, "namespace": namespace, "role": role, "email": "x", "why": "own"}

    before = {
        "access": [row("ana", "ana", "owner"), row("bo", "bo", "owner")],
        "people": [{"name": "bo", "state": "active"}],
    }
    after = {
        "access": [row("ana", "ana", "owner"), row("ana", "bo", "edit")],
        "people": [{"name": "bo", "state": "suspended"}],
    }
    assert reviewed(outputs(before, after)).access == (
        "bo: active -> suspended",
        "+ ana: edit in bo",
        "- bo: owner in bo",
    )


def test_another_email_is_told() -> None:
    before, after = (
        {"people": [{"name": "bo", "state": "active", "email": f"{x}@example.org"}]} for x in "ab"
    )
    assert reviewed(outputs(before, after)).access == ("bo: a@example.org -> b@example.org",)


def test_a_stream_that_is_cut_off_is_no_preview() -> None:
    """The rest of it could lose data."""
    with pytest.raises(CommandError, match="x ends before the preview did"):
        parse(f"{json.dumps(ROLLED)}\n{json.dumps(REBUILT)}", "x")
    assert parse(f"{json.dumps(ROLLED)}\n{json.dumps(said('no'))}", "x").errors == ("no",)


def test_a_violated_policy_fails_and_an_advice_does_not() -> None:
    found = reviewed(ROLLED, finding("mandatory", "<{%fg 1%}>port 22 is open<{%reset%}>"))
    assert found.exit_code == 1
    body = review_text.markdown(found)
    assert "### Review of dev: a policy is violated" in body
    assert "\nport 22 is open\n" in body
    assert "<details open><summary>policies (1)" in body
    assert reviewed(ROLLED, finding("advisory")).exit_code == 0


def test_a_preview_that_failed_fails_and_says_why() -> None:
    found = reviewed(
        said("kubepark:network.podCidr: was 10.0.0.0/8"), said("a hint", "warning"), outputs({}, {})
    )
    assert (found.exit_code, found.outdated, found.access) == (1, None, None)
    body = review_text.markdown(found)
    assert "### Review of dev: the preview failed" in body
    assert "```\nkubepark:network.podCidr: was 10.0.0.0/8\n```" in body
    assert "a hint" not in body
    assert "price: not known (the preview failed)" in body


def test_secrets_are_never_shown() -> None:
    """What the engine marks, and what is under a name of a secret, in any form of output."""
    old = {"kind": "Secret", "metadata": {"name": "dex-passwords"}, "data": SECRET}
    event = step(
        "update", "kubernetes:core/v1:Secret", "s", old, old | {"data": {"A": "cGxhaW4tdGV4dA=="}}, "data.A"
    )
    plain = step(
        "update",
        "example:index:Thing",
        "t",
        {"clientSecret": "hunter22"},
        {"clientSecret": "hunter23"},
        "clientSecret",
    )
    marked = step("update", "example:index:Thing", "m", {"a": SECRET}, {"a": SECRET}, "a", "a.b")
    found = reviewed(event, plain, marked)
    assert [(each.before, each.after) for change in found.changes for each in change.properties] == [
        ("[secret]", "[secret]")
    ] * 4
    for text in (review_text.markdown(found), review_text.document(found)):
        assert "[secret]" in text
        for leaked in ("cGxhaW4tdGV4dA", "hunter2", "4dabf181", "ciphertext"):
            assert leaked not in text


def test_changed_values_are_told_in_short() -> None:
    (change,) = reviewed(ROLLED).changes
    (found,) = change.properties
    assert (found.path, found.before, found.after) == (
        "spec.template.spec.containers[0].image",
        "dex:1",
        "dex:2",
    )
    long = step("update", DEPLOYMENT, "d", {"spec": {"x": "a\nb"}}, {"spec": {"x": "z" * 500}}, "spec.x")
    (found,) = reviewed(long).changes[0].properties
    assert found.before == "(2 lines)"
    assert len(found.after) == 60


def test_of_a_text_its_changed_lines_are_told_without_secrets() -> None:
    old = "issuer: a\nclients:\n- {id: x, secret: hunter22}\n"
    texts = {"a": old}, {"a": old.replace("issuer: a", "issuer: b").replace("hunter22", "hunter23")}
    found = reviewed(step("update", "kubernetes:core/v1:ConfigMap", "c", *texts, "a"))
    assert found.changes[0].properties[0].lines == (
        "-issuer: a",
        "+issuer: b",
        "-- {id: x, secret: [old secret]}",
        "+- {id: x, secret: [new secret]}",
    )
    assert "        +issuer: b\n" in review_text.markdown(found)
    script = {"a": "#!/bin/sh\nexport T=1\n"}, {"a": "#!/bin/sh\nexport T=2\n"}
    (only,) = (
        reviewed(step("update", "kubernetes:core/v1:ConfigMap", "c", *script, "a")).changes[0].properties
    )
    assert (only.lines, only.before) == ((), "(2 lines)"), "nobody knows what in it is secret"


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("a.b", ("a", "b")),
        ('a["b.c"].d', ("a", "b.c", "d")),
        ("a[0][1].b", ("a", "0", "1", "b")),
        ('["a"].b', ("a", "b")),
    ],
)
def test_property_paths(path: str, expected: tuple[str, ...]) -> None:
    assert parts(path) == expected


def test_a_path_that_leads_nowhere_has_no_value() -> None:
    assert value_at({"a": [1]}, "a[3].b") is None
    assert value_at({"a": "text"}, "a.b") is None


def many(count: int) -> list[dict[str, Any]]:
    """As bad as it gets: long names, long errors, everything of every class."""
    name = "n" * 250
    changes = [
        step(
            "update",
            kind,
            f"{name}{number}",
            {"a": {}},
            {"a": {}},
            *(f'a["{name}{each}"]' for each in range(20)),
        )
        for number in range(count)
        for kind in (DEPLOYMENT, INSTANCE, NAMESPACE, "aws:kms/key:Key", "example:index:Thing")
    ]
    rows = [{"person": name, "namespace": f"{name}{number}", "role": "edit"} for number in range(count)]
    return [
        *changes,
        outputs({}, {"access": rows}),
        *(finding("mandatory", "m" * 9000, f"p{n}") for n in range(count)),
    ]


@pytest.mark.parametrize(
    "events", [many(3), many(60), [said(f"{number} " + "e" * 50_000) for number in range(50)]]
)
def test_a_comment_fits_whatever_there_is(events: list[dict[str, Any]]) -> None:
    body = review_text.markdown(reviewed(*events))
    assert len(body) <= 60_000
    assert body.count("<details") == body.count("</details>")
    assert body.count("```") % 2 == 0


def test_what_is_left_out_is_counted() -> None:
    body = review_text.markdown(reviewed(*many(60)))
    assert "more\n" in body
    assert "**loses data**" not in body, "none of them does"
    assert "**changes who may do what** (60)" in body


def test_nothing_in_a_preview_is_markdown_or_html() -> None:
    """What is neither in a code span nor in a fence is ours."""
    evil = "x`</details><script>@everyone\n# heading\n```\nmore"
    event = step("update", "example:index:Thing", evil, {"a": "1"}, {"a": evil}, "a")
    body = review_text.markdown(reviewed(event, finding("mandatory", evil), said(evil)))
    assert body.count("<script>") == 4, "as error, name (twice) and message"
    fenced = re.sub(r"^(`{3,})(mermaid)?\n.*?\n\1$", "", body, flags=re.MULTILINE | re.DOTALL)
    ours = re.sub(r"(`+)(?!`).*?(?<!`)\1(?!`)", "", fenced)
    assert not re.search(r"script|everyone|heading|more", ours)
    assert ours.count("<details") == ours.count("</details>") == 2


def test_json_has_everything() -> None:
    document = json.loads(review_text.document(reviewed(*ALL, finding("advisory"))))
    assert (document["worst"], document["exitCode"], document["toBeAcknowledged"]) == (
        "data",
        15,
        ["data", "node"],
    )
    assert document["changes"][0] == {
        "effect": "data",
        "operation": "delete",
        "resource": "Namespace chris",
        "reason": "everything in the namespace is deleted, volumes as well",
        "properties": [],
    }
    assert document["policies"][0]["policy"] == "no-ssh"


def test_a_digest_says_what_it_has_and_what_it_has_not() -> None:
    metadata = ROLLED["resourcePreEvent"]["metadata"]
    difference = {path: {"kind": "update", "inputDiff": True} for path in metadata["detailedDiff"]}
    steps = [
        {
            "op": "update",
            "urn": metadata["urn"],
            "oldState": metadata["old"],
            "newState": metadata["new"],
            "detailedDiff": difference,
        }
    ]
    digest = {
        "config": {"kubepark:aws": '{"region": "us-east-1"}'},
        "steps": steps,
        "changeSummary": {"update": 1},
    }
    found = parse(json.dumps(digest, indent=4), "x")
    assert found.steps == preview(ROLLED).steps
    assert (found.findings, found.outputs) == (None, None)


@pytest.mark.parametrize(
    "text", ["", "no JSON", "[]", "3", '{"a": 1}', '{"config": {}, "steps": 3}', '{"sequence": 1}\nnot']
)
def test_what_is_no_preview_is_refused(text: str) -> None:
    with pytest.raises(
        CommandError, match=r"x is (not JSON|no preview).*accepted: what `bin/kubepark preview --json` prints"
    ):
        parse(text, "x")
