"""The renderer for a terminal: colour, and below the log the steps that run right now."""

from __future__ import annotations

import time
from typing import TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from sandbox.driver.events import OPERATIONS
from sandbox.driver.render import Renderer

SHOWN = 8  # running steps listed; the rest is counted


class TerminalRenderer(Renderer):
    """`Renderer` with rich. The live list is redrawn four times a second and leaves no trace."""

    def __init__(self, stream: TextIO, *, show_diff: bool = False) -> None:
        super().__init__(stream, show_diff=show_diff)
        self._console = Console(file=stream, highlight=False, soft_wrap=True)
        self._live = Live(get_renderable=self._draw, console=self._console, transient=True)
        self._live.start()

    def write(self, line: str, style: str = "") -> None:
        self._console.print(Text(line, style=style))

    def close(self) -> None:
        self._live.stop()

    def remind(self) -> None:
        """Nothing: the live list shows it."""

    def _draw(self) -> Group:
        now = time.monotonic()
        steps = [(step, now - begun) for step, begun in list(self.running.values()) if step.visible]
        steps.sort(key=lambda item: -item[1])
        lines = [Text(f"{self._clock()}    {self._counts()}", style="bold")]
        for step, seconds in steps[:SHOWN]:
            symbol, plan, _ = OPERATIONS[step.operation]
            lines.append(Text(f"  {seconds:6.1f} s {symbol:>2} {self._what(step)} {plan}", style="cyan"))
        if len(steps) > SHOWN:
            lines.append(Text(f"           and {len(steps) - SHOWN} more", style="cyan"))
        return Group(*lines)

    def _counts(self) -> str:
        done = ", ".join(
            f"{count} {OPERATIONS[op][2]}" for op, count in self._done.items() if op in OPERATIONS
        )
        return done or "working"
