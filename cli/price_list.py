"""`kubepark price --refresh`: the prices of a region as AWS's Price List has them, into its table.

Asked is the Price List Query API. What is filtered by and how an answer looks:
https://docs.aws.amazon.com/awsaccountbilling/latest/aboutv2/using-the-aws-price-list-query-api.html
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from cli.errors import CommandError
from config import prices
from config.files import replace_file
from config.instance_types import INSTANCE_TYPES
from config.prices import UNITS, Price, PriceTable, PriceTableError, Unit

ENDPOINT = "us-east-1"  # of the few regions that answer; it knows the prices of all
_OFFER = "https://pricing.us-east-1.amazonaws.com/offers/v1.0/aws/{service}/current/{region}/index.json"
_HEADER = (
    "# What AWS lists in USD, without taxes and discounts: units are in config/prices.py. `date`: when the\n"
    "# price list was published. Written by `{command}`.\n"
)
# How the Price List spells what a price is for; of months of a key it has several.
_SPELLED = {Unit.HOUR: "hrs", Unit.GB_MONTH: "gb-mo"}
_REGIONAL = {"locationType": "AWS Region"}


@dataclass(frozen=True)
class _Query:
    """Which product of a service is meant: attributes to filter by, and the usage type without its region.

    Services, families and usage types: infracost, internal/resources/aws/; the addresses' from offer files.
    """

    service: str
    usage: str
    attributes: Mapping[str, str] = field(default_factory=dict)


def _instance(name: str) -> _Query:
    """Without each of these, other prices of the type would do as well, even of capacity that is free."""
    kind = {
        "instanceType": name,
        "operatingSystem": "Linux",
        "tenancy": "Shared",
        "preInstalledSw": "NA",
        "capacitystatus": "Used",
        "marketoption": "OnDemand",
        "operation": "RunInstances",
    }
    return _Query("AmazonEC2", f"BoxUsage:{name}", kind)


def _family(name: str, **more: str) -> dict[str, str]:
    return {"productFamily": name, **more}


QUERIES: Mapping[str, _Query] = {
    **{name: _instance(name) for name in INSTANCE_TYPES},
    prices.GP3: _Query("AmazonEC2", "EBS:VolumeUsage.gp3", _family("Storage", volumeApiName="gp3")),
    prices.SNAPSHOT: _Query("AmazonEC2", "EBS:SnapshotUsage", _family("Storage Snapshot")),
    prices.S3: _Query("AmazonS3", "TimedStorage-ByteHrs", _family("Storage", volumeType="Standard")),
    prices.PUBLIC_IPV4: _Query("AmazonVPC", "PublicIPv4:InUseAddress"),
    prices.NAT_GATEWAY: _Query("AmazonEC2", "NatGateway-Hours", _family("NAT Gateway")),
    prices.NETWORK_LOAD_BALANCER: _Query(
        "AWSELB", "LoadBalancerUsage", _family("Load Balancer-Network") | _REGIONAL
    ),
    prices.KMS_KEY: _Query("awskms", "KMS-Keys", _family("Encryption Key")),
}


def run(region: str) -> int:
    """Write the table of a region, and print what became of each price. Raises: CommandError."""
    import boto3
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        table = read(boto3.Session().client("pricing", region_name=ENDPOINT), region)
    except (BotoCoreError, ClientError) as error:
        raise CommandError(
            f"AWS's Price List does not answer: {error}. Needed: credentials (`aws sso login`, AWS_PROFILE, "
            "...) of any account of AWS that may call pricing:GetProducts"
        ) from None
    for line in write(table, prices.path_of(region)):
        print(line)
    return 0


def read(pricing: Any, region: str) -> PriceTable:
    """Ask for every item's price. What has none is left out.

    Raises: CommandError if nothing has one (there is no such region), or if an answer is not clear.
    """
    found = {item: price for item in QUERIES if (price := _ask(pricing, region, item)) is not None}
    if not found:
        raise CommandError(
            f"AWS's Price List has nothing in {region}; accepted: a region's code, like ap-northeast-2"
        )
    return PriceTable(region, found)


def write(table: PriceTable, path: Path) -> list[str]:
    """Replace a table's file; gives a line for each item: what changed, and what has no price.

    A file that cannot be read is replaced like one that is not there.
    """
    try:
        before = prices.load(table.region, path.parent).prices
    except PriceTableError:
        before = {}
    command = prices.refresh_command(table.region)
    replace_file(path, _HEADER.format(command=command) + prices.dump(table), mode=0o644)
    lines = [line for item in UNITS if (line := _change(item, before.get(item), table.prices.get(item)))]
    return [*lines, f"wrote {path.name}: {len(table.prices)} prices of {len(UNITS)}"]


def _change(item: str, before: Price | None, now: Price | None) -> str:
    if now is None:
        return f"unknown {item}: the Price List has none" + (f" (was {before.usd})" if before else "")
    if before is None:
        return f"new     {item}: {now.usd} USD per {UNITS[item]}"
    return "" if before.usd == now.usd else f"CHANGED {item}: {before.usd} -> {now.usd} USD"


def _ask(pricing: Any, region: str, item: str) -> Price | None:
    query = QUERIES[item]
    wanted = {"regionCode": region, **query.attributes}
    filters = [{"Type": "TERM_MATCH", "Field": name, "Value": value} for name, value in wanted.items()]
    pages = pricing.get_paginator("get_products").paginate(ServiceCode=query.service, Filters=filters)
    products = [json.loads(product) for page in pages for product in page["PriceList"]]
    offers = {offer for product in products if _means(product, query) for offer in _offers(product, item)}
    if not offers:
        return None
    if len({usd for usd, _ in offers}) > 1:
        listed = ", ".join(sorted(str(usd) for usd, _ in offers))
        raise CommandError(f"AWS's Price List has several prices of {item} in {region}: {listed}")
    usd, published = max(offers)
    url = _OFFER.format(service=query.service, region=region)
    return Price(usd=usd, url=url, date=published)


def _means(product: Mapping[str, Any], query: _Query) -> bool:
    """By the usage type: `APN2-NatGateway-Hours`, or in us-east-1 without the region before it."""
    usage = product["product"]["attributes"].get("usagetype", "")
    return bool(usage == query.usage or usage.endswith(f"-{query.usage}"))


def _offers(product: Mapping[str, Any], item: str) -> Iterator[tuple[Decimal, str]]:
    """USD and the day of publication, of the first tier; what is free is a trial and no price."""
    published = str(product["publicationDate"])[: len("2026-09-25")]
    spelled = _SPELLED.get(UNITS[item])
    for dimension in _dimensions(product["terms"].get("OnDemand", {}).values()):
        usd = Decimal(dimension["pricePerUnit"].get("USD", "0"))
        if dimension["beginRange"] == "0" and usd > 0:
            if spelled and dimension["unit"].lower() != spelled:
                unit = f"per {dimension['unit']}, not per {UNITS[item]}"
                raise CommandError(f"AWS's Price List has the price of {item} {unit}")
            yield usd.normalize(), published


def _dimensions(terms: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    for term in terms:
        yield from term["priceDimensions"].values()
