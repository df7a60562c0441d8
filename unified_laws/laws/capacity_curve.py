"""Capacity from the Gaussian error of a format: arXiv:2506.01863, eq. 3."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from unified_laws.errors import UsageError
from unified_laws.laws.curve_fit import fit_curve
from unified_laws.laws.curve_points import SHARED, CurvePoint
from unified_laws.laws.loss_law import Floats


@dataclass(frozen=True)
class CapacityCurve:
    """``rho(GMSE) = L tanh(F log_{1/4} GMSE)^C`` (arXiv:2506.01863, eq. 3).

    ``log_{1/4} x = -log2(x) / 2`` are the bits of a Gaussian source with that error.

    Attributes:
        L: saturation, the capacity at no error; below 1 for biased estimators.
        F: how fast capacity comes with bits, per bit.
        C: curvature near GMSE = 1.
    """

    L: float
    F: float
    C: float

    def predict(self, gmse: ArrayLike) -> Floats:
        """Capacity at the error ``gmse`` (variance 1); 0 at 1 and above, L at 0.

        Raises:
            UsageError: a value is negative or not a number.
        """
        error = np.asarray(gmse, dtype=np.float64)
        if not bool((error >= 0).all()):
            raise UsageError(f"GMSE is {error.tolist()}; allowed is a number of at least 0")
        with np.errstate(divide="ignore"):
            bits = np.maximum(-0.5 * np.log2(error), 0.0)
        capacity: Floats = self.L * np.tanh(self.F * bits) ** self.C
        return capacity


# arXiv:2506.01863, camera-ready, Table 3 (Llama on C4). The table does not say which kind of
# compression they belong to; one (F, C) does not cover quantization and sparsity together.
LLAMA_C4 = CapacityCurve(L=1.0, F=0.41, C=1.39)
# The same table, OLMo2 on ClimbMix.
OLMO2_CLIMBMIX = CapacityCurve(L=0.84, F=0.37, C=1.24)


@dataclass(frozen=True)
class CapacityCurveFit:
    """A tanh curve fitted to measured capacities.

    Attributes:
        curve: the curve.
        rmse: root mean square difference of rho, unweighted.
        points: number of formats.
        L_stderr: standard error of L, 0 if held, NaN without degrees of freedom.
        F_stderr: standard error of F.
        C_stderr: standard error of C.
    """

    curve: CapacityCurve
    rmse: float
    points: int
    L_stderr: float
    F_stderr: float
    C_stderr: float


def fit_capacity_curve(
    gmse: Sequence[float],
    rho: Sequence[float],
    stderr: Sequence[float] | None = None,
    *,
    free_L: bool = False,
) -> CapacityCurveFit:
    """Eq. 3 through formats of which one operand is compressed; other forms: `curve_fit`.

    Args:
        gmse: error of each format, strictly between 0 and 1 (dense formats carry no information).
        rho: its measured capacity.
        stderr: standard error of that; weights where every one is finite and positive.
        free_L: fit L too; otherwise L = 1.

    Raises:
        UsageError: lengths differ, a value is out of range, or points are fewer than parameters.
    """
    if len(gmse) != len(rho) or (stderr is not None and len(stderr) != len(gmse)):
        raise UsageError(
            f"{len(gmse)} GMSE, {len(rho)} rho and "
            f"{'no' if stderr is None else len(stderr)} stderr; give one of each per format"
        )
    spread = [math.nan] * len(rho) if stderr is None else stderr
    points = [
        CurvePoint(f"GMSE {error:.3g}", SHARED, error, math.nan, capacity, own)
        for error, capacity, own in zip(gmse, rho, spread, strict=True)
    ]
    found = fit_curve(points, form="tanh", type=SHARED, free=("L",) if free_L else ())
    L, F, C = found.parameters
    return CapacityCurveFit(
        curve=CapacityCurve(L=L.value, F=F.value, C=C.value),
        rmse=found.rmse,
        points=len(points),
        L_stderr=L.stderr,
        F_stderr=F.stderr,
        C_stderr=C.stderr,
    )
