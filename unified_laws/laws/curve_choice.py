"""Which capacity curve predicts a format, and how far it misses."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from unified_laws.laws.capacity_curve import LLAMA_C4
from unified_laws.laws.curve_fit import fit_curve
from unified_laws.laws.curve_forms import curve_form
from unified_laws.laws.curve_points import SHARED, CurvePoint, operand_errors, product_value
from unified_laws.laws.loss_law import Floats
from unified_laws.laws.published.read import read_matrix

FORM = "tanh"
# Its two parameters and one degree of freedom for the spread.
LEAST_FORMATS = 3
# GMSE of the operators of arXiv:2506.01863 §4, by the gmse module: QuEST's grids at 1, 2, 3, 4, 8
# bits, and magnitude top-k at a sparsity in per cent.
BITS_GMSE = {"1": 0.36338, "2": 0.118846, "3": 0.0374397, "4": 0.0115429, "8": 8.78212e-5}
SPARSITY_GMSE = {
    "10": 0.000525,
    "20": 0.004242,
    "25": 0.008347,
    "30": 0.014555,
    "40": 0.035340,
    "50": 0.071326,
    "60": 0.128756,
    "70": 0.216693,
    "75": 0.276393,
    "80": 0.350180,
    "90": 0.560714,
}


@dataclass(frozen=True)
class CurveChoice:
    """A capacity curve and how far it misses capacities.

    Attributes:
        parameters: L, F, C of the tanh curve.
        stderr_log: root mean square of log(measured / curve), per degree of freedom.
        note: which curve, in words.
    """

    parameters: tuple[float, ...]
    stderr_log: float
    note: str

    def predict(self, errors: Floats) -> Floats:
        """Capacity of formats with these errors of weights and activations, (n,).

        Args:
            errors: (n, 2), NaN where an operand is not compressed; 0 where the error of one exceeds
                1.
        """
        value = product_value(curve_form(FORM), np.array(self.parameters), np.minimum(errors, 1.0))
        found: Floats = np.where((errors >= 1.0).any(axis=1), 0.0, value)
        return found


@functools.cache
def published_points() -> tuple[CurvePoint, ...]:
    """Weights alone, of the paper's own figures: how far its one curve misses its capacities."""
    found = []
    for matrix, index, gmse, kind in (
        ("weight_activation_bits", 0, BITS_GMSE, "integer W"),
        ("weight_bits_sparsity", 0, BITS_GMSE, "integer W"),
        ("weight_bits_sparsity", 1, SPARSITY_GMSE, "sparsity W"),
        ("weight_activation_sparsity", 0, SPARSITY_GMSE, "sparsity W"),
        ("sparsity_absmax_bits", 0, SPARSITY_GMSE, "sparsity W"),
    ):
        content = read_matrix(matrix)
        other = content.dense[1 - index]
        found += [
            CurvePoint(f"{matrix} {cell.levels}", kind, gmse[level], math.nan, cell.rho, math.nan)
            for cell in content.cells
            if cell.levels[1 - index] == other and (level := cell.levels[index]) in gmse
        ]
    return tuple(found)


def choose_curve(type: str, measured: Sequence[CurvePoint]) -> CurveChoice:
    """The most specific curve: of the fit's formats of this type, of all, or the published one.

    Args:
        type: kind of compression of the format to predict, such as ``integer W``.
        measured: the formats of the fit.
    """
    same = [point for point in measured if point.type == type]
    for points, words in ((same, f"{type} formats"), (list(measured), "formats")):
        if len({(p.gmse, p.gmse_activation) for p in points}) < LEAST_FORMATS:
            continue
        fit = fit_curve(points, form=FORM, type=type if points is same else SHARED)
        parameters = tuple(entry.value for entry in fit.parameters)
        spread = _spread(parameters, points, fit.degrees_of_freedom)
        return CurveChoice(parameters, spread, f"the curve of this fit's {len(points)} {words}")
    # Quantizers and sparsifiers miss the one published curve by very different amounts.
    kinds = {part.rpartition(" ")[0] for part in type.split(", ")}
    published = [p for p in published_points() if {p.type.rpartition(" ")[0]} == kinds]
    parameters = (LLAMA_C4.L, LLAMA_C4.F, LLAMA_C4.C)
    points = published or list(published_points())
    spread = _spread(parameters, points, len(points))
    return CurveChoice(parameters, spread, "the published curve (arXiv:2506.01863, Table 3)")


def _spread(parameters: tuple[float, ...], points: Sequence[CurvePoint], freedom: int) -> float:
    curve = CurveChoice(parameters, math.nan, "")
    rho = np.array([point.rho for point in points])
    miss = np.log(rho / np.maximum(curve.predict(operand_errors(points)), 1e-300))
    return float(np.sqrt(np.square(miss).sum() / freedom))
