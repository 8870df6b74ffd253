"""`kubepark price --refresh`: questions to the Price List and answers of its form, and the table of them.

The form: https://docs.aws.amazon.com/awsaccountbilling/latest/aboutv2/using-the-aws-price-list-query-api.html
"""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from cli import main, price_list, stackfile
from cli.errors import CommandError
from cli.price_list import QUERIES
from config import prices
from config.prices import UNITS, Unit

REGION = "ap-northeast-2"
SPELLED = {Unit.HOUR: "Hrs", Unit.GB_MONTH: "GB-Mo", Unit.MONTH: "months"}
Answer = Callable[[str], list[dict[str, Any]]]


def product(item: str, usd: str = "0.1239000000", **changes: Any) -> dict[str, Any]:
    """One product of the list with a price by demand, as the API has it."""
    query, sku = QUERIES[item], "9PBVWSTS82ZCBM8W"
    dimension = {
        "unit": SPELLED[UNITS[item]],
        "beginRange": "0",
        "endRange": "Inf",
        "description": f"${usd} per ...",
        "appliesTo": [],
        "rateCode": f"{sku}.JRTCKXETXF.6YS6EN2CT7",
        "pricePerUnit": {"USD": usd},
    } | changes
    term = {
        "priceDimensions": {dimension["rateCode"]: dimension},
        "sku": sku,
        "effectiveDate": "2026-09-01T00:00:00Z",
        "offerTermCode": "JRTCKXETXF",
        "termAttributes": {},
    }
    attributes = {"usagetype": f"APN2-{query.usage}", "regionCode": REGION, **query.attributes}
    return {
        "product": {"productFamily": "Any", "attributes": attributes, "sku": sku},
        "serviceCode": query.service,
        "terms": {"OnDemand": {f"{sku}.JRTCKXETXF": term}, "Reserved": {}},
        "version": "20260925174521",
        "publicationDate": "2026-09-25T17:45:21Z",
    }


def expected(item: str, **more: str) -> dict[str, Any]:
    wanted = {"regionCode": REGION, **QUERIES[item].attributes}
    filters = [{"Type": "TERM_MATCH", "Field": name, "Value": value} for name, value in wanted.items()]
    return {"ServiceCode": QUERIES[item].service, "Filters": filters, **more}


def client(answer: Answer) -> tuple[Any, Stubber]:
    """A client that is asked for each item once, in their order, and nothing else."""
    pricing = boto3.client(
        "pricing", region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b"
    )
    stub = Stubber(pricing)
    for item in QUERIES:
        listed = [json.dumps(each) for each in answer(item)]
        stub.add_response("get_products", {"FormatVersion": "aws_v1", "PriceList": listed}, expected(item))
    return pricing, stub


def read(answer: Answer) -> prices.PriceTable:
    pricing, stub = client(answer)
    with stub:
        return price_list.read(pricing, REGION)


def test_there_is_a_question_for_everything_that_a_table_may_have() -> None:
    assert QUERIES.keys() == UNITS.keys()


def test_every_price_with_its_source_and_day(tmp_path: Path) -> None:
    table = read(lambda item: [product(item)])
    assert table.prices.keys() == UNITS.keys()
    price = table.prices["m7i.large"]
    assert (price.usd, price.date) == (Decimal("0.1239"), "2026-09-25")
    assert price.url == (
        "https://pricing.us-east-1.amazonaws.com/offers/v1.0/aws/AmazonEC2/current/ap-northeast-2/index.json"
    )
    said = price_list.write(table, prices.path_of(REGION, tmp_path))
    assert said[0] == "new     t3.medium: 0.1239 USD per hour"
    assert said[-1] == f"wrote {REGION}.yaml: {len(UNITS)} prices of {len(UNITS)}"
    assert prices.load(REGION, tmp_path) == table
    assert price_list.write(table, prices.path_of(REGION, tmp_path)) == said[-1:]


