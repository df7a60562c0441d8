"""Weighted least squares of log rho on the levels of its factors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm
from scipy.stats import t as student

from unified_laws.laws.factor_design import Design, invert_information
from unified_laws.laws.factor_result import Cell
from unified_laws.laws.loss_law import Floats

LEVEL = 0.95


@dataclass(frozen=True, eq=False)
class LogLinearFit:
    """The fit and what it knows of itself; n cells, p columns.

    Attributes:
        cells: what was fitted.
        matrix: design, (n, p).
        sigma: standard error of log rho up to a common factor, (n,).
        estimate: log factors, (p,).
        covariance: of the estimate, widened where residuals exceed the standard errors, (p, p).
        quantile: half-width of a 95 % interval in standard errors; NaN if noise is unknown.
        residual: (log rho - fit) / sigma, (n,).
        leverage: (n,).
        statistic: sum of squared residuals.
        variance: of the residuals; 1 or more where standard errors are known.
        freedom: n - p.
    """

    cells: tuple[Cell, ...]
    matrix: Floats
    sigma: Floats
    estimate: Floats
    covariance: Floats
    quantile: float
    residual: Floats
    leverage: Floats
    statistic: float
    variance: float
    freedom: int


def fit_log_linear(design: Design, cells: Sequence[Cell], weights: str) -> LogLinearFit:
    """Fit.

    Args:
        design: levels and columns.
        cells: measured, without an uncompressed one that is anchored.
        weights: "stderr", "absolute" or "relative".

    Raises:
        UsageError: the cells do not determine a level.
    """
    rho = np.array([cell.rho for cell in cells])
    stderr = np.array([cell.stderr for cell in cells])
    choices = {"stderr": stderr / rho, "absolute": 1.0 / rho, "relative": np.ones(len(cells))}
    sigma = choices[weights]
    matrix = design.rows([cell.levels for cell in cells])
    inverse = invert_information(matrix / sigma[:, None], design)
    estimate = inverse @ (matrix.T @ (np.log(rho) / sigma**2))
    residual = (np.log(rho) - matrix @ estimate) / sigma
    freedom = len(cells) - matrix.shape[1]
    statistic = float(np.square(residual).sum())
    variance = statistic / freedom if freedom > 0 else math.nan
    if weights == "stderr":
        variance = max(1.0, variance) if freedom > 0 else 1.0
        quantile = float(norm.ppf(0.5 + LEVEL / 2))
    else:
        quantile = float(student.ppf(0.5 + LEVEL / 2, freedom)) if freedom > 0 else math.nan
    return LogLinearFit(
        cells=tuple(cells),
        matrix=matrix,
        sigma=sigma,
        estimate=estimate,
        covariance=inverse * variance,
        quantile=quantile,
        residual=residual,
        leverage=np.einsum("ij,jk,ik->i", matrix, inverse, matrix) / sigma**2,
        statistic=statistic,
        variance=variance,
        freedom=freedom,
    )
