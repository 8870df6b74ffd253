"""What a stack costs as a picture: a bar for each pool, of which the first part is paid for also while it is
parked. An SVG that follows the reader's light or dark colors, the same for the same figures.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from xml.sax.saxutils import escape

from cli.price_format import amount
from config.costs import Cost, Pool, StackCost, State

WIDTH, ROW, TOP = 760, 34, 76  # pixels
LABEL, BAR = 140, 340  # where bars begin, and the longest
_STYLE = """
  text { fill: #1f2328; font: 13px system-ui, sans-serif } .page { fill: #fff }
  .title { font-size: 15px; font-weight: 600 } .figures, .left { text-anchor: end }
  .parked { fill: #0550ae } .running { fill: #4a8fe7 }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 } .page { fill: #0d1117 } .parked { fill: #b6d8ff } .running { fill: #2f6db5 }
  }
"""


def draw(title: str, cost: StackCost) -> str:
    """The picture of a stack's price a month. A pool of unknown price has words in place of a bar."""
    pools = [(str(pool), cost.of(pool, State.RUNNING), cost.of(pool, State.ALL_PARKED)) for pool in Pool]
    rows = [row for row in pools if row[1] != Cost()]
    both = ("all", cost.sum(State.RUNNING), cost.sum(State.ALL_PARKED))
    longest = max(
        (known for _, running, _ in rows if (known := running.known) is not None), default=Decimal(0)
    )
    height = TOP + ROW * (len(rows) + 1)
    said = [f"{name}: {_figures(running, parked)}" for name, running, parked in (*rows, both)]
    lines = [
        *_legend(),
        *_bars(rows, longest or Decimal(1)),
        f'<text x="{LABEL - 12}" y="{height - 14}" class="left title">all</text>',
        f'<text x="{WIDTH - 16}" y="{height - 14}" class="figures title">{_figures(*both[1:])}</text>',
    ]
    return page(title, f"USD a month. {'; '.join(said)}.", height, lines)


def page(title: str, described: str, height: int, lines: Iterable[str], style: str = "") -> str:
    """An SVG of `lines` below its title. `described`: for who does not see it."""
    whole = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" '
        f'height="{height}" role="img" aria-labelledby="title description">',
        f'<title id="title">{escape(title)}</title>',
        f'<desc id="description">{escape(described)}</desc>',
        f"<style>{_STYLE}{style}</style>",
        '<rect width="100%" height="100%" class="page"/>',
        f'<text x="16" y="26" class="title">{escape(title)}: USD a month</text>',
        *lines,
        "</svg>",
    ]
    return "\n".join(whole) + "\n"


def _legend() -> Iterator[str]:
    for x, name, words in (
        (LABEL, "parked", "paid for also while parked"),
        (340, "running", "while it runs"),
    ):
        yield f'<rect x="{x}" y="42" width="12" height="12" class="{name}"/>'
        yield f'<text x="{x + 18}" y="53">{words}</text>'


def _bars(rows: Sequence[tuple[str, Cost, Cost]], longest: Decimal) -> Iterator[str]:
    for place, (name, running, parked) in enumerate(rows):
        y = TOP + place * ROW
        yield f'<text x="{LABEL - 12}" y="{y + 15}" class="left">{escape(name)}</text>'
        if running.known is not None and parked.known is not None:
            for kind, usd in (("running", running.known), ("parked", parked.known)):
                width = usd / longest * BAR
                yield f'<rect x="{LABEL}" y="{y}" width="{width:.1f}" height="20" rx="2" class="{kind}"/>'
        yield f'<text x="{WIDTH - 16}" y="{y + 15}" class="figures">{_figures(running, parked)}</text>'


def _figures(running: Cost, parked: Cost) -> str:
    return f"{amount(running)} running, {amount(parked)} parked"
