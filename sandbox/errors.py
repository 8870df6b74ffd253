"""The one exception of the sandbox that is shown to people as it is, without a traceback."""

from __future__ import annotations


class SandboxError(Exception):
    """Something that the reader can act on. The text is complete: what is wrong and the way out."""
