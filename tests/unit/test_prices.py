"""Price tables: every figure with its source, each once; what is missing is unknown, and never zero."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest
import yaml

from config import prices
from config.prices import FOLDER, UNITS, PriceTableError

REGIONS = sorted(path.stem for path in FOLDER.glob("*.yaml"))


def test_there_are_tables_of_both_regions() -> None:
    assert {"us-east-1", "ap-northeast-2"} <= set(REGIONS)


@pytest.mark.parametrize("region", REGIONS)
def test_every_figure_has_its_source_and_nothing_is_free(region: str) -> None:
    table = prices.load(region)
    assert table.region == region
    assert table.prices.keys() == UNITS.keys()
    for item, price in table.prices.items():
        assert price.url.startswith("https://"), item
        assert date.fromisoformat(price.date) >= date(2024, 1, 1), item
        assert (table.monthly(item) or 0) > 0, item


@pytest.mark.parametrize("region", REGIONS)
def test_a_table_is_written_as_it_is_read(region: str, tmp_path: Path) -> None:
    table = prices.load(region)
    (tmp_path / f"{region}.yaml").write_text(prices.dump(table), encoding="utf-8")
    assert prices.load(region, tmp_path) == table


def test_a_month_has_730_hours() -> None:
    table = prices.load("us-east-1")
    assert table.monthly("m7i.large") == Decimal("73.584")  # 0.1008 * 730
    assert table.monthly(prices.GP3) == Decimal("0.08")
    assert table.monthly(prices.KMS_KEY) == 1


def test_a_region_without_a_table_and_an_unlisted_type_are_unknown() -> None:
    assert prices.load("eu-central-1").monthly("m7i.large") is None
    assert prices.load("us-east-1").monthly("p5.48xlarge") is None


def write(folder: Path, **changes: object) -> None:
    source = {"url": "https://example.org", "date": date(2026, 9, 25), "usd": {"gp3": 0.08}}
    document = {"region": "us-east-1", "prices": [source | changes]}
    (folder / "us-east-1.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({"url": "http://example.org"}, "prices[0].url: http://example.org is not the https URL of a source"),
        ({"url": None}, "prices[0].url: None is not the https URL of a source"),
        ({"date": "soon"}, "prices[0].date: soon is not a day like 2026-09-25"),
        ({"usd": None}, "prices[0]: has no map `usd` of items"),
        ({"usd": {"gp3": 0}}, "prices[0].usd.gp3: 0 is not a price in USD"),
        ({"usd": {"gp3": -1.5}}, "prices[0].usd.gp3: -1.5 is not a price in USD"),
        ({"usd": {"gp3": True}}, "prices[0].usd.gp3: True is not a price in USD"),
        ({"usd": {"gp3": "0.08"}}, "prices[0].usd.gp3: 0.08 is not a price in USD"),
        ({"usd": {"gp3": float("inf")}}, "prices[0].usd.gp3: inf is not a price in USD"),
        ({"usd": {"gp4": 1}}, "prices[0].usd.gp4: is nothing that kubepark pays for; known: t3.medium, "),
    ],
)
def test_what_is_wrong_in_a_table_is_named_with_the_way_out(
    tmp_path: Path, changes: dict[str, object], wrong: str
) -> None:
    write(tmp_path, **changes)
    with pytest.raises(PriceTableError) as raised:
        prices.load("us-east-1", tmp_path)
    first, *others = str(raised.value).splitlines()
    assert first == ("us-east-1.yaml cannot be used; fix: bin/kubepark price --refresh --region us-east-1")
    assert len(others) == 1
    assert others[0].startswith(f"  - {wrong}")


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("prices: [", "is not YAML"),
        ("", "has no list `prices`"),
        ("region: eu-west-1\nprices: []", "has the prices of eu-west-1"),
    ],
)
def test_a_file_that_is_no_table_is_refused(tmp_path: Path, text: str, wrong: str) -> None:
    (tmp_path / "us-east-1.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(PriceTableError, match=wrong):
        prices.load("us-east-1", tmp_path)


def test_an_item_has_one_price(tmp_path: Path) -> None:
    source = {"url": "https://example.org", "date": date(2026, 9, 25), "usd": {"gp3": 0.08}}
    document = {"region": "us-east-1", "prices": [source, source]}
    (tmp_path / "us-east-1.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")
    with pytest.raises(PriceTableError, match=r"prices\[1\]\.usd\.gp3: has a price already"):
        prices.load("us-east-1", tmp_path)
