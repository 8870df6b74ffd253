"""How prices are shown: figures, tables, and what is to be said below them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from cli.errors import CommandError
from config import prices
from config.costs import Cost
from config.prices import PriceTable, PriceTableError

if TYPE_CHECKING:
    from rich.table import Table

NOT_COUNTED = "Not counted: traffic, requests, volumes and load balancers of pods, taxes, discounts."
SPOT_NOTE = "Spot: at most the on-demand price, which is counted. AWS sets the price of the day."


def table_of(region: str) -> PriceTable:
    """The prices of a region. Raises: CommandError if its table cannot be read."""
    try:
        return prices.load(region)
    except PriceTableError as error:
        raise CommandError(str(error)) from None


def amount(cost: Cost, digits: int = 2, *, sign: bool = False) -> str:
    """A figure as it is shown."""
    known = cost.known
    return "unknown" if known is None else f"{known:{'+' if sign else ''},.{digits}f}"


def rounded(cost: Cost, digits: int = 2) -> float | None:
    """A figure in JSON: null if it is unknown."""
    known = cost.known
    return None if known is None else float(round(known, digits))


def notes(table: PriceTable, unknown: Iterable[str]) -> list[str]:
    """What is to be said below figures: how old they are, and what is missing."""
    said = [NOT_COUNTED]
    if table.dates:
        days = " to ".join(dict.fromkeys((table.dates[0], table.dates[-1])))
        said.append(f"Prices of {days}; sources: config/price_tables/{table.region}.yaml")
    if items := sorted(unknown):
        renew = prices.refresh_command(table.region)
        said.append(f"No price is known in {table.region} of: {', '.join(items)}; to ask AWS: {renew}")
    return said


def print_tables(tables: Iterable[Table], lines: Iterable[str]) -> None:
    """Print to a terminal with its colors, and plainly into a pipe."""
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=True)
    for table in tables:
        console.print(table)
        console.print()
    for line in lines:
        console.print(line, markup=False)


def new_table(*headings: str) -> Table:
    """A table of words in the first column and of figures in the others."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="bold")
    for place, heading in enumerate(headings):
        table.add_column(heading, justify="right" if place else "left", no_wrap=True, min_width=len(heading))
    return table
