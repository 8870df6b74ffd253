"""`kubepark price --chart`: lengths by hand, words in place of an unknown price, colors that can be read."""

from __future__ import annotations

import re
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import pytest

from cli import main, stackfile
from cli.price_chart import draw
from config.costs import Cost as C
from config.costs import NodeCost, Pool, StackCost
from config.prices import PriceTable

SVG = "{http://www.w3.org/2000/svg}"
UNKNOWN = C(unknown=frozenset({"g4dn.xlarge"}))


def node(pool: Pool, instance: C, disk: int) -> NodeCost:
    return NodeCost(
        name="n", pool=pool, instance=instance, disk=C(Decimal(disk)), address=C(), fixed_address=False
    )


def stack(gpu: C = C(Decimal(300))) -> StackCost:  # noqa: B008 - frozen
    nodes = (
        node(Pool.CONTROL_PLANE, C(Decimal(90)), 10),
        node(Pool.WORKERS, C(Decimal(150)), 50),
        node(Pool.GPU, gpu, 100),
    )
    return StackCost(table=PriceTable("us-east-1", {}), nodes=nodes, keys=C(Decimal(2)))


def bars(svg: str, kind: str) -> list[float]:
    rects = ElementTree.fromstring(svg).iter(f"{SVG}rect")
    return [float(each.get("width", "")) for each in rects if each.get("class") == kind and each.get("rx")]


def words(svg: str) -> list[str]:
    return [str(each.text) for each in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def test_bars_are_as_long_as_what_they_cost() -> None:
    """The longest, 400 USD, has 340 pixels."""
    svg = draw("dev", stack())
    assert bars(svg, "running") == [85.0, 170.0, 340.0, 1.7]
    assert bars(svg, "parked") == [8.5, 42.5, 85.0, 1.7]
    assert "400.00 running, 100.00 parked" in words(svg)
    assert words(svg)[-2:] == ["all", "702.00 running, 162.00 parked"]


def test_an_unknown_price_has_no_bar_and_no_zero() -> None:
    svg = draw("dev", stack(UNKNOWN))
    assert len(bars(svg, "running")) == 3
    assert "unknown running, 100.00 parked" in words(svg)
    assert words(svg)[-1] == "unknown running, 162.00 parked"


def test_a_pool_without_nodes_is_not_drawn() -> None:
    whole = stack()
    without = StackCost(table=whole.table, nodes=whole.nodes[:2], keys=whole.keys)
    assert "GPU" in words(draw("dev", whole))
    assert "GPU" not in words(draw("dev", without))


def test_it_is_the_same_each_time_and_names_are_text() -> None:
    assert draw("<a> & b", stack()) == draw("<a> & b", stack())
    root = ElementTree.fromstring(draw("<a> & b", stack()))
    assert root.findtext(f"{SVG}title") == "<a> & b"
    assert "GPU: 400.00 running" in str(root.findtext(f"{SVG}desc")), "for who does not see it"


def luminance(color: str) -> float:
    """Source: WCAG 2.2, relative luminance."""
    digits = color * 2 if len(color) == 3 else color
    parts = [int(digits[place : place + 2], 16) / 255 for place in (0, 2, 4)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("dark", [False, True])
def test_words_and_bars_stand_out_in_light_and_in_dark(dark: bool) -> None:
    """By the thresholds of WCAG 2.2: 4.5 for text (1.4.3), 3 for parts of pictures (1.4.11)."""
    light_style, dark_style = draw("dev", stack()).split("@media (prefers-color-scheme: dark)")
    style = (dark_style if dark else light_style).partition("</style>")[0]
    colors = dict(re.findall(r"([\w.]+) \{ fill: #([0-9a-f]+)", style))
    assert set(colors) == {"text", ".page", ".parked", ".running"}
    assert contrast(colors["text"], colors[".page"]) >= 4.5
    assert contrast(colors[".parked"], colors[".page"]) >= 3
    assert contrast(colors[".running"], colors[".page"]) >= 3


def test_nothing_is_drawn_over_something_else() -> None:
    svg = draw("dev", stack())
    rows = [
        float(each.get("y", "")) for each in ElementTree.fromstring(svg).iter(f"{SVG}rect") if each.get("rx")
    ]
    tops = sorted(set(rows))
    assert all(below - above >= 20 for above, below in pairwise(tops)), "bars are 20 high"


def test_the_command_writes_the_picture_of_a_stack(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(stackfile, "ROOT", tmp_path)
    (tmp_path / "Pulumi.dev.yaml").write_text(
        'config: {"kubepark:aws": {region: us-east-1, accountId: "123456789012"}}'
    )
    file = tmp_path / "cost.svg"
    assert main.main(["price", "--stack", "dev", "--chart", str(file)]) == 0
    assert capsys.readouterr().out == f"wrote {file}\n"
    assert "954.52 running, 40.85 parked" in words(file.read_text(encoding="utf-8")), "as in docs/cost.md"
