"""Records of many runs into one table: one row per run, one column per number."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable
from pathlib import Path

from unified_laws.errors import UsageError
from unified_laws.records.record import RunRecord, read_record

# The first four are what `fit` needs; the rest tells a reader where a row comes from.
COLUMNS = (
    "format",
    "num_params",
    "num_tokens",
    "val_loss",
    "seed",
    "status",
    "epochs",
    "val_loss_stderr",
    "val_bits_per_byte",
    "model",
    "label",
    "num_params_total",
    "tokens_per_param",
    "seconds",
    "tokens_per_second",
    "peak_memory_bytes",
    "message",
    "ended",
    "git_commit",
    "run_id",
)


def collect_records(runs_dir: Path) -> list[RunRecord]:
    """Every record below ``runs_dir``, ordered by (format, N, D, seed, run_id).

    Raises:
        UsageError: no such folder, no record in it, or a record is damaged.
    """
    if not runs_dir.is_dir():
        raise UsageError(f"no folder {runs_dir}; give the folder of the runs as runs_dir=DIR")
    records = [read_record(path.parent) for path in runs_dir.glob("*/record.json")]
    if not records:
        raise UsageError(f"{runs_dir} holds no run (no */record.json); train some first")
    return sorted(records, key=lambda r: (r.format, r.num_params, r.num_tokens, r.seed, r.run_id))


def to_csv(records: Iterable[RunRecord]) -> str:
    """The table as CSV text; an absent number is an empty cell, floats keep every digit."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for record in records:
        writer.writerow([_cell(getattr(record, column)) for column in COLUMNS])
    return out.getvalue()


def _cell(value: object) -> object:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return ""
    return repr(value) if isinstance(value, float) else value
