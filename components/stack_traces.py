"""How much of the program's call stack the state keeps of each resource."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

# The SDK's own frames are the first six at most; what is left names the lines of ours that asked for it.
_FRAMES = 8


@contextlib.contextmanager
def limited() -> Iterator[None]:
    """While it lasts, resources are registered with the innermost frames of the stack only.

    The SDK sends all of them with each resource (`_get_stack_trace` in `pulumi/runtime/resource.py`), and the
    engine keeps them in the state, which it writes anew at each step: of 2 kB, a fifth of the state of a
    large cluster, most is paths of the Python that this machine happens to have. The SDK has no setting for
    it, but reads the stack with `traceback.extract_stack()`, which heeds `sys.tracebacklimit`.
    """
    sys.tracebacklimit = _FRAMES
    try:
        yield
    finally:
        del sys.tracebacklimit  # it would cut what is said of an error as well, at the wrong end
