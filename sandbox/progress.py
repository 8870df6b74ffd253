"""One line per long step: rewritten with the elapsed time on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO


@contextmanager
def step(doing: str, done: str, stream: TextIO | None = None) -> Iterator[None]:
    """Show `doing` while the block runs and `done` with the seconds it took when it ends well.

    Goes to standard error, because commands such as `sandbox-env` print data on standard output.
    """
    out = stream or sys.stderr
    begin = time.monotonic()
    finished = threading.Event()
    ticker = threading.Thread(target=_tick, args=(doing, out, begin, finished), daemon=True)
    if out.isatty():
        ticker.start()
    else:
        print(f"{doing} ...", file=out, flush=True)
    try:
        yield
    except BaseException:
        _finish(ticker, finished, out, f"{doing} ... stopped after {_seconds(begin)}")
        raise
    _finish(ticker, finished, out, f"{done} in {_seconds(begin)}")


def _tick(doing: str, out: TextIO, begin: float, finished: threading.Event) -> None:
    while True:
        out.write(f"\r\033[K{doing} ... {_seconds(begin)}")
        out.flush()
        if finished.wait(1.0):
            return


def _finish(ticker: threading.Thread, finished: threading.Event, out: TextIO, text: str) -> None:
    finished.set()
    if ticker.ident is not None:
        ticker.join()
        out.write("\r\033[K")
    print(text, file=out, flush=True)


def _seconds(begin: float) -> str:
    return f"{time.monotonic() - begin:.0f} s"
