"""`kubepark review`: what a change would do to a running cluster, short enough to be read."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cli import pulumi, review_comment, review_text
from cli.errors import CommandError
from cli.price_preview import STDIN
from cli.review_effects import Effect
from cli.review_preview import Preview, parse
from cli.review_run import previewed
from cli.review_summary import BASE, DEPLOYED, Review, review
from cli.stackfile import config_of, setting
from config import ROOT
from config.naming import PROJECT

_ACKNOWLEDGED = tuple(effect for effect in Effect if effect > Effect.POD)


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is asked for. `options`: of `pulumi preview`; `labels`: of a pull request."""

    file: Path | None
    base: str | None
    form: str  # terminal, markdown or json
    acknowledged: Sequence[str]
    labels: str
    comment: bool
    options: Sequence[str]


def run(stack: str, request: Request) -> int:
    """Print the review of a preview, and give its exit code. Raises: CommandError."""
    acknowledged = acknowledgements(request.acknowledged, request.labels)
    preview, notes = _preview(stack, request)
    region = str(setting(config_of(stack), f"{PROJECT}:aws.region") or "")
    against = BASE if request.base else DEPLOYED
    found = review(stack, preview, region, acknowledged=acknowledged, notes=notes, against=against)
    _print(found, request.form)
    review_comment.summarize(review_text.markdown(found))
    if request.comment:
        review_comment.post(review_text.markdown(found))
    return found.exit_code


def acknowledgements(words: Iterable[str], labels: str) -> set[Effect]:
    """The classes that options and labels name. Other labels are nobody's business. Raises: CommandError."""
    known = {effect.word: effect for effect in _ACKNOWLEDGED}
    by_label = {review_text.label(effect): effect for effect in _ACKNOWLEDGED}
    if unknown := [word for word in words if word not in known]:
        accepted = ", ".join(known)
        raise CommandError(f"--acknowledge {unknown[0]}: no such class; accepted: {accepted}")
    given = (label.strip() for label in labels.split(","))
    return {known[word] for word in words} | {by_label[label] for label in given if label in by_label}


def _preview(stack: str, request: Request) -> tuple[Preview, Sequence[str]]:
    if request.file and request.base:
        raise CommandError("--preview and --base are asked for one at a time")
    if request.file:
        return _read(request.file), ()
    if request.base:
        from cli import review_base

        return review_base.compared(stack, request.base, request.options)
    with pulumi.on(stack, "preview") as cli:
        return previewed(cli, request.options, ROOT), ()


def _read(file: Path) -> Preview:
    name = "standard input" if file == STDIN else file.name
    try:
        return parse(sys.stdin.read() if file == STDIN else file.read_text(encoding="utf-8"), name)
    except OSError as error:
        raise CommandError(f"{name} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise CommandError(f"{name} is not UTF-8 text (byte {error.start})") from None


def _print(found: Review, form: str) -> None:
    if form == "terminal":
        review_text.show(found)
    else:
        print({"markdown": review_text.markdown, "json": review_text.document}[form](found))
