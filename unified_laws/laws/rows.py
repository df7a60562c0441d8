"""Rows of a CSV, JSONL or JSON file, with the place of every value for error messages."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from unified_laws.errors import UsageError


@dataclass(frozen=True)
class Row:
    """One row of a file.

    Attributes:
        place: file and line (or item of a JSON list), for messages.
        values: column name -> text or JSON value.
    """

    place: str
    values: Mapping[str, object]

    def _refuse(self, column: str, allowed: str) -> UsageError:
        value = self.values.get(column)
        got = "nothing" if value is None or value == "" else repr(value)
        return UsageError(
            f"{self.place}: column {column!r} has {got}; allowed is {allowed}; "
            "correct the row or remove it"
        )

    def _number(self, column: str) -> float:
        value = self.values.get(column)
        if isinstance(value, bool) or not isinstance(value, (str, int, float)):
            return math.nan
        try:
            return float(value)
        except (ValueError, OverflowError):
            return math.nan

    def _blank(self, column: str) -> bool:
        return self.values.get(column) in (None, "")

    def label(self, column: str) -> str:
        """A non-empty text."""
        value = self.values.get(column)
        text = str(value).strip() if isinstance(value, (str, int, float)) else ""
        if not text:
            raise self._refuse(column, "a format label")
        return text

    def positive(self, column: str) -> float:
        """A finite number above zero."""
        number = self._number(column)
        if not (math.isfinite(number) and number > 0.0):
            raise self._refuse(column, "a finite number above zero")
        return number

    def optional_positive(self, column: str) -> float:
        """A finite number of at least zero, or NaN where the column or the value is missing."""
        if self._blank(column):
            return math.nan
        number = self._number(column)
        if not (math.isfinite(number) and number >= 0.0):
            raise self._refuse(column, "a finite number of at least zero, or nothing")
        return number

    def whole(self, column: str, *, missing: int) -> int:
        """An integer, or ``missing`` where the column or the value is missing."""
        if self._blank(column):
            return missing
        number = self._number(column)
        if not number.is_integer():
            raise self._refuse(column, "a whole number, or nothing")
        return int(number)


@dataclass(frozen=True)
class Rows:
    """Content of a file.

    Attributes:
        columns: names present, in order.
        rows: the rows, at least one.
    """

    columns: tuple[str, ...]
    rows: tuple[Row, ...]


def read_rows(path: Path) -> Rows:
    """Read ``path``: ``.json`` is a list of objects, ``.jsonl`` one per line, anything else CSV.

    Raises:
        UsageError: missing, unreadable, not UTF-8, empty or malformed.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise UsageError(f"no such file: {path}; give a table of runs (CSV or JSONL)") from error
    except UnicodeDecodeError as error:
        raise UsageError(
            f"{path} is not UTF-8 text (byte {error.start}); save it as a UTF-8 CSV or JSONL"
        ) from error
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}") from error
    if not text.strip():
        raise UsageError(f"{path} is empty; give a table with one row per run")
    if path.suffix == ".json":
        found = _read_list(path, text)
    elif path.suffix in (".jsonl", ".ndjson"):
        found = _read_lines(path, text)
    else:
        return _read_csv(path, text)
    columns = tuple(dict.fromkeys(name for row in found for name in row.values))
    return Rows(columns, found)


def _read_csv(path: Path, text: str) -> Rows:
    reader = csv.DictReader(io.StringIO(text, newline=""), skipinitialspace=True)
    rows = []
    try:
        columns = tuple(name.strip() for name in reader.fieldnames or ())
        reader.fieldnames = list(columns)
        for values in reader:
            place = f"{path}, line {reader.line_num}"
            if None in values:
                raise UsageError(
                    f"{place} has more than the {len(columns)} values of the header; "
                    "correct the row or quote its commas"
                )
            rows.append(Row(place, {k: (v or "").strip() for k, v in values.items()}))
    except csv.Error as error:
        raise UsageError(
            f"{path}, line {reader.line_num} is not CSV ({error}); save it as CSV"
        ) from error
    if not rows:
        raise UsageError(f"{path} has a header and no rows; give a table with one row per run")
    return Rows(columns, tuple(rows))


def _object(place: str, value: object) -> Row:
    if not isinstance(value, dict):
        raise UsageError(
            f"{place} holds a {type(value).__name__}; allowed is one JSON object per run"
        )
    return Row(place, value)


def _read_list(path: Path, text: str) -> tuple[Row, ...]:
    try:
        items = json.loads(text)
    except ValueError as error:
        raise UsageError(f"{path} is not valid JSON ({error}); give a list of objects") from error
    if not isinstance(items, list) or not items:
        raise UsageError(f"{path} must hold a JSON list with one object per run")
    return tuple(_object(f"{path}, item {i}", item) for i, item in enumerate(items, start=1))


def _read_lines(path: Path, text: str) -> tuple[Row, ...]:
    rows = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        place = f"{path}, line {number}"
        try:
            rows.append(_object(place, json.loads(line)))
        except UsageError:
            raise
        except ValueError as error:
            raise UsageError(
                f"{place} is not valid JSON ({error}); write one object per line"
            ) from error
    return tuple(rows)
