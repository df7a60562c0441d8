"""Runs that share a random effect: variance components and generalised least squares.

``log L = log Lhat + b_g + e``: b_g of variance sigma_group^2 is common to the runs of a group, e of
variance sigma_run^2 is each run's own (Laird & Ware, Biometrics 38, 1982; nonlinear fit by
alternating the two: Lindstrom & Bates, Biometrics 46, 1990).
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.stats import chi2

from unified_laws.errors import UsageError
from unified_laws.laws.bootstrap import configurations
from unified_laws.laws.estimate import Estimate, refine
from unified_laws.laws.loss_law import Floats
from unified_laws.laws.table import RunTable

GROUPS = ("block", "configuration")
COMPONENTS = ("reml", "ml")
# Search range of log(sigma_group^2 / sigma_run^2); below it the effect is called zero.
LOG_RATIO = (-9.0, 12.0)
# The alternation stops when log(1 + ratio) moves by less.
SETTLED, MOST_TURNS = 1e-6, 50


@dataclass(frozen=True)
class VarianceComponents:
    """What a random effect of groups of runs amounts to, on the scale of log loss.

    Attributes:
        group: "block" (same N, D and seed) or "configuration" (same format, N and D).
        method: "reml" or "ml".
        sigma_group: standard deviation of the effect shared within a group.
        sigma_run: standard deviation of what is a run's own.
        groups: number of groups.
        largest_group: runs in the largest of them.
        p: chance of such a likelihood without any effect: half a chi-square of one degree, since
            the effect cannot be negative (Self & Liang, JASA 82, 1987, case 5).
    """

    group: str
    method: str
    sigma_group: float
    sigma_run: float
    groups: int
    largest_group: int
    p: float

    @property
    def correlation(self) -> float:
        """Correlation of the noise of two runs of one group."""
        total = self.sigma_group**2 + self.sigma_run**2
        return self.sigma_group**2 / total if total > 0 else math.nan


def label_groups(table: RunTable, group: str) -> list[Hashable]:
    """The group of each run.

    Raises:
        UsageError: unknown kind of group, a seed is missing, or no group has two runs.
    """
    if group not in GROUPS:
        raise UsageError(f"random_effect is {group!r}; allowed is null, {', '.join(GROUPS)}")
    if group == "configuration":
        labels: list[Hashable] = list(configurations(table))
    else:
        if (table.seed < 0).any():
            raise UsageError(
                f"random_effect=block needs the seed of every run, and {(table.seed < 0).sum()} "
                "have none; add a column seed, or set random_effect=null"
            )
        labels = list(
            zip(
                table.num_params.tolist(),
                table.num_tokens.tolist(),
                table.seed.tolist(),
                strict=True,
            )
        )
    if len(set(labels)) == len(labels):
        what = "N, D and seed" if group == "block" else "format, N and D"
        raise UsageError(
            f"random_effect={group} needs runs that share {what}, and no two do; "
            "set random_effect=null"
        )
    return labels


def fit_random_effect(
    estimate: Estimate, labels: Sequence[Hashable], *, group: str, method: str
) -> tuple[Estimate, VarianceComponents]:
    """Alternate between the variance components and the generalised least squares fit.

    Args:
        estimate: the least-squares fit, where the alternation begins.
        labels: group of each run.
        group: kind of group, for the result.
        method: "reml" (unbiased in balanced designs) or "ml".

    Raises:
        UsageError: unknown method, or the estimate is not least squares.
    """
    if method not in COMPONENTS:
        raise UsageError(f"components is {method!r}; allowed is {', '.join(COMPONENTS)}")
    if math.isfinite(estimate.objective.delta):
        raise UsageError(
            "a random effect is fitted by generalised least squares; set "
            "objective=least_squares, or random_effect=null"
        )
    index = np.unique([list(dict.fromkeys(labels)).index(x) for x in labels], return_inverse=True)[
        1
    ]
    members = np.equal.outer(index, index)
    free = ~estimate.box.held
    plain = estimate.objective
    ratio = 0.0
    for _ in range(MOST_TURNS):
        raw = replace(estimate.objective, whiten=None)
        jacobian = raw.jacobian(estimate.theta)[:, free]
        residual = raw.residuals(estimate.theta[None])[0]
        before, ratio = ratio, _best_ratio(residual, jacobian, index, method)
        whiten = None if ratio == 0.0 else _whitener(members, ratio)
        estimate = refine(replace(estimate, objective=replace(plain, whiten=whiten)))
        if abs(math.log1p(ratio) - math.log1p(before)) < SETTLED:
            break
    jacobian = plain.jacobian(estimate.theta)[:, free]
    residual = plain.residuals(estimate.theta[None])[0]
    minus, variance = _criterion(ratio, residual, jacobian, index, method)
    without, _ = _criterion(0.0, residual, jacobian, index, method)
    gain = max(without - minus, 0.0)
    sigma = math.sqrt(variance)
    return estimate, VarianceComponents(
        group=group,
        method=method,
        sigma_group=sigma * math.sqrt(ratio),
        sigma_run=sigma,
        groups=int(index.max()) + 1,
        largest_group=int(np.bincount(index).max()),
        p=0.5 * float(chi2.sf(gain, 1)) if gain > 0 else 1.0,
    )


def _whitener(members: NDArray[np.bool_], ratio: float) -> Floats:
    """``sigma_run V^(-1/2)``: a group's mean is shrunk by ``1 - 1/sqrt(1 + m ratio)``."""
    size = members.sum(axis=1)
    shrink = (1.0 - 1.0 / np.sqrt(1.0 + size * ratio)) / size
    result: Floats = np.eye(len(members)) - members * shrink[:, None]
    return result


def _criterion(
    ratio: float, residual: Floats, jacobian: Floats, index: NDArray[np.int64], method: str
) -> tuple[float, float]:
    """Minus twice the (restricted) log likelihood at its best sigma_run, and sigma_run^2."""
    members = np.equal.outer(index, index)
    whiten = _whitener(members, ratio)
    design, target = whiten @ jacobian, whiten @ residual
    size = np.linalg.norm(design, axis=0)
    design = design / np.where(size > 0, size, 1.0)
    left, values, _ = np.linalg.svd(design, full_matrices=False)
    left, values = left[:, values > 1e-9 * values[0]], values[values > 1e-9 * values[0]]
    remainder = target - left @ (left.T @ target)
    count = len(residual) - (len(values) if method == "reml" else 0)
    variance = float(remainder @ remainder) / count
    log_determinant = float(np.log1p(np.bincount(index) * ratio).sum())
    minus = count * math.log(max(variance, 1e-300)) + log_determinant
    if method == "reml":
        minus += 2.0 * float(np.log(values).sum() + np.log(size[size > 0]).sum())
    return minus, variance


def _best_ratio(residual: Floats, jacobian: Floats, index: NDArray[np.int64], method: str) -> float:
    """sigma_group^2 / sigma_run^2 of the highest likelihood; exactly 0 if that is at zero."""

    def minus(log_ratio: float) -> float:
        return _criterion(math.exp(log_ratio), residual, jacobian, index, method)[0]

    grid = np.linspace(*LOG_RATIO, 43)
    values = [minus(float(x)) for x in grid]
    best = int(np.argmin(values))
    around = (float(grid[max(best - 1, 0)]), float(grid[min(best + 1, len(grid) - 1)]))
    found = minimize_scalar(minus, bounds=around, method="bounded", options={"xatol": 1e-7})
    if _criterion(0.0, residual, jacobian, index, method)[0] <= float(found.fun):
        return 0.0
    return math.exp(float(found.x))
