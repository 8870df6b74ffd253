"""The comment on a pull request, with a stand-in for gh."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from cli import review_comment
from cli.errors import CommandError

BODY = "<!-- kubepark review dev base -->\n### Review of dev: harmless\n"
GH = """#!/bin/sh
# Stands in for gh: notes its arguments and the body, answers a list of comments from $COMMENTS.
echo "$*" >>"$CALLS"
case "$*" in
    *--paginate*) cat "$COMMENTS" ;;
    *) cat >"$BODY"; exit "$CODE" ;;
esac
"""
Post = Callable[..., tuple[list[str], str]]


@pytest.fixture
def post(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Post:
    """Posts a comment; gives gh's calls and the body that it got."""
    (tmp_path / "gh").write_text(GH)
    (tmp_path / "gh").chmod(0o755)
    calls, comments, body = (tmp_path / name for name in ("calls", "comments", "body"))
    given = {"CALLS": str(calls), "COMMENTS": str(comments), "BODY": str(body), "PULL_REQUEST": "7"}
    given |= {
        "GITHUB_REPOSITORY": "team/cluster",
        "GH_TOKEN": "t",
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
    }
    for name, value in given.items():
        monkeypatch.setenv(name, value)

    def call(existing: str = "", code: int = 0) -> tuple[list[str], str]:
        comments.write_text(existing)
        monkeypatch.setenv("CODE", str(code))
        review_comment.post(BODY)
        return calls.read_text().splitlines(), body.read_text()

    return call


def test_the_first_review_makes_a_comment(post: Post) -> None:
    calls, body = post()
    assert calls[1] == "api --silent --method POST repos/team/cluster/issues/7/comments --field body=@-"
    assert body == BODY


def test_the_next_review_edits_it(post: Post) -> None:
    calls, body = post("4711\n4712\n")
    assert calls[1] == "api --silent --method PATCH repos/team/cluster/issues/comments/4711 --field body=@-"
    assert (len(calls), body) == (2, BODY)
    # Only comments of a bot that begin with the marker are ours.
    assert '.user.type == "Bot" and (.body | startswith("<!-- kubepark review dev base -->"))' in calls[0]


def test_a_comment_that_is_refused_is_an_error(post: Post) -> None:
    with pytest.raises(CommandError, match="the comment could not be written"):
        post(code=1)


def test_outside_a_workflow_it_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GITHUB_REPOSITORY", "PULL_REQUEST", "GH_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(CommandError, match="--comment needs GITHUB_REPOSITORY, PULL_REQUEST, GH_TOKEN"):
        review_comment.post(BODY)


def test_a_job_gets_a_summary_and_nobody_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    review_comment.summarize(BODY)
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary"))
    review_comment.summarize(BODY)
    assert (tmp_path / "summary").read_text() == BODY
