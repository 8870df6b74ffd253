"""`kubepark status --chart`: a bar for each pool, and the hours that GPUs ran in each of the last days."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal
from xml.sax.saxutils import escape

from cli.power_history import DAYS
from cli.price_chart import BAR, LABEL, ROW, TOP, WIDTH, page
from cli.price_format import amount
from cli.status_plan import Found, PoolCost, Status
from cli.status_text import caveats, moment, priced
from config.costs import total

_COLUMN, _HEIGHT = 18, 80  # pixels of a day, and of one in which every GPU node ran all the time
_DAY_HOURS = 24.0
# `.saved` is an outline, `.unknown` a dotted ground: neither is told from the others by its color alone.
_STYLE = """  .saved { fill: none; stroke: #57606a } .hours { fill: #0550ae }
  .unknown { fill: none; stroke: #57606a; stroke-dasharray: 2 3 } .ground { stroke: #57606a }
  @media (prefers-color-scheme: dark) {
    .hours { fill: #b6d8ff } .saved, .unknown, .ground { stroke: #9198a1 }
  }
"""
_LEGEND = (
    (LABEL, "parked", "paid also while parked"),
    (320, "running", "paid because it runs"),
    (490, "saved", "not paid: it is parked"),
)


def draw(found: Found) -> str:
    """The picture. The same for the same facts."""
    status = found.status
    rows = [*status.pools.items()]
    below = TOP + ROW * (len(rows) + 1)
    words = [*_hour_words(status)]
    height = below + ((_HEIGHT + 64 + 18 * len(words)) if words else 0)
    title = f"{found.stack}, {found.region}, {moment(found.now)}"
    said = [f"{name}: {_figures(cost)}" for name, cost in (*rows, ("all", status.sum))]
    described = " ".join([f"USD a month. {'; '.join(said)}.", *words])
    lines = [
        *_legend(),
        *_bars([(str(pool), cost) for pool, cost in rows]),
        f'<text x="{LABEL - 12}" y="{below - 14}" class="left title">all</text>',
        f'<text x="{WIDTH - 16}" y="{below - 14}" class="figures title">{_figures(status.sum)}</text>',
        *(_days(status, below + 26 + _HEIGHT, words) if words else ()),
    ]
    return page(title, described, height, lines, _STYLE)


def _figures(cost: PoolCost) -> str:
    return f"{amount(cost.present)} now, {amount(cost.running)} running, {amount(cost.parked)} parked"


def _legend() -> Iterator[str]:
    for x, name, words in _LEGEND:
        yield f'<rect x="{x}" y="42" width="12" height="12" class="{name}"/>'
        yield f'<text x="{x + 18}" y="53">{words}</text>'


def _bars(rows: Sequence[tuple[str, PoolCost]]) -> Iterator[str]:
    """The longest first, so that what is paid lies on what is not. An unknown price has no bar."""
    known = [cost.running.known for _, cost in rows]
    longest = max((usd for usd in known if usd is not None), default=Decimal(0)) or Decimal(1)
    for place, (name, cost) in enumerate(rows):
        y = TOP + place * ROW
        yield f'<text x="{LABEL - 12}" y="{y + 15}" class="left">{escape(name)}</text>'
        parts = (("saved", cost.running), ("running", cost.present), ("parked", cost.parked))
        if all(each.known is not None for _, each in parts):
            for kind, each in parts:
                width = min(each.monthly, cost.running.monthly) / longest * (BAR - 80)
                yield f'<rect x="{LABEL}" y="{y}" width="{width:.1f}" height="20" rx="2" class="{kind}"/>'
        yield f'<text x="{WIDTH - 16}" y="{y + 15}" class="figures">{_figures(cost)}</text>'


def _hour_words(status: Status) -> Iterator[str]:
    if status.gpus:
        hours = sum(node.hours.total for node in status.gpus if node.hours)
        cost = priced(total(node.cost_of_hours for node in status.gpus))
        yield f"GPU nodes ran {hours:.1f} h in the last {DAYS} days, from the power record: {cost}."
        yield from caveats(status)


def _days(status: Status, ground: int, words: Sequence[str]) -> Iterator[str]:
    """A column for each 24 hours, on one line; dotted where nothing is known."""
    most = _DAY_HOURS * len(status.gpus)
    for place, hours in enumerate(status.daily):
        x = LABEL + place * _COLUMN
        if hours is None:
            yield (f'<rect x="{x}" y="{ground - 6}" width="{_COLUMN - 4}" height="6" class="unknown"/>')
        elif hours:
            tall = min(hours / most, 1) * _HEIGHT
            size = f'width="{_COLUMN - 4}" height="{tall:.1f}"'
            yield f'<rect x="{x}" y="{ground - tall:.1f}" {size} class="hours"/>'
    yield f'<line x1="{LABEL}" y1="{ground}" x2="{LABEL + DAYS * _COLUMN}" y2="{ground}" class="ground"/>'
    yield f'<text x="{LABEL - 12}" y="{ground - 4}" class="left">GPU nodes ran</text>'
    yield f'<text x="{LABEL}" y="{ground + 18}">{DAYS} days ago</text>'
    yield f'<text x="{LABEL + DAYS * _COLUMN}" y="{ground + 18}" class="left">now</text>'
    for place, line in enumerate(words):
        yield f'<text x="16" y="{ground + 48 + 18 * place}">{escape(line)}</text>'
