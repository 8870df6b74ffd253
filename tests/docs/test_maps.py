"""The maps for newcomers agree with the tree, and each fits a screen."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCREEN = 50  # lines of a page that is one table and one picture
# What a newcomer to the code need not be told about.
UNTOLD = {".git", ".venv", ".sandbox", ".github", ".ci"}
ARCHITECTURE, README, SANDBOX = ROOT / "docs/architecture.md", ROOT / "README.md", ROOT / "sandbox/README.md"


def rows(page: Path, heading: str = "| folder") -> list[str]:
    """The first cells of the table that begins with `heading`."""
    lines = page.read_text(encoding="utf-8").splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith(heading))
    found = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        found.append(line.split("|")[1])
    return found


def named(page: Path) -> set[str]:
    """Every path in the first cells, as it is written there."""
    return {name.rstrip("/") for cell in rows(page) for name in re.findall(r"`([^`]+)`", cell)}


def folders(root: Path) -> set[str]:
    """Folders that hold something of ours."""
    found = {path.name for path in root.iterdir() if path.is_dir() and path.name not in UNTOLD}
    return {name for name in found if not name.startswith((".", "__"))}


@pytest.mark.parametrize("page", [ARCHITECTURE, SANDBOX], ids=["architecture", "sandbox"])
def test_a_map_is_one_screen_with_one_picture(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert text.count("\n") <= SCREEN
    assert text.count("![") + text.count("```mermaid") == 1
    assert len(rows(page)) >= 8


def test_the_readmes_table_of_folders_is_the_tree() -> None:
    assert named(README) == folders(ROOT) | {"__main__.py"}


def test_the_architecture_names_every_folder_of_code() -> None:
    code = {name for name in folders(ROOT) if any((ROOT / name).rglob("*.py"))}
    assert named(ARCHITECTURE) == code | {"__main__.py", "components/incluster"}


def test_the_map_of_the_sandbox_names_what_is_there() -> None:
    files = {path.name for path in (ROOT / "sandbox").glob("*.py") if path.name != "__init__.py"}
    told = named(SANDBOX)
    assert {name for name in told if not (ROOT / "sandbox" / name).exists()} == set()
    assert folders(ROOT / "sandbox") <= told
    assert {name for name in told if name.endswith(".py")} <= files


@pytest.mark.parametrize(
    "page", [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), SANDBOX], ids=lambda p: p.name
)
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8"))
    here = [link for link in links if "://" not in link]
    assert {link for link in here if not (page.parent / link).exists()} == set()
