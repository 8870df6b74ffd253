"""What long steps show: bars on a terminal, elsewhere a line at the start and the end of each.

Everything goes to standard error, because commands such as `sandbox-env` print data on standard output.
Standard library only, for the virtualenv is made with it; bars of several steps at once need rich.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

Report = Callable[[float], None]  # takes the share that is done, 0.0 to 1.0
_board: _Board | None = None  # of this process: the steps of all its threads


@contextmanager
def step(doing: str, done: str, stream: TextIO | None = None, weight: float = 0) -> Iterator[Report]:
    """Show `doing` while the block runs and `done` with the seconds it took when it ends well.

    The block may report how far it is. `weight` is the step's part of the whole of a `board`.
    """
    out = stream or sys.stderr
    begin = time.monotonic()
    board = _board or (_Ticker(out) if out.isatty() else _Board(out))
    try:
        with board.row(doing, weight) as report:
            yield report
            report(1.0)
    except BaseException:
        board.say(f"{doing} ... stopped after {_seconds(begin)}")
        raise
    board.say(f"{done} in {_seconds(begin)}")


@contextmanager
def board(doing: str, weight: float) -> Iterator[None]:
    """Show the steps of the block together, whatever threads they run in, each line with the time since now.

    On a terminal there is a bar for each step that runs and one, called `doing`, for the whole, which is
    `weight` of the steps' weights.
    """
    global _board
    if sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb":
        shown: _Board = _Bars(sys.stderr, doing, weight)
    else:
        shown = _Board(sys.stderr, time.monotonic())
    with shown.live():
        _board = shown
        try:
            yield
        finally:
            _board = None


def note(text: str) -> None:
    """One line between those of the steps."""
    (_board or _Board(sys.stderr)).say(text)


class _Board:
    """Lines, each with the time since `begin` if there is one."""

    def __init__(self, out: TextIO, begin: float | None = None) -> None:
        self.out = out
        self.begin = begin

    def live(self) -> AbstractContextManager[object]:
        """In which rows may be shown."""
        return nullcontext()

    @contextmanager
    def row(self, doing: str, weight: float) -> Iterator[Report]:
        """Show a step while the block runs."""
        self.say(f"{doing} ...")
        yield lambda share: None

    def say(self, text: str) -> None:
        self.out.write(f"{self._stamp()}{text}\n")  # in one piece: print() writes the line's end by itself
        self.out.flush()

    def _stamp(self) -> str:
        if self.begin is None:
            return ""
        minutes, seconds = divmod(int(time.monotonic() - self.begin), 60)
        return f"[{minutes:2d}:{seconds:02d}] "


class _Ticker(_Board):
    """One line of a terminal, written anew each second."""

    @contextmanager
    def row(self, doing: str, weight: float) -> Iterator[Report]:
        begin, finished = time.monotonic(), threading.Event()

        def tick() -> None:
            while True:
                self.out.write(f"\r\033[K{doing} ... {_seconds(begin)}")
                self.out.flush()
                if finished.wait(1.0):
                    return

        thread = threading.Thread(target=tick, daemon=True)
        thread.start()
        try:
            yield lambda share: None
        finally:
            finished.set()
            thread.join()
            self.out.write("\r\033[K")


class _Bars(_Board):
    """Rich's live display: the whole first, below it the steps that run."""

    def __init__(self, out: TextIO, doing: str, weight: float) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

        super().__init__(out, time.monotonic())
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TaskProgressColumn(),
            TimeElapsedColumn(),
        )
        self.progress: Progress = Progress(
            *columns, console=Console(file=out), transient=True, refresh_per_second=4
        )
        self.whole: TaskID = self.progress.add_task(doing, total=weight)

    def live(self) -> AbstractContextManager[object]:
        return self.progress

    @contextmanager
    def row(self, doing: str, weight: float) -> Iterator[Report]:
        task = self.progress.add_task(f"  {doing}", total=1.0)
        done = 0.0

        def report(share: float) -> None:
            nonlocal done
            share = max(done, min(share, 1.0))
            self.progress.update(task, completed=share)
            self.progress.advance(self.whole, weight * (share - done))
            done = share

        try:
            yield report
        finally:
            self.progress.remove_task(task)

    def say(self, text: str) -> None:
        self.progress.console.print(self._stamp() + text, markup=False, highlight=False)


def _seconds(begin: float) -> str:
    return f"{time.monotonic() - begin:.0f} s"