def test_what_changed_and_what_has_no_price_is_said(tmp_path: Path) -> None:
    path = prices.path_of(REGION, tmp_path)
    price_list.write(read(lambda item: [product(item)]), path)
    answers = {"m7i.large": [product("m7i.large", "0.2")], "gp3": []}
    table = read(lambda item: answers.get(item, [product(item)]))
    assert price_list.write(table, path)[:-1] == [
        "CHANGED m7i.large: 0.1239 -> 0.2 USD",
        "unknown gp3: the Price List has none (was 0.1239)",
    ]
    assert prices.load(REGION, tmp_path).monthly("gp3") is None


def test_a_file_that_cannot_be_read_is_replaced(tmp_path: Path) -> None:
    path = prices.path_of(REGION, tmp_path)
    path.write_text("prices: [", encoding="utf-8")
    table = read(lambda item: [product(item)])
    price_list.write(table, path)
    assert prices.load(REGION, tmp_path) == table


def other_usage(item: str, usage: str) -> dict[str, Any]:
    found = product(item, "9.0000000000")
    found["product"]["attributes"]["usagetype"] = usage
    return found


@pytest.mark.parametrize(
    ("item", "others"),
    [
        ("natGateway", [other_usage("natGateway", "APN2-RegionalNatGateway-Hours")]),
        ("natGateway", [other_usage("natGateway", "APN2-NatGateway-Bytes")]),
        ("publicIpv4", [other_usage("publicIpv4", "APN2-PublicIPv4:IdleAddress")]),
        ("s3", [product("s3", "9.0000000000", beginRange="51200")]),
        ("kmsKey", [product("kmsKey", "0.0000000000")]),
        ("m7i.large", [product("m7i.large")]),  # the same twice
    ],
)
def test_neighbors_tiers_and_trials_are_not_meant(item: str, others: list[dict[str, Any]]) -> None:
    table = read(lambda each: [*others, product(each)] if each == item else [product(each)])
    assert table.prices[item].usd == Decimal("0.1239")


def test_in_the_first_region_usage_has_no_prefix() -> None:
    def plain(item: str) -> list[dict[str, Any]]:
        found = product(item)
        found["product"]["attributes"]["usagetype"] = QUERIES[item].usage
        return [found]

    assert len(read(plain).prices) == len(UNITS)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (
            [product("t3.medium"), product("t3.medium", "0.5")],
            "AWS's Price List has several prices of t3.medium in ap-northeast-2: 0.1239, 0.5",
        ),
        (
            [product("t3.medium", unit="Quantity")],
            "AWS's Price List has the price of t3.medium per Quantity, not per hour",
        ),
    ],
)
def test_an_answer_that_is_not_clear_is_an_error(answer: list[dict[str, Any]], error: str) -> None:
    with pytest.raises(CommandError) as raised:
        read(lambda item: answer)
    assert str(raised.value) == error


def test_all_pages_are_read() -> None:
    pricing = boto3.client(
        "pricing", region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b"
    )
    with Stubber(pricing) as stub:
        first = {"PriceList": [], "NextToken": "more"}
        stub.add_response("get_products", first, expected("kmsKey"))
        second = {"PriceList": [json.dumps(product("kmsKey"))]}
        stub.add_response("get_products", second, expected("kmsKey", NextToken="more"))
        found = price_list._ask(pricing, REGION, "kmsKey")
    assert found is not None


def test_a_region_that_aws_does_not_have_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(stackfile, "ROOT", tmp_path)
    pricing, stub = client(lambda item: [])
    monkeypatch.setattr(boto3, "Session", lambda: type("Session", (), {"client": lambda *_, **__: pricing})())
    with stub:
        code = main.main(["price", "--refresh", "--region", REGION])
    assert (code, capsys.readouterr().err) == (
        1,
        "error: AWS's Price List has nothing in ap-northeast-2; accepted: a region's code, like ap-northeast-2\n",
    )


def test_without_credentials_there_is_one_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pricing, stub = client(lambda item: [])
    stub.activate()
    monkeypatch.setattr(stub, "_queue", type(stub._queue)())
    stub.add_client_error("get_products", "UnrecognizedClientException", "The token is invalid")
    monkeypatch.setattr(boto3, "Session", lambda: type("Session", (), {"client": lambda *_, **__: pricing})())
    assert main.main(["price", "--refresh", "--region", REGION]) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: AWS's Price List does not answer: An error occurred (UnrecognizedClient")
    assert "may call pricing:GetProducts" in said
