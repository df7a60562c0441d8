"""The rows of a gmse.json."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from unified_laws.errors import UsageError
from unified_laws.records.files import read_json


def read_gmse_rows(path: str, *needed: str) -> list[dict[str, Any]]:
    """What the gmse module wrote, one row per format.

    Args:
        path: of the JSON file.
        needed: keys that every row must have besides ``format``.

    Raises:
        UsageError: no such file, or it holds something else.
    """
    rows = read_json(Path(path))
    if not isinstance(rows, list) or not all(
        isinstance(row, dict) and {"format", *needed} <= set(row) for row in rows
    ):
        raise UsageError(f"{path} holds no rows of formats; make it with the gmse module")
    return rows
