"""The changes of which a review's result is known: `python -m sandbox.tests.stack.review_changes FOLDER [NAME ...]`.

Each is made to a copy of the project whose stack is deployed in the sandbox, and previewed there. What the CLI
says is kept in tests/golden/review as far as a review reads it, without what is of one machine or one run;
tests/unit/test_review_changes.py has the expected results. `make review-changes` records all of them anew.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from sandbox.tests.stack.project import QUICK, Project

STREAMED = {"PULUMI_ENABLE_STREAMING_JSON_PREVIEW": "true"}


@dataclass(frozen=True)
class Edit:
    """In a file of the program, `then` in place of `now`, which is there once."""

    file: str
    now: str
    then: str


@dataclass(frozen=True)
class Recorded:
    """One change: settings by their path, `people` by name, and edits of the program."""

    settings: Mapping[str, Any] = field(default_factory=dict)
    people: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    edits: tuple[Edit, ...] = ()
    new_password: str = ""  # whose


WORKERS: dict[str, dict[str, Any]] = {f"worker0{number}": {} for number in (1, 2, 3)}
CHANGES: Mapping[str, Recorded] = {
    "nothing": Recorded(),
    "node-label-added": Recorded({"kubepark:gpu.labels": {"example.org/team": "research"}}),
    "label-added": Recorded(
        edits=(
            Edit(
                "components/incluster/objects.py",
                '{"app.kubernetes.io/managed-by": PROJECT}',
                '{"app.kubernetes.io/managed-by": PROJECT, "app.kubernetes.io/part-of": PROJECT}',
            ),
        )
    ),
    "tag-added": Recorded({"kubepark:tags": {"cost-center": "ml"}}),
    "worker-type-changed": Recorded(
        {"kubepark:workers.nodes": WORKERS | {"worker02": {"instanceType": "m6i.2xlarge"}}}
    ),
    "master-type-changed": Recorded({"kubepark:controlPlane.instanceType": "m7i.xlarge"}),
    "worker-added": Recorded({"kubepark:workers.nodes": WORKERS | {"worker04": {}}}),
    "worker-removed": Recorded({"kubepark:workers.nodes": {"worker01": {}, "worker02": {}}}),
    "disk-grown": Recorded({"kubepark:workers.nodes": WORKERS | {"worker03": {"volumeGb": 200}}}),
    "node-script-changed": Recorded(
        edits=(
            Edit("userdata/node/refresh_hosts.py", "    if after != before:\n", "    if before != after:\n"),
        )
    ),
    "generation-bumped": Recorded({"kubepark:workers.nodes": WORKERS | {"worker01": {"generation": 2}}}),
    "new-cluster": Recorded(
        {
            "kubepark:controlPlane.generation": 2,
            "kubepark:controlPlane.identity": 2,
            "kubepark:workers.nodes": {name: {"generation": 2} for name in WORKERS},
            "kubepark:gpu.nodes": {"gpu01": {"generation": 2}},
        }
    ),
    "master-protected": Recorded({"kubepark:controlPlane.protected": True}),
    "gpu-taint-changed": Recorded(
        edits=(
            Edit(
                "config/nodes.py",
                'value="present", effect="NoSchedule"',
                'value="present", effect="NoExecute"',
            ),
        )
    ),
    "gpu-absent": Recorded({"kubepark:gpu.power": "absent"}),
    "gpu-shared": Recorded({"kubepark:gpu.timeSlicing": {"replicas": 2}}),
    "person-added": Recorded(people={"dora": {"email": "dora@example.org", "tier": "small"}}),
    "person-removed": Recorded(people={"chris": {"state": "removed", "data": "keep"}}),
    "person-purged": Recorded(people={"chris": {"state": "removed", "data": "purge"}}),
    "person-suspended": Recorded(people={"bo": {"state": "suspended"}}),
    "access-given": Recorded(people={"ana": {"access": {"bo": "edit"}}}),
    "quota-changed": Recorded(people={"chris": {"tier": "medium"}}),
    "pod-security-lowered": Recorded({"kubepark:podSecurity": "privileged"}),
    "admin-address-added": Recorded({"kubepark:network.adminCidrs": ["203.0.113.7/32", "198.51.100.0/24"]}),
    "create-only-setting-changed": Recorded({"kubepark:network.podCidr": "172.20.0.0/16"}),
    "dex-image-changed": Recorded(
        edits=(Edit("config/versions.py", "dexidp/dex:v2.45.1", "dexidp/dex:v2.45.2"),)
    ),
    "node-role-widened": Recorded(
        edits=(
            Edit(
                "components/iam.py",
                '_allow("ReadJoin", "ssm:GetParameter", secrets)',
                '_allow("ReadJoin", ["ssm:GetParameter", "ssm:GetParameterHistory"], secrets)',
            ),
        )
    ),
    "key-renamed": Recorded(
        edits=(Edit("components/keys.py", 'f"{name}-cluster", naming', 'f"{name}-main", naming'),)
    ),
    "policy-violated": Recorded(edits=(Edit("components/instances.py", "_HOPS = 1", "_HOPS = 2"),)),
    # The last: it leaves another password behind.
    "dex-hash-changed": Recorded(new_password="ana"),
}


def record(project: Project, name: str) -> str:
    """What the CLI says of one change, as it is kept. The stack must be deployed."""
    change = CHANGES[name]
    with ExitStack() as changed:
        changed.enter_context(project.changed())
        for path, value in change.settings.items():
            project.set(path, value)
        if change.people:
            project.set("kubepark:people", people(project, change.people))
        for edit in change.edits:
            text = (project.root / edit.file).read_text(encoding="utf-8")
            assert text.count(edit.now) == 1, f"{edit.file}: {edit.now}"
            changed.enter_context(project.edited(project.root / edit.file, text.replace(edit.now, edit.then)))
        if change.new_password:
            project.forget_password(change.new_password)
        return kept(project.printed("preview", "--json", **STREAMED))


def people(project: Project, changes: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The stack's list with changed entries, and new ones at its end."""
    declared = yaml.safe_load(project.stack_file.read_text(encoding="utf-8"))["config"]["kubepark:people"]
    entries = {entry["name"]: entry for entry in declared}
    for name, fields in changes.items():
        entries[name] = {"name": name, **entries.get(name, {}), **fields}
    return list(entries.values())


