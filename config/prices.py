"""What AWS charges in a region: one file for each in `config/price_tables`, with the source of every figure.

`kubepark price --refresh` writes the same format from AWS's Price List. A figure that is not in the file is
unknown, and is never taken for zero.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

from config import ROOT
from config.instance_types import INSTANCE_TYPES

FOLDER = ROOT / "config" / "price_tables"
MONTH = Decimal(730)  # hours: AWS's own calculator counts a month as these
_TOO_MUCH = 10_000  # USD: a slip of the pen, or infinity


class Unit(StrEnum):
    """What a price is for. A GB-month is a GB of storage, kept for a month."""

    HOUR = "hour"
    MONTH = "month"
    GB_MONTH = "GB-month"


GP3, SNAPSHOT, S3 = "gp3", "snapshot", "s3"
PUBLIC_IPV4, NAT_GATEWAY, NETWORK_LOAD_BALANCER = "publicIpv4", "natGateway", "networkLoadBalancer"
KMS_KEY = "kmsKey"
# Everything that a table may have a price of. Instances are on demand, with Linux, on shared hardware.
UNITS: Mapping[str, Unit] = MappingProxyType(
    {
        **dict.fromkeys(INSTANCE_TYPES, Unit.HOUR),
        GP3: Unit.GB_MONTH,
        SNAPSHOT: Unit.GB_MONTH,
        S3: Unit.GB_MONTH,
        PUBLIC_IPV4: Unit.HOUR,
        NAT_GATEWAY: Unit.HOUR,
        NETWORK_LOAD_BALANCER: Unit.HOUR,
        KMS_KEY: Unit.MONTH,
    }
)


@dataclass(frozen=True, kw_only=True)
class Price:
    """USD for one unit of an item (`UNITS`), as its source says it. `date`: of the figure at the source."""

    usd: Decimal
    url: str
    date: str


@dataclass(frozen=True)
class PriceTable:
    """The prices of a region, by item."""

    region: str
    prices: Mapping[str, Price]

    def monthly(self, item: str) -> Decimal | None:
        """USD for an item that is there all month (of storage: for a GB); None if nobody knows."""
        price = self.prices.get(item)
        if price is None:
            return None
        return price.usd * MONTH if UNITS[item] is Unit.HOUR else price.usd

    @property
    def dates(self) -> tuple[str, ...]:
        """The days that the figures are of, each once, the oldest first."""
        return tuple(sorted({price.date for price in self.prices.values()}))


class PriceTableError(Exception):
    """A table cannot be read. The text names the file, all that is wrong in it and the way out."""


def path_of(region: str, folder: Path = FOLDER) -> Path:
    return folder / f"{region}.yaml"


def refresh_command(region: str) -> str:
    return f"bin/kubepark price --refresh --region {region}"


def load(region: str, folder: Path = FOLDER) -> PriceTable:
    """The table of a region; one without prices if it has no file.

    Raises: PriceTableError.
    """
    path = path_of(region, folder)
    if not path.exists():
        return PriceTable(region, {})
    problems: list[str] = []
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        document = None
        problems.append(" ".join(f"is not YAML: {error}".split()))
    prices = {} if problems else dict(_prices(region, document, problems))
    if problems:
        wrong = "\n".join(f"  - {problem}" for problem in problems)
        raise PriceTableError(f"{path.name} cannot be used; fix: {refresh_command(region)}\n{wrong}")
    return PriceTable(region, prices)


def dump(table: PriceTable) -> str:
    """The text of a table's file: items by their source, in the order of `UNITS`."""
    sources: dict[tuple[str, str], dict[str, float | int]] = {}
    for item in UNITS:
        if price := table.prices.get(item):
            usd = int(price.usd) if price.usd == price.usd.to_integral_value() else float(price.usd)
            sources.setdefault((price.url, price.date), {})[item] = usd
    listed = [
        {"url": url, "date": date.fromisoformat(day), "usd": usd} for (url, day), usd in sources.items()
    ]
    return yaml.safe_dump({"region": table.region, "prices": listed}, sort_keys=False, width=1000)


def _prices(region: str, document: Any, problems: list[str]) -> Iterable[tuple[str, Price]]:
    """The prices of a file, each once; what is wrong is added to `problems`."""
    if not isinstance(document, dict) or not isinstance(document.get("prices"), list):
        problems.append("has no list `prices` of sources, each with url, date and usd")
        return
    if document.get("region") != region:
        problems.append(f"has the prices of {document.get('region')}")
    seen: set[str] = set()
    for place, source in enumerate(document["prices"]):
        where = f"prices[{place}]"
        if not isinstance(source, dict) or not isinstance(source.get("usd"), dict):
            problems.append(f"{where}: has no map `usd` of items")
            continue
        url, day = source.get("url"), source.get("date")
        if not isinstance(url, str) or not url.startswith("https://"):
            problems.append(f"{where}.url: {url} is not the https URL of a source")
        if type(day) is not date:
            problems.append(f"{where}.date: {day} is not a day like 2026-09-25")
        for item, usd in source["usd"].items():
            if wrong := _wrong(item, usd, seen):
                problems.append(f"{where}.usd.{item}: {wrong}")
            else:
                seen.add(item)
                yield item, Price(usd=Decimal(str(usd)), url=str(url), date=str(day))


def _wrong(item: Any, usd: Any, seen: set[str]) -> str:
    if item not in UNITS:
        return f"is nothing that kubepark pays for; known: {', '.join(UNITS)}"
    if item in seen:
        return "has a price already"
    if isinstance(usd, bool) or not isinstance(usd, int | float) or not 0 < usd < _TOO_MUCH:
        return f"{usd} is not a price in USD"
    return ""
