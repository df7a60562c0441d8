"""The table of runs that a configuration names, read the same way by fit, compare and predict."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from unified_laws.cli.entry import Config
from unified_laws.errors import UsageError

if TYPE_CHECKING:
    from unified_laws.laws.table import RunTable


def read_run_table(config: Config) -> RunTable:
    """The runs of the keys ``runs``, ``columns``, ``dense``, ``allow_repeated``, ``reference``.

    Raises:
        UsageError: ``runs`` has no value, or the file does not hold what a fit needs.
    """
    # scipy takes a second to import: --help goes without.
    from unified_laws.laws.table import read_runs

    return read_runs(
        Path(config["runs"]),
        columns=config["columns"] or {},
        dense=str(config["dense"]),
        allow_repeated=config.get("allow_repeated", False),
        reference=config.get("reference"),
    )


def threshold(value: object) -> float | str:
    """The Huber threshold ``delta``: a number that YAML may have read as text (1e-3), or auto.

    Raises:
        UsageError: it is neither.
    """
    if value == "auto":
        return "auto"
    try:
        return float(str(value))
    except ValueError as error:
        raise UsageError(f"delta is {value!r}; allowed is a number, inf, or auto") from error
