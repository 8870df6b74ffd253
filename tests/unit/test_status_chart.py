"""`kubepark status --chart`: lengths by hand, days without knowledge, colors that can be read."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import pytest

from cli import main
from cli.power_history import History, Version
from cli.status_chart import draw
from cli.status_plan import ANSWERS, ControlPlane, Found, plan
from config.costs import Cost, NodeCost, Pool, StackCost
from config.prices import Price, PriceTable
from tests.unit.park_objects import machine
from tests.unit.test_price_chart import SVG, contrast

NOW = datetime(2026, 11, 28, 12, 0, tzinfo=UTC)
LONG_AGO = NOW - timedelta(days=90)


def usd(amount: int) -> Cost:
    return Cost(Decimal(amount))


def stack(**prices: str) -> StackCost:
    """A worker of 90 USD and 10 parked, a GPU node of 365 (0.5 an hour) and 35 parked, keys of 2."""
    table = PriceTable(
        "us-east-1",
        {
            name: Price(usd=Decimal(price), url="https://x", date="2026-01-01")
            for name, price in prices.items()
        },
    )

    def node(name: str, pool: Pool, disk: int) -> NodeCost:
        return NodeCost(
            name=name, pool=pool, instance=Cost(), disk=usd(disk), address=Cost(), fixed_address=False
        )

    nodes = (node("worker01", Pool.WORKERS, 17), node("gpu01", Pool.GPU, 35))
    return StackCost(table=table, nodes=nodes, keys=usd(2))


def found(cost: StackCost, *, record_hours: float = 1000, gpu: str = "stopped") -> Found:
    versions = (
        Version(at=NOW - timedelta(hours=record_hours), by="ana", parked=frozenset()),
        Version(at=NOW - timedelta(hours=12), by="ana", parked=frozenset({"gpu01"})),
    )
    machines = (machine("gpu01", gpu, made=LONG_AGO), machine("worker01", made=LONG_AGO))
    return Found(
        stack="dev",
        region="us-east-1",
        control_plane=ControlPlane(state=ANSWERS),
        status=plan(cost, machines, History(versions, whole=True), {}, None, NOW),
        differences=(),
        now=NOW,
    )


PRICED = {"m7i.xlarge": "0.1", "g4dn.xlarge": "0.5"}  # 73 and 365 USD a month


def rects(svg: str, kind: str) -> list[tuple[float, float]]:
    found = [each for each in ElementTree.fromstring(svg).iter(f"{SVG}rect") if each.get("class") == kind]
    drawn = [each for each in found if each.get("y") != "42"]  # not the legend's
    return [(float(each.get("width", "")), float(each.get("height", ""))) for each in drawn]


def words(svg: str) -> list[str]:
    return [str(each.text) for each in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def test_bars_tell_what_is_paid_always_now_and_not() -> None:
    """The longest, 400 USD, has 260 pixels. The worker runs, the GPU node is parked."""
    svg = draw(found(stack(**PRICED)))
    assert [width for width, _ in rects(svg, "saved")] == [58.5, 260.0, 1.3]
    assert [width for width, _ in rects(svg, "running")] == [58.5, 22.8, 1.3]
    assert [width for width, _ in rects(svg, "parked")] == [11.0, 22.8, 1.3]
    assert "35.00 now, 400.00 running, 35.00 parked" in words(svg)
    assert "127.00 now, 492.00 running, 54.00 parked" in words(svg)


def test_a_column_for_each_day_of_which_something_is_known() -> None:
    """The record began 60 hours ago; the last 12 hours the GPU node was parked."""
    svg = draw(found(stack(**PRICED), record_hours=60))
    assert rects(svg, "hours") == [(14.0, 40.0), (14.0, 80.0), (14.0, 40.0)]
    assert len(rects(svg, "unknown")) == 27
    said = words(svg)
    assert "GPU nodes ran 48.0 h in the last 30 days, from the power record: 24.00 USD." in said
    assert "Not the whole 30 days: the record began 2026-11-26 00:00 UTC." in said


def test_an_unknown_price_has_no_bar_and_no_zero() -> None:
    svg = draw(found(stack(**{"m7i.xlarge": "0.1"})))
    assert len(rects(svg, "saved")) == 2
    assert "35.00 now, unknown running, 35.00 parked" in words(svg)
    assert any(
        each == "GPU nodes ran 708.0 h in the last 30 days, from the power record: of unknown price."
        for each in words(svg)
    )


def test_it_is_the_same_each_time_and_says_all_of_it_to_who_does_not_see_it() -> None:
    facts = found(stack(**PRICED))
    assert draw(facts) == draw(facts)
    described = str(ElementTree.fromstring(draw(facts)).findtext(f"{SVG}desc"))
    assert "GPU: 35.00 now, 400.00 running, 35.00 parked" in described
    assert "708.0 h in the last 30 days, from the power record: 354.00 USD" in described


def test_nothing_is_drawn_over_something_else_and_all_of_it_is_on_the_page() -> None:
    root = ElementTree.fromstring(draw(found(stack(**PRICED), record_hours=60)))
    height, width = int(root.get("height", "")), int(root.get("width", ""))
    texts = sorted({float(each.get("y", "")) for each in root.iter(f"{SVG}text")})
    assert all(below - above >= 15 for above, below in pairwise(texts))
    assert texts[-1] < height
    right = [
        float(each.get("x", "0")) + float(each.get("width", "0").rstrip("%"))
        for each in root.iter(f"{SVG}rect")
    ]
    assert max(right) <= width
    line = next(root.iter(f"{SVG}line"))
    assert float(line.get("x2", "")) <= width


@pytest.mark.parametrize("dark", [False, True])
def test_what_is_drawn_stands_out_in_light_and_in_dark(dark: bool) -> None:
    """Source: WCAG 2.2, 1.4.11: 3 for parts of pictures."""
    style = str(ElementTree.fromstring(draw(found(stack(**PRICED)))).findtext(f"{SVG}style"))
    parts = re.split(r"@media \(prefers-color-scheme: dark\) \{(.*?)\n  \}", style, flags=re.DOTALL)
    rules = "".join(parts[1::2] if dark else parts[0::2])
    page = re.search(r"\.page \{ fill: #([0-9a-f]+)", rules)
    assert page
    colors = {
        name.strip(): color
        for names, color in re.findall(r"([^{}]+)\{[^}]*?(?:fill|stroke): #([0-9a-f]+)", rules)
        for name in names.split(",")
    }
    for name in (".hours", ".saved", ".unknown", ".ground", ".parked", ".running"):
        assert contrast(colors[name], page[1]) >= 3, name


def test_a_picture_and_a_document_are_not_asked_for_together(tmp_path: Path, capsys) -> None:
    assert main.main(["status", "--stack", "sandbox", "--json", "--chart", str(tmp_path / "x.svg")]) == 1
    assert capsys.readouterr().err == "error: --json and --chart are asked for one at a time\n"
