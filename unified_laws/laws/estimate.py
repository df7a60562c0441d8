"""Joint estimate of the law and of every format's capacity: Huber on log loss, many starts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from unified_laws.errors import UsageError
from unified_laws.laws.loss_law import PARAMETERS, Floats, LossLaw
from unified_laws.laws.newton import Box, Descent, descend, descend_gradually
from unified_laws.laws.objective import (
    ALPHA,
    BETA,
    LOG_E,
    LOG_OF_ZERO,
    NUM_LAW,
    Objective,
    make_objective,
)
from unified_laws.laws.starts import make_starts
from unified_laws.laws.table import RunTable

# Bounds, in units of the geometric means of N and D. Terms of the loss between a millionth of the
# smallest loss and a thousand times it; exponents up to 4 (published: below 1); rho 1e-4 to 1e3.
SMALLEST_TERM, LARGEST_TERM = 1e-6, 1e3
EXPONENTS = (1e-4, 4.0)
CAPACITIES = (1e-4, 1e3)
# Two descents found the same optimum when their objectives agree to this relative tolerance.
SAME_OPTIMUM = 1e-6
# Two least-squares descents met when no parameter differs by more (logarithms and exponents).
SAME_POINT = 1e-3
SMOOTH_STEPS = 100
KINDS = ("huber", "least_squares", "least_absolute")
# Least absolute deviations is Huber this far below any noise of a loss, in units of log loss: the
# sum of absolute residuals then exceeds its minimum by n/2 times this at most.
NEARLY_ABSOLUTE = 1e-6
FIXABLE = {"alpha": ALPHA, "beta": BETA, "E": LOG_E}


@dataclass(frozen=True, eq=False)
class Estimate:
    """The best of many descents.

    Attributes:
        objective: what was minimised.
        box: bounds and held parameters.
        theta: best point in internal units, (p,).
        value: sum of Huber losses of the log residuals there.
        starts: number of descents.
        starts_at_best: how many ended within 1e-6 (relative) of the best value.
        converged: the gradient vanishes at the best point.
        at_bound: names of the parameters that sit at a bound.
    """

    objective: Objective
    box: Box
    theta: Floats
    value: float
    starts: int
    starts_at_best: int
    converged: bool
    at_bound: tuple[str, ...]

    @property
    def law(self) -> LossLaw:
        """The law, with N in parameters and D in tokens."""
        return self.objective.law(self.theta)

    @property
    def log_rho(self) -> Floats:
        """Natural log of the capacity of each of ``objective.formats``."""
        log_rho: Floats = self.theta[NUM_LAW:]
        return log_rho

    @property
    def residuals(self) -> Floats:
        """``log L - log Lhat`` of each run, (n,)."""
        residuals: Floats = self.objective.residuals(self.theta[None])[0]
        return residuals

    @property
    def standardized(self) -> Floats:
        """Log residuals divided by the runs' scales and whitened, (n,)."""
        return self.objective.standardize(self.residuals)

    @property
    def num_free(self) -> int:
        """Parameters that were fitted rather than held."""
        return int((~self.box.held).sum())


def estimate_law(
    table: RunTable,
    *,
    dense: str,
    delta: float,
    starts: int,
    fixed: Mapping[str, float],
    kind: str = "huber",
    scale: Floats | None = None,
) -> Estimate:
    """Fit A, B, E, alpha, beta and one rho per compressed format together.

    The sum (not the mean) of Huber losses of the log residuals is minimised from ``starts`` points
    by damped Newton with the exact Hessian; the lowest is kept. ``dense`` has rho = 1; the others
    may exceed 1.

    Args:
        table: the runs.
        dense: label of the uncompressed format.
        delta: Huber threshold on the log residual; ``inf`` is least squares.
        starts: number of starting points.
        fixed: alpha, beta or E by name, held at the given value.
        kind: "huber", "least_squares" or "least_absolute"; the latter two do not use ``delta``.
        scale: noise of each run relative to the others, (n,); None if all are alike.

    Raises:
        UsageError: an argument is out of range, or there are fewer runs than parameters.
    """
    delta = effective_delta(kind, delta)
    _check_arguments(table, dense=dense, delta=delta, starts=starts, fixed=fixed)
    objective = make_objective(table, dense=dense, delta=delta)
    if scale is not None:
        objective = replace(objective, scale=scale)
    box, held = _make_box(objective, fixed)
    num_free = int((~box.held).sum())
    if objective.num_runs < num_free:
        raise UsageError(
            f"{objective.num_runs} runs cannot determine {num_free} parameters "
            f"({num_free - len(objective.formats)} of the law and one rho for each of "
            f"{len(objective.formats)} compressed formats); at least {num_free} runs are needed: "
            "add runs, drop formats, or fix E, alpha or beta"
        )
    start = make_starts(objective, box, held, starts)
    descent, share = _descend_all(objective, start, box)
    best = int(np.argmin(descent.value))
    value = float(descent.value[best])
    # A perfect fit has an objective of rounding errors: those all count as one optimum.
    limit = value * (1.0 + SAME_OPTIMUM) + 1e-20 * objective.num_runs
    return Estimate(
        objective=objective,
        box=box,
        theta=descent.theta[best],
        value=value,
        starts=starts,
        starts_at_best=int(share[descent.value <= limit].sum()),
        converged=bool(descent.converged[best]),
        at_bound=_at_bound(objective, box, descent.theta[best]),
    )


