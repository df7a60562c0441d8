"""The table of runs that the laws are fitted to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from unified_laws.errors import UsageError
from unified_laws.laws.rows import Row, read_rows

NEEDED = ("format", "num_params", "num_tokens", "val_loss")
OPTIONAL = ("seed", "status", "epochs", "val_loss_stderr")
# What rival laws ask of a run beside N, D and its format; see laws/forms/observations.py.
COVARIATES = (
    "sparsity",
    "weight_bits",
    "activation_bits",
    "group_size",
    "exponent_bits",
    "mantissa_bits",
    "block_size",
    "gmse",
    "gmse_activation",
)
FINISHED = "finished"
NO_COLUMNS: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True)
class LeftOut:
    """Runs of the file that are not in the table.

    Attributes:
        reason: why, in words.
        runs: how many.
    """

    reason: str
    runs: int


@dataclass(frozen=True, eq=False)
class RunTable:
    """One row per finished run, n rows.

    Attributes:
        formats: label of the compressed format, n strings.
        num_params: non-embedding parameters N, (n,).
        num_tokens: training tokens D, (n,).
        val_loss: validation loss, nats per token, (n,).
        seed: seed of the run, -1 if unknown, (n,).
        epochs: passes over the training data, NaN if unknown, (n,).
        val_loss_stderr: standard error of val_loss in nats, or None if the file has no such column.
            It weights the fit where that is asked for (``weights=val_loss_stderr``).
        left_out: runs of the file that are not here, with reasons.
        warnings: remarks on the rows, one sentence each.
        covariates: those of `COVARIATES` that the file has, NaN where a run leaves it open, (n,).
    """

    formats: tuple[str, ...]
    num_params: NDArray[np.float64]
    num_tokens: NDArray[np.float64]
    val_loss: NDArray[np.float64]
    seed: NDArray[np.int64]
    epochs: NDArray[np.float64]
    val_loss_stderr: NDArray[np.float64] | None = None
    left_out: tuple[LeftOut, ...] = ()
    warnings: tuple[str, ...] = ()
    covariates: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        columns = (self.num_params, self.num_tokens, self.val_loss, self.seed, self.epochs)
        lengths = {len(self.formats), *(len(column) for column in columns)}
        if len(lengths) != 1:
            raise ValueError(f"the columns of a RunTable have different lengths: {sorted(lengths)}")

    def __len__(self) -> int:
        return len(self.formats)


def read_runs(
    path: Path,
    *,
    columns: Mapping[str, str] = NO_COLUMNS,
    dense: str = "bf16",
    allow_repeated: bool = False,
    reference: str | None = None,
) -> RunTable:
    """Read a table of runs from CSV, JSONL or a JSON list.

    Args:
        path: the file; ``.json`` is a list, ``.jsonl`` one object per line, anything else CSV.
        columns: our name -> the file's name, for columns that are called otherwise.
        dense: label of the uncompressed format, which must be present unless there is a reference.
        allow_repeated: keep runs that saw their data more than once (epochs > 1).
        reference: format that stands in with rho = 1 where no run is dense; said in the warnings.

    Raises:
        UsageError: the file cannot be read, a column is missing, a value is impossible, fewer than
            two runs are left, or none of them is dense.
    """
    unknown = sorted(set(columns) - {*NEEDED, *OPTIONAL, *COVARIATES})
    if unknown:
        raise UsageError(
            f"columns= maps {', '.join(unknown)}, but allowed names are "
            f"{', '.join((*NEEDED, *OPTIONAL, *COVARIATES))}; "
            "write it as our name -> the file's name"
        )
    names = {ours: columns.get(ours, ours) for ours in (*NEEDED, *OPTIONAL, *COVARIATES)}
    content = read_rows(path)
    _check_columns(path, content.columns, names, columns)
    left_out: Counter[str] = Counter()
    seen: set[str] = set()
    kept: list[tuple[Row, float]] = []
    for row in content.rows:
        status = row.values.get(names["status"], FINISHED)
        if status != FINISHED:
            left_out[f"status is {status!r}, not {FINISHED!r}"] += 1
            continue
        epochs = row.optional_positive(names["epochs"])
        if epochs > 1.0 and not allow_repeated:
            left_out["repeated data (epochs > 1); allow_repeated keeps them"] += 1
            continue
        # Only a row that says which run it is can be known to be the same run twice.
        content_of_row = repr(row.values)
        if names["seed"] in row.values and content_of_row in seen:
            left_out["the same row, seed and all, as an earlier one"] += 1
            continue
        seen.add(content_of_row)
        kept.append((row, epochs))
    reasons = tuple(LeftOut(reason, runs) for reason, runs in left_out.items())
    table = RunTable(
        formats=tuple(row.label(names["format"]) for row, _ in kept),
        num_params=np.array([row.positive(names["num_params"]) for row, _ in kept]),
        num_tokens=np.array([row.positive(names["num_tokens"]) for row, _ in kept]),
        val_loss=np.array([row.positive(names["val_loss"]) for row, _ in kept]),
        seed=np.array([row.whole(names["seed"], missing=-1) for row, _ in kept], dtype=np.int64),
        epochs=np.array([epochs for _, epochs in kept]),
        val_loss_stderr=(
            np.array([row.optional_positive(names["val_loss_stderr"]) for row, _ in kept])
            if names["val_loss_stderr"] in content.columns
            else None
        ),
        left_out=reasons,
        warnings=_duplicates([row for row, _ in kept], names),
        covariates={
            ours: np.array([row.optional_positive(names[ours]) for row, _ in kept])
            for ours in COVARIATES
            if names[ours] in content.columns
        },
    )
    _check_enough(path, table, dense, reference)
    if dense in table.formats:
        return table
    remark = (
        f"no run of the dense format {dense!r}: every rho is relative to {reference}, whose rho is "
        "set to 1"
    )
    return replace(table, warnings=(remark, *table.warnings))


def baseline(table: RunTable, *, dense: str, reference: str | None) -> str:
    """The format with rho = 1: the dense one, or the reference where no run is dense."""
    return dense if dense in table.formats or reference is None else reference


def _check_columns(
    path: Path, present: tuple[str, ...], names: Mapping[str, str], columns: Mapping[str, str]
) -> None:
    for ours, theirs in names.items():
        if theirs not in present and (ours in NEEDED or ours in columns):
            raise UsageError(
                f"{path} has no column {theirs!r} for {ours}; it has {', '.join(present)}; "
                f"name the right one with columns: {{{ours}: <its name in the file>}}"
            )


def _duplicates(rows: list[Row], names: Mapping[str, str]) -> tuple[str, ...]:
    """A remark where format, N, D and a stated seed occur more than once."""
    if not rows or names["seed"] not in rows[0].values:
        return ()
    keys = [
        tuple(row.values[names[ours]] for ours in ("format", "num_params", "num_tokens", "seed"))
        for row in rows
    ]
    repeated = sum(count - 1 for count in Counter(keys).values())
    if not repeated:
        return ()
    return (
        f"{repeated} of {len(rows)} runs repeat the format, N, D and seed of an earlier one; "
        "they are kept as replicates",
    )


def _check_enough(path: Path, table: RunTable, dense: str, reference: str | None) -> None:
    gone = sum(entry.runs for entry in table.left_out)
    if len(table) < 2:
        why = "".join(f"; {entry.runs} left out: {entry.reason}" for entry in table.left_out)
        raise UsageError(
            f"{path} has {len(table)} usable run(s) of {len(table) + gone}{why}; a law needs "
            "several sizes and several token counts; add runs"
        )
    if baseline(table, dense=dense, reference=reference) not in table.formats:
        present = ", ".join(sorted(set(table.formats)))
        raise UsageError(
            f"{path} has no run of the dense format {dense!r}"
            + (f" nor of the reference {reference!r}" if reference is not None else "")
            + f"; it has {present}; say which of them is uncompressed with dense=<label>, or to "
            "which of them every rho shall be relative with reference=<label>"
        )
