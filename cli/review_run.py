"""The preview that a review runs itself: policies checked, and the engine's events as its output."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cli.errors import CommandError
from cli.operations import checked_by_us
from cli.pulumi import Pulumi
from cli.review_preview import STREAMED, Preview, parse


def previewed(cli: Pulumi, options: Sequence[str], root: Path) -> Preview:
    """Run a preview of the stack with the policies in `root`.

    Raises: CommandError if the CLI shows none, or fails and its events do not say why.
    """
    code, printed = cli.collect("preview", "--json", *checked_by_us(root), *options, **STREAMED)
    if not printed.strip():
        raise CommandError(f"`pulumi preview` ended with code {code} and showed nothing: see above")
    found = parse(printed, "the preview")
    if code != 0 and not found.errors:
        raise CommandError(f"`pulumi preview` ended with code {code}: see above")
    return found
