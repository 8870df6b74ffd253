"""The recorded changes of a review are still what the program and the engine make of them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from cli import review_text
from cli.review_preview import parse
from cli.review_summary import review
from sandbox.tests.stack.project import ROOT, Project
from sandbox.tests.stack.review_changes import CHANGES, record

pytestmark = pytest.mark.sandbox
FOLDER = ROOT / "tests" / "golden" / "review"


def reviewed(text: str) -> Any:
    """The review, with the names of changed properties alone: some values are random."""
    found = json.loads(review_text.document(review("sandbox", parse(text, "recorded"), "")))
    for change in found["changes"]:
        change["properties"] = [each["path"] for each in change["properties"]]
    return found


def test_each_edit_finds_its_text_once() -> None:
    """Else nobody hears of it before the changes are recorded anew."""
    edits = [edit for change in CHANGES.values() for edit in change.edits]
    assert edits
    assert [
        edit for edit in edits if (ROOT / edit.file).read_text(encoding="utf-8").count(edit.now) != 1
    ] == []


@pytest.mark.skipif(not os.environ.get("KUBEPARK_SOAK"), reason="takes minutes: `make test-long`")
@pytest.mark.parametrize("name", CHANGES)
def test_a_change_is_reviewed_as_recorded(deployed: Project, name: str) -> None:
    recorded = Path(FOLDER / f"{name}.jsonl").read_text(encoding="utf-8")
    assert reviewed(record(deployed, name)) == reviewed(recorded)
