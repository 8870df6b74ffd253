"""The one exception of the command that is shown to people as it is, without a traceback."""

from __future__ import annotations


class CommandError(Exception):
    """Something that the reader can act on. The text is complete: what is wrong and the way out."""
