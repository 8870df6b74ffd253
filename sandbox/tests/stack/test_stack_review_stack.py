"""A review stack from its template to nothing left, in the sandbox."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
import yaml

from sandbox.tests.stack.account import live
from sandbox.tests.stack.project import ROOT, Project

pytestmark = [pytest.mark.sandbox, pytest.mark.slow]


@pytest.fixture
def review(checkout: Project) -> Project:
    """The copy with a template: the repository's, at the sandbox's addresses and with its manifests."""
    own = yaml.safe_load(checkout.stack_file.read_text(encoding="utf-8"))["config"]
    template = yaml.safe_load((ROOT / "Pulumi.review.yaml").read_text(encoding="utf-8"))
    for key in ("aws", "platform", "network", "controlPlane", "manifests"):
        template["config"][f"kubepark:{key}"] = own[f"kubepark:{key}"]
    template["config"]["sandbox:nodes"] = own["sandbox:nodes"]
    (checkout.root / "Pulumi.review.yaml").write_text(yaml.safe_dump(template), encoding="utf-8")
    return checkout


def expires(project: Project) -> str:
    tags = {each["Key"]: each["Value"] for each in project.instance("worker01")["Tags"]}
    assert tags["pull-request"] == "12"
    return str(tags["expires"])


def test_it_is_made_updated_swept_when_its_time_has_come_and_gone_then(review: Project) -> None:
    said = review.ok("review-stack", "up", "12", timeout=400)
    until = expires(review)
    hours = (
        datetime.strptime(until, "%Y-%m-%dT%H:%MZ").replace(tzinfo=UTC) - datetime.now(UTC)
    ).total_seconds()
    assert 23.5 * 3600 < hours <= 24 * 3600
    assert f"pr-12 expires at {until}" in said
    nodes = {item["metadata"]["name"] for item in review.get("nodes")["items"]}
    assert nodes == {"master1", "worker01"}
    assert review.ok("review-stack", "sweep").splitlines()[-1] == f"pr-12: stays until {until}"

    review.ok("review-stack", "up", "12", "--hours", "100")
    assert expires(review) == until, "a push does not prolong it"

    before = live(review)
    assert before["instances"]
    later(review)
    assert "pr-12 is gone" in review.ok("review-stack", "sweep", timeout=400)
    assert {kind: left for kind, left in live(review).items() if left} == {}
    assert not (review.root / "Pulumi.pr-12.yaml").exists()
    assert "pr-12" not in review.ok("review-stack", "sweep"), "it is forgotten"


def later(project: Project) -> None:
    """Its time is up: the state's own record of it says so."""
    file = project.state / "backend" / ".pulumi" / "stacks" / "kubepark" / "pr-12.json"
    document: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    for each in document["checkpoint"]["latest"]["resources"]:
        if each["type"] == "pulumi:providers:aws":
            tags = json.loads(each["inputs"]["defaultTags"])
            tags["tags"]["expires"] = "2026-01-01T00:00Z"
            each["inputs"]["defaultTags"] = json.dumps(tags)
    file.write_text(json.dumps(document), encoding="utf-8")