# -- what is kept ----------------------------------------------------------------------------------

_IDENTIFIES = {
    *("apiVersion", "kind", "metadata", "name", "tags", "assumeRolePolicy"),
    *("instanceType", "rootBlockDevice", "primaryNetworkInterface", "tier"),  # what a price is made of
}
_HALVES = ("create-replacement", "delete-replaced")  # of a replacement
_OUTPUTS = ("access", "outdated_nodes", "people")
_STACK = "pulumi:pulumi:Stack"
_LONGEST = 3000  # characters of a text
_OF_ONE_RUN = (
    (re.compile(r"127\.0\.0\.1:\d+"), "127.0.0.1:4566"),
    (
        re.compile(r"\b(i|vpc|subnet|sg|sgr|eni|eipalloc|rtb|igw|scr)-[0-9a-f]{8,17}\b"),
        r"\1-0123456789abcdef0",
    ),
    (re.compile(r"(key/)[0-9a-f-]{36}"), r"\g<1>00000000-0000-0000-0000-000000000000"),
    (re.compile(r"\b[0-9a-f]{64}\b"), "0" * 64),  # of Dex's configuration, whose passwords are random
)
_SECRETS = re.compile(r"\$2[aby]\$\d\d\$|PRIVATE KEY|client-key-data")


def kept(printed: str) -> str:
    """The events that a review reads, one a line, without what is of one machine or one run."""
    text = "".join(f"{json.dumps(event, sort_keys=True)}\n" for event in _reduced(printed))
    for pattern, instead in _OF_ONE_RUN:
        text = pattern.sub(instead, text)
    assert not _SECRETS.search(text), "a secret is in what the CLI printed"
    return text


def _reduced(printed: str) -> Iterator[dict[str, Any]]:
    for event in map(json.loads, printed.splitlines()):
        for kind in ("policyEvent", "diagnosticEvent"):
            if kind in event and event[kind].get("severity") not in ("debug", "info"):
                yield {"sequence": 0, kind: event[kind]}
        if "summaryEvent" in event:
            yield {
                "sequence": 0,
                "summaryEvent": {"resourceChanges": event["summaryEvent"]["resourceChanges"]},
            }
        if "preludeEvent" in event:
            config = {
                key: value for key, value in event["preludeEvent"]["config"].items() if key == "kubepark:aws"
            }
            yield {"sequence": 0, "preludeEvent": {"config": config}}
        for kind in ("resourcePreEvent", "resOutputsEvent"):
            metadata = event.get(kind, {}).get("metadata")
            if metadata and _is_read(kind, metadata):
                yield {"sequence": 0, kind: {"metadata": _step(metadata)}}


def _is_read(kind: str, metadata: Mapping[str, Any]) -> bool:
    of_stack = metadata["type"] == _STACK
    return of_stack if kind == "resOutputsEvent" else of_stack or metadata["op"] != "same"


def _step(metadata: dict[str, Any]) -> dict[str, Any]:
    changed = {*(metadata.get("keys") or []), *(metadata.get("diffs") or [])}
    changed |= {re.split(r"[.\[]", path)[0] for path in metadata.get("detailedDiff") or {}}
    fields = {
        key: metadata[key]
        for key in ("op", "urn", "type", "keys", "diffs", "detailedDiff")
        if metadata.get(key)
    }
    for side in ("old", "new"):
        if (state := metadata.get(side)) and metadata["op"] not in _HALVES:
            fields[side] = {key: state[key] for key in ("type", "custom", "retainOnDelete") if state.get(key)}
            inputs = state.get("inputs") or {}
            every = metadata["type"].startswith("pulumi:providers:")
            names = set(inputs) if every else _IDENTIFIES | changed
            fields[side]["inputs"] = {name: _short(inputs[name]) for name in sorted(names & set(inputs))}
            if metadata["type"] == _STACK:
                fields[side]["outputs"] = {
                    name: state["outputs"][name] for name in _OUTPUTS if name in state["outputs"]
                }
    return fields


def _short(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _short(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_short(each) for each in value]
    return value[:_LONGEST] if isinstance(value, str) else value


def main(folder: Path, names: list[str]) -> None:
    """Deploy the stack once, and record the changes into `folder`."""
    with tempfile.TemporaryDirectory(prefix="kubepark-") as temporary:
        project = Project(Path(temporary) / "project", nodes="simulated")
        try:
            project.ok("up", *QUICK, timeout=400)
            for name in names or CHANGES:
                (folder / f"{name}.jsonl").write_text(record(project, name), encoding="utf-8")
                print(name, flush=True)
        finally:
            project.stop()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
