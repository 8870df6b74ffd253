"""`kubepark review` as a command: forms, codes, and classes that somebody acknowledges."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from cli import main
from cli.errors import CommandError
from cli.review import acknowledgements
from cli.review_effects import Effect
from cli.review_run import previewed
from tests.review_previews import ENDED
from tests.unit.test_review import ALL

ROOT = Path(__file__).parents[2]


def test_classes_are_acknowledged_by_option_and_by_label() -> None:
    assert acknowledgements(["node"], "bug, acknowledge/control-plane") == {Effect.NODE, Effect.CONTROL_PLANE}
    assert acknowledgements([], "acknowledge/everything,data") == set()
    with pytest.raises(CommandError, match="accepted: node, access, control-plane, data"):
        acknowledgements(["pod"], "")


def command(tmp_path: Path, *words: str) -> subprocess.CompletedProcess[str]:
    file = tmp_path / "preview.jsonl"
    file.write_text("\n".join(map(json.dumps, [*ALL, ENDED])), encoding="utf-8")
    return subprocess.run(
        [ROOT / "bin" / "kubepark", "review", "--preview", file, *words],
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize(
    ("words", "code", "first"),
    [
        ((), 15, "sandbox: loses data (1 to delete, 1 to replace, 1 to update)"),
        (("--markdown", "--acknowledge", "data"), 12, "<!-- kubepark review sandbox deployed -->"),
        (("--json", "--labels", "acknowledge/data,acknowledge/node"), 0, "{"),
        (("--markdown", "--json"), 2, ""),
    ],
)
def test_the_command(tmp_path: Path, words: tuple[str, ...], code: int, first: str) -> None:
    done = command(tmp_path, *words)
    assert done.returncode == code, done.stderr
    assert done.stdout.partition("\n")[0] == first


def test_files_that_are_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["review", "--preview", str(tmp_path / "none")]) == 1
    assert capsys.readouterr().err == "error: none cannot be read: No such file or directory\n"
    assert main.main(["review", "--preview", str(tmp_path / "none"), "--base", "main"]) == 1
    assert "one at a time" in capsys.readouterr().err


class Cli:
    """Stands in for the Pulumi CLI: what it prints, and the code with which it ends."""

    def __init__(self, code: int, printed: str) -> None:
        self.ends = (code, printed)

    def collect(self, verb: str, *words: str, **variables: str) -> tuple[int, str]:
        assert (verb, words[0]) == ("preview", "--json")
        assert variables == {"PULUMI_ENABLE_STREAMING_JSON_PREVIEW": "true"}
        return self.ends


@pytest.mark.parametrize(
    ("code", "events", "said"),
    [
        (1, [], "ended with code 1 and showed nothing: see above"),
        (1, [*ALL, ENDED], "ended with code 1: see above"),
        (0, [*ALL], "ends before the preview did"),
    ],
)
def test_a_preview_that_did_not_go_well_is_never_reviewed_as_one(
    code: int, events: list[dict[str, Any]], said: str
) -> None:
    cli: Any = Cli(code, "\n".join(map(json.dumps, events)))
    with pytest.raises(CommandError, match=said):
        previewed(cli, (), ROOT)
    cli = Cli(0, "\n".join(map(json.dumps, [*ALL, ENDED])))
    assert len(previewed(cli, (), ROOT).steps) == 3