def _descend_all(
    objective: Objective, start: Floats, box: Box
) -> tuple[Descent, NDArray[np.int64]]:
    """Descend from every start; starts that meet on the way go on as one, counted.

    Least squares first, as it has no kinks; from one least-squares optimum on, the way down to the
    objective's own threshold is the same for all who reached it.
    """
    smooth = replace(objective, delta=math.inf)
    weights = np.ones((len(start), objective.num_runs))
    first = descend(smooth, start, weights, box, max_steps=SMOOTH_STEPS)
    order = np.argsort(first.value, kind="stable")
    chosen: list[int] = []
    count: list[int] = []
    for row in order:
        if chosen and first.converged[row] and first.converged[chosen[-1]]:
            last = chosen[-1]
            near = first.value[row] <= first.value[last] * (1.0 + SAME_OPTIMUM)
            if near and np.abs(first.theta[row] - first.theta[last]).max() < SAME_POINT:
                count[-1] += 1
                continue
        chosen.append(int(row))
        count.append(1)
    descent = descend_gradually(
        objective, first.theta[chosen], weights[: len(chosen)], box, least_squares=False
    )
    return descent, np.array(count, dtype=np.int64)


def effective_delta(kind: str, delta: float) -> float:
    """The Huber threshold that stands for the objective.

    Raises:
        UsageError: unknown objective.
    """
    if kind == "huber":
        return delta
    if kind == "least_squares":
        return math.inf
    if kind == "least_absolute":
        return NEARLY_ABSOLUTE
    raise UsageError(f"objective is {kind!r}; allowed is {', '.join(KINDS)}")


def refine(estimate: Estimate) -> Estimate:
    """The same fit after its objective (or its point) has changed: one descent from its point."""
    weights = np.ones((1, estimate.objective.num_runs))
    descent = descend_gradually(
        estimate.objective, estimate.theta[None], weights, estimate.box, least_squares=False
    )
    theta = descent.theta[0]
    return replace(
        estimate,
        theta=theta,
        value=float(descent.value[0]),
        converged=bool(descent.converged[0]),
        at_bound=_at_bound(estimate.objective, estimate.box, theta),
    )


def _make_box(objective: Objective, fixed: Mapping[str, float]) -> tuple[Box, Floats]:
    num = objective.num_parameters
    smallest = float(objective.log_loss.min())
    low, high = np.full(num, math.log(CAPACITIES[0])), np.full(num, math.log(CAPACITIES[1]))
    low[:ALPHA] = smallest + math.log(SMALLEST_TERM)
    high[:ALPHA] = smallest + math.log(LARGEST_TERM)
    high[LOG_E] = smallest
    low[ALPHA:NUM_LAW], high[ALPHA:NUM_LAW] = EXPONENTS
    held = np.zeros(num)
    is_held = np.zeros(num, dtype=np.bool_)
    for name, value in fixed.items():
        index = FIXABLE[name]
        is_held[index] = True
        if index == LOG_E:
            held[index] = math.log(value) if value > 0 else LOG_OF_ZERO
        else:
            held[index] = value
    return Box(low, high, is_held), held


def _at_bound(objective: Objective, box: Box, theta: Floats) -> tuple[str, ...]:
    names = (*PARAMETERS, *(f"rho of {name}" for name in objective.formats))
    near = ~box.held & ((theta <= box.low + 1e-9) | (theta >= box.high - 1e-9))
    return tuple(name for name, hit in zip(names, near, strict=True) if hit)


def _check_arguments(
    table: RunTable, *, dense: str, delta: float, starts: int, fixed: Mapping[str, float]
) -> None:
    if not delta > 0:
        raise UsageError(
            f"delta is {delta}; allowed is a number above zero (1e-3 is usual), or inf for least "
            "squares"
        )
    if starts < 1:
        raise UsageError(f"starts is {starts}; allowed is at least 1 (200 is usual)")
    if dense not in table.formats:
        raise UsageError(
            f"no run has the dense format {dense!r}; the runs have "
            f"{', '.join(sorted(set(table.formats)))}; say dense=<one of them>"
        )
    for name, value in fixed.items():
        if name not in FIXABLE:
            raise UsageError(
                f"fixed names {name!r}; allowed are {', '.join(FIXABLE)}; rho of the dense format "
                "is always 1"
            )
        smallest = float(table.val_loss.min())
        high = smallest if name == "E" else EXPONENTS[1]
        low_ok = value >= 0 if name == "E" else value >= EXPONENTS[0]
        if not (low_ok and value < high):
            raise UsageError(
                f"fixed sets {name} to {value}; allowed is "
                f"{'0' if name == 'E' else EXPONENTS[0]} up to below {high:.6g}"
                f"{' (the smallest loss)' if name == 'E' else ''}"
            )
