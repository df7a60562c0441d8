"""Every format's measured capacity beside its Gaussian error."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from unified_laws.laws.result import LawsResult


@dataclass(frozen=True)
class FormatPoint:
    """One format; NaN where a number is not known.

    Attributes:
        format: label.
        runs: number of training runs behind rho, 0 if it was not trained.
        rho: measured capacity.
        low: lower end of its 95 % interval.
        high: upper end.
        stderr: its standard error.
        gmse: Gaussian error of the weights.
        gmse_stderr: Monte Carlo standard error of that.
        gmse_activation: Gaussian error of the activations, NaN if they are not compressed.
        bits_per_weight: stored bits.
        rho_predicted: capacity that the GMSE predicts.
        dense: this is the uncompressed format, rho = 1 by definition.
    """

    format: str
    runs: int
    rho: float
    low: float
    high: float
    stderr: float
    gmse: float
    gmse_stderr: float
    gmse_activation: float
    bits_per_weight: float
    rho_predicted: float
    dense: bool

    @property
    def on_curve(self) -> bool:
        """Weights alone are compressed, with an error between 0 and 1, and rho was measured."""
        return (
            0.0 < self.gmse < 1.0
            and math.isnan(self.gmse_activation)
            and math.isfinite(self.rho)
            and not self.dense
        )


def _number(row: Mapping[str, Any], key: str) -> float:
    value = row.get(key)
    return math.nan if value is None else float(value)


def join_points(
    laws: LawsResult, gmse_rows: Sequence[Mapping[str, Any]]
) -> tuple[FormatPoint, ...]:
    """All formats of the fit in its order, then those that were only measured, not trained.

    Args:
        laws: the fit.
        gmse_rows: one mapping per format with the keys format, gmse, stderr, gmse_activation,
            bits_per_weight, rho_predicted; missing or None becomes NaN.
    """
    rows = {str(row["format"]): row for row in gmse_rows}
    capacities = {entry.format: entry for entry in laws.capacities}
    found = []
    for name in dict.fromkeys([*capacities, *rows]):
        row, entry = rows.get(name, {}), capacities.get(name)
        found.append(
            FormatPoint(
                format=name,
                runs=entry.runs if entry else 0,
                rho=entry.rho if entry else math.nan,
                low=entry.low if entry else math.nan,
                high=entry.high if entry else math.nan,
                stderr=entry.stderr if entry else math.nan,
                gmse=_number(row, "gmse"),
                gmse_stderr=_number(row, "stderr"),
                gmse_activation=_number(row, "gmse_activation"),
                bits_per_weight=_number(row, "bits_per_weight"),
                rho_predicted=_number(row, "rho_predicted"),
                dense=name == laws.dense,
            )
        )
    return tuple(found)
