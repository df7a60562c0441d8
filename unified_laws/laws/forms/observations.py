"""The runs as every law sees them: centred logarithms, formats as indicators, covariates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from unified_laws.errors import UsageError
from unified_laws.laws.loss_law import Floats
from unified_laws.laws.table import RunTable

# What a law may ask of a run beside N, D and its format, and the value of an uncompressed run.
# NaN: no such value; a law has to leave the dense format out of the term that needs it.
DENSE_VALUE: Mapping[str, float] = {
    "sparsity": 0.0,
    "weight_bits": 16.0,
    "activation_bits": 16.0,
    "group_size": np.nan,
    "exponent_bits": np.nan,
    "mantissa_bits": np.nan,
    "block_size": np.nan,
    "gmse": 0.0,
    "gmse_activation": 0.0,
}


@dataclass(frozen=True, eq=False)
class Observations:
    """n runs.

    Attributes:
        log_params: log N minus its mean, (n,).
        log_tokens: log D minus its mean, (n,).
        log_loss: natural log of the loss, (n,).
        labels: format of each run.
        dense: label of the uncompressed format.
        covariates: further columns, (n,) each, NaN where unknown.
        mean_log_params: what was subtracted from log N.
        mean_log_tokens: what was subtracted from log D.
        warnings: remarks on the rows, one sentence each.
    """

    log_params: Floats
    log_tokens: Floats
    log_loss: Floats
    labels: tuple[str, ...]
    dense: str
    covariates: Mapping[str, Floats]
    mean_log_params: float
    mean_log_tokens: float
    warnings: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.log_loss)

    @cached_property
    def formats(self) -> tuple[str, ...]:
        """The compressed formats by name, whatever the order of the rows."""
        return tuple(sorted(set(self.labels) - {self.dense}))

    def members(self, group: str) -> tuple[str, ...]:
        """Labels that a parameter of ``group`` has one value for."""
        return self.formats if group == "compressed" else (self.dense, *self.formats)

    def one_hot(self, group: str) -> Floats:
        """1 where run i has member m of the group, (n, members); "" stands for all runs."""
        if not group:
            return np.ones((len(self), 1))
        return self._indicators[group]

    @cached_property
    def _indicators(self) -> dict[str, Floats]:
        return {
            group: np.array(
                [[float(label == name) for name in self.members(group)] for label in self.labels]
            ).reshape(len(self), len(self.members(group)))
            for group in ("compressed", "label")
        }

    @cached_property
    def is_dense(self) -> np.ndarray:
        """True where the run is uncompressed, (n,)."""
        return np.array([label == self.dense for label in self.labels])

    def unknown(self, covariate: str) -> int:
        """Number of compressed runs without a value of ``covariate``."""
        values = self.covariates.get(covariate)
        if values is None:
            return int((~self.is_dense).sum())
        return int((np.isnan(values) & ~self.is_dense).sum())

    def covariate(self, name: str) -> Floats:
        """Values of a covariate, (n,), the dense format's own where its runs say nothing."""
        values = self.covariates.get(name, np.full(len(self), np.nan))
        return np.where(np.isnan(values) & self.is_dense, DENSE_VALUE[name], values)

    def varies(self, name: str) -> bool:
        """Whether every compressed run has the covariate and the runs differ in it."""
        if self.unknown(name):
            return False
        values = self.covariate(name)
        return len(set(values[~np.isnan(values)].tolist())) > 1

    def varies_within(self, name: str) -> bool:
        """Whether every compressed run has the covariate and runs of one format differ in it."""
        if self.unknown(name):
            return False
        pairs = zip(self.labels, self.covariate(name).tolist(), strict=True)
        return len({p for p in pairs if p[0] != self.dense}) > len(self.formats)


def observe(
    table: RunTable,
    *,
    dense: str,
    by_format: Mapping[str, Mapping[str, float]] | None = None,
) -> Observations:
    """Observations of a table of runs.

    Args:
        table: the runs, with the covariates that their file has.
        dense: label of the uncompressed format.
        by_format: label -> covariate -> value; fills in what the columns leave open.

    Raises:
        UsageError: no run is dense, a covariate is unknown, or a value is out of range.
    """
    if dense not in table.formats:
        raise UsageError(
            f"no run has the dense format {dense!r}; the runs have "
            f"{', '.join(sorted(set(table.formats)))}; say dense=<one of them>"
        )
    known = {name: values.copy() for name, values in table.covariates.items()}
    for label, values in (by_format or {}).items():
        here = np.array([format == label for format in table.formats])
        for name, value in values.items():
            column = known.setdefault(name, np.full(len(table), np.nan))
            column[here & np.isnan(column)] = value
    for name, column in known.items():
        _check(name, column, table.formats)
    log_params, log_tokens = np.log(table.num_params), np.log(table.num_tokens)
    return Observations(
        log_params=log_params - log_params.mean(),
        log_tokens=log_tokens - log_tokens.mean(),
        log_loss=np.log(table.val_loss),
        labels=table.formats,
        dense=dense,
        covariates=known,
        mean_log_params=float(log_params.mean()),
        mean_log_tokens=float(log_tokens.mean()),
        warnings=table.warnings,
    )


# covariate -> smallest and largest value, both allowed
LIMITS: Mapping[str, tuple[float, float]] = {
    "sparsity": (0.0, 0.9999),
    "weight_bits": (0.5, 64.0),
    "activation_bits": (0.5, 64.0),
    "group_size": (2.0, 1e9),
    "exponent_bits": (0.0, 16.0),
    "mantissa_bits": (0.0, 60.0),
    "block_size": (2.0, 1e9),
    "gmse": (0.0, 0.9999),
    "gmse_activation": (0.0, 0.9999),
}


def _check(name: str, column: Floats, labels: Sequence[str]) -> None:
    if name not in LIMITS:
        raise UsageError(f"{name!r} is no covariate of a law; allowed are {', '.join(LIMITS)}")
    low, high = LIMITS[name]
    bad = ~np.isnan(column) & ~((column >= low) & (column <= high))
    if bad.any():
        first = int(np.argmax(bad))
        raise UsageError(
            f"{name} of a run of {labels[first]} is {column[first]:g}; allowed is {low:g} to "
            f"{high:g}, or nothing where it is unknown"
        )
