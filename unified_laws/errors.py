"""The one error that is written for people."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UsageError(ValueError):
    """A mistake of the user in one line: what was asked, got, is allowed, and what to do.

    The entry modules print its text alone (no traceback) and exit with code 2.
    """


def nearest(word: str, options: Iterable[str]) -> str:
    """``did you mean x? `` for the option that is close to a word; nothing if none is."""
    near = difflib.get_close_matches(word, list(options), n=1)
    return f"did you mean {near[0]}? " if near else ""
