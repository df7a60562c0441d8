"""Every law of this folder, found by itself."""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Sequence

import unified_laws.laws.forms as folder
from unified_laws.errors import UsageError
from unified_laws.laws.forms.base import LawForm


@functools.cache
def all_forms() -> dict[str, LawForm]:
    """Name -> law, from the ``LAWS`` of every module here."""
    found: dict[str, LawForm] = {}
    for module in sorted(entry.name for entry in pkgutil.iter_modules(folder.__path__)):
        loaded = importlib.import_module(f"{folder.__name__}.{module}")
        for form in getattr(loaded, "LAWS", ()):
            if form.name in found:
                raise ValueError(f"two laws are called {form.name!r}")
            found[form.name] = form
    return found


def pick_forms(names: Sequence[str] | str) -> tuple[LawForm, ...]:
    """Laws by name; "all" stands for every one.

    Raises:
        UsageError: a name is unknown, or none is given.
    """
    known = all_forms()
    if names == "all":
        return tuple(known.values())
    wanted = [names] if isinstance(names, str) else list(names)
    for name in wanted:
        if name not in known:
            raise UsageError(f"no law is called {name!r}; there are {', '.join(known)}, or all")
    if not wanted:
        raise UsageError(f"no law is named; there are {', '.join(known)}, or all")
    return tuple(known[name] for name in dict.fromkeys(wanted))
