"""What a capacity curve is fitted to: the errors of a format and its measured capacity."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from unified_laws.errors import UsageError
from unified_laws.laws.curve_forms import CurveForm
from unified_laws.laws.loss_law import Floats

SHARED = "all"


@dataclass(frozen=True)
class CurvePoint:
    """One compressed format.

    Attributes:
        format: label.
        type: kind of compression, such as "integer W" or "sparsity W".
        gmse: Gaussian error of the weights, NaN if they are not compressed.
        gmse_activation: Gaussian error of the activations, NaN if they are not compressed.
        rho: measured capacity; NaN if only errors are known.
        stderr: its standard error, NaN if unknown.
    """

    format: str
    type: str
    gmse: float
    gmse_activation: float
    rho: float
    stderr: float


@dataclass(frozen=True)
class Unplaced:
    """A format that is on no curve.

    Attributes:
        format: label.
        reason: why, in words.
    """

    format: str
    reason: str


def operand_errors(points: Sequence[CurvePoint]) -> Floats:
    """Errors of weights and activations, (n, 2), NaN where an operand is not compressed."""
    return np.array([[p.gmse, p.gmse_activation] for p in points], dtype=np.float64).reshape(-1, 2)


def product_value(form: CurveForm, parameters: Floats, errors: Floats) -> Floats:
    """Capacity of n formats: the product of the curve over the compressed operands.

    rho(R1, R2) = rho(R1) rho(R2) (arXiv:2506.01863 §3). With equal errors on both operands this is
    the square of the curve: a tanh through such formats alone has half the C it would have as a
    function of "the" error.
    """
    present = np.isfinite(errors)
    safe = np.where(present, errors, 0.5)
    value = np.where(present, form.value(parameters, safe), 1.0)
    return np.asarray(value.prod(axis=1), dtype=np.float64)


def product_log_gradient(form: CurveForm, parameters: Floats, errors: Floats) -> Floats:
    """Derivatives of log rho by the internal parameters of the form, (n, k)."""
    present = np.isfinite(errors)
    safe = np.where(present, errors, 0.5)
    slope = form.internal_gradient(parameters, safe) / form.value(parameters, safe)[..., None]
    return np.asarray(np.where(present[..., None], slope, 0.0).sum(axis=1), dtype=np.float64)


def make_points(
    rows: Sequence[Mapping[str, Any]],
    types: Mapping[str, str],
    rho: Mapping[str, tuple[float, float]],
    *,
    dense: str,
) -> tuple[tuple[CurvePoint, ...], tuple[Unplaced, ...]]:
    """Join errors, types and capacities by the name of the format.

    Args:
        rows: of gmse.json, with ``format``, ``gmse`` and ``gmse_activation`` (missing or null:
            that operand is not compressed).
        types: format -> kind of compression.
        rho: format -> measured capacity and its standard error; what is not here is no point.
        dense: the uncompressed format, which is no point of a curve.

    Raises:
        UsageError: an error is negative or no number, or a format has two rows.
    """
    found: dict[str, tuple[float, float]] = {}
    for row in rows:
        name = str(row["format"])
        if name in found:
            raise UsageError(f"the GMSE table has {name!r} twice; keep one row per format")
        found[name] = (_error(row, "gmse"), _error(row, "gmse_activation"))
    points, unplaced = [], []
    for name, (capacity, stderr) in rho.items():
        if name == dense:
            continue
        if name not in found:
            unplaced.append(Unplaced(name, "no row in the GMSE table"))
            continue
        weight, activation = (math.nan if error == 0 else error for error in found[name])
        errors = [error for error in (weight, activation) if not math.isnan(error)]
        if not errors:
            unplaced.append(Unplaced(name, "its GMSE is 0: nothing is compressed"))
        elif max(errors) >= 1.0:
            unplaced.append(Unplaced(name, f"its GMSE is {max(errors):.3g}, at least 1"))
        elif not (math.isfinite(capacity) and capacity > 0):
            unplaced.append(Unplaced(name, f"its rho is {capacity}"))
        else:
            kind = types.get(name, "unknown")
            points.append(CurvePoint(name, kind, weight, activation, capacity, stderr))
    return tuple(points), tuple(unplaced)


def _error(row: Mapping[str, Any], key: str) -> float:
    value = row.get(key)
    if value is None:
        return 0.0
    if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
        raise UsageError(
            f"the GMSE table has {key} = {value!r} for {row['format']!r}; allowed is a number of "
            "at least 0, or null for an operand that is not compressed"
        )
    return float(value)
