"""Capacity from the Gaussian error of a format: arXiv:2506.01863, eq. 3."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import least_squares

from unified_laws.errors import UsageError
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
    """A curve fitted to measured capacities.

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
    """Least squares of rho on eq. 3, weighted by ``stderr`` where every one is finite and positive.

    Args:
        gmse: error of each format, strictly between 0 and 1 (dense formats carry no information).
        rho: its measured capacity.
        stderr: standard error of that.
        free_L: fit L too; otherwise L = 1.

    Raises:
        UsageError: lengths differ, a value is out of range, or points are fewer than parameters.
    """
    error, capacity = np.asarray(gmse, dtype=np.float64), np.asarray(rho, dtype=np.float64)
    num_free = 3 if free_L else 2
    if error.shape != capacity.shape or (stderr is not None and len(stderr) != len(error)):
        raise UsageError(
            f"{len(error)} GMSE, {len(capacity)} rho and "
            f"{'no' if stderr is None else len(stderr)} stderr; give one of each per format"
        )
    if not bool(((error > 0) & (error < 1) & (capacity > 0) & np.isfinite(capacity)).all()):
        raise UsageError(
            "a capacity curve needs 0 < GMSE < 1 and rho > 0 for every format; "
            f"got GMSE {list(gmse)} and rho {list(rho)}; leave dense formats out"
        )
    distinct = len(set(error.tolist()))
    if distinct < num_free:
        raise UsageError(
            f"{distinct} compressed format(s) with distinct GMSE cannot determine the "
            f"{num_free} parameters of the capacity curve; measure at least {num_free}"
        )
    weight = np.ones(len(error))
    if stderr is not None:
        spread = np.asarray(stderr, dtype=np.float64)
        if bool((np.isfinite(spread) & (spread > 0)).all()):
            weight = spread.min() / spread

    def curve(theta: Floats) -> CapacityCurve:
        L = math.exp(theta[2]) if free_L else 1.0
        return CapacityCurve(L=L, F=math.exp(theta[0]), C=math.exp(theta[1]))

    def residuals(theta: Floats) -> Floats:
        return weight * (curve(theta).predict(error) - capacity)

    # Around the published values (.25-.52 and .46-4.1 over kinds of compression; papers.md §9).
    starts = [[math.log(f), math.log(c), 0.0] for f in (0.2, 0.41, 0.8) for c in (0.5, 1.4, 4.0)]
    bounds = ([-5.0, -4.0, -4.0][:num_free], [4.0, 4.0, 1.0][:num_free])
    fits = [
        least_squares(residuals, start[:num_free], bounds=bounds, xtol=1e-14, ftol=1e-14)
        for start in starts
    ]
    best = min(fits, key=lambda fit: float(fit.cost))
    found = curve(best.x)
    values = np.array([found.F, found.C, found.L])
    spread_log = np.zeros(3)
    spread_log[:num_free] = math.nan
    freedom = len(error) - num_free
    jacobian = np.asarray(best.jac, dtype=np.float64)
    information = jacobian.T @ jacobian
    if freedom > 0 and np.linalg.cond(information) < 1e14:
        covariance = 2.0 * float(best.cost) / freedom * np.linalg.inv(information)
        spread_log[:num_free] = np.sqrt(np.diag(covariance))
    F_stderr, C_stderr, L_stderr = (float(x) for x in values * spread_log)
    difference = found.predict(error) - capacity
    return CapacityCurveFit(
        curve=found,
        rmse=float(np.sqrt(np.square(difference).mean())),
        points=len(error),
        L_stderr=L_stderr,
        F_stderr=F_stderr,
        C_stderr=C_stderr,
    )
