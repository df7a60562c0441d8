"""Profile likelihood: how far a parameter can move before the best of the rest rises too much."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from unified_laws.laws.curvature import in_table_units as covariance_in_table_units
from unified_laws.laws.estimate import Estimate
from unified_laws.laws.loss_law import Floats
from unified_laws.laws.newton import Box, descend_gradually
from unified_laws.laws.objective import ALPHA, BETA, LOG_A, LOG_B, LOG_E, Objective

# Ends are found when the root of the rise is this close to that of the threshold.
CLOSE = 5e-3
MOST_ROUNDS = 40
# Accuracy of each descent, as a share of the rise that is looked for.
ACCURACY = 1e-3
# A point this much lower than the estimate (as a share of the rise) is another optimum.
BETTER = 0.01
# Growth of a step that has not reached the threshold yet.
LEAST_GROWTH, MOST_GROWTH = 1.3, 4.0
# Without a standard error to start from.
FIRST_STEP = 0.1
# The expected move of another coordinate is followed this far.
LONGEST_GUESS = 2.0
# log A and log B beyond this are called infinite (the largest double is e^709).
LARGEST_LOG = 1e3


@dataclass(frozen=True, eq=False)
class Profile:
    """Ends of the profile intervals.

    Attributes:
        low: of log A, log B (table units), E in nats, alpha, beta, log rho, (p,); -inf (0 for E)
            where the objective stays below the threshold down to the bound.
        high: upper ends, (p,); inf where it stays below up to the bound.
        better: a point with a lower objective than the estimate, if one was met, (p,).
    """

    low: Floats
    high: Floats
    better: Floats | None


@dataclass(frozen=True, eq=False)
class _Side:
    """Walks of several parameters at once: one row each."""

    objective: Objective
    box: Box
    theta: Floats
    columns: NDArray[np.int64]
    signs: Floats
    steps: Floats
    directions: Floats
    centred: bool


def profile_intervals(
    estimate: Estimate,
    covariance: Floats,
    stderr: Floats,
    *,
    rise: float,
    quantile: float,
    only: Sequence[int] | None = None,
) -> Profile:
    """Where the profile of each free parameter has risen by ``rise``, to both sides.

    All parameters and both sides advance together, each descent warm from the nearest one done.

    Args:
        estimate: the fit.
        covariance: of log A, log B (internal units), E, alpha, beta, log rho, (p, p): where the
            others are expected to go as one moves.
        stderr: of log A, log B in table units, E in nats, alpha, beta, log rho, (p,): first steps.
        rise: of the objective at the ends, ``dispersion * quantile^2 / 2``.
        quantile: of Student's t; the first step is ``quantile * stderr``.
        only: indices of the parameters to walk; all if None. The others' ends are their estimates.
    """
    center = in_table_units(estimate.objective, estimate.theta)
    low, high = center.copy(), center.copy()
    low[LOG_E] = high[LOG_E] = math.exp(center[LOG_E])
    better: Floats | None = None
    if not rise > 0:
        if math.isnan(rise):
            low[:], high[:] = math.nan, math.nan
        return Profile(low, high, None)
    coefficients = np.array([LOG_A, LOG_B])
    others = np.array([i for i in range(len(center)) if i not in (LOG_A, LOG_B)])
    value = estimate.value
    for columns, table_units in ((others, False), (coefficients, True)):
        wanted = ~estimate.box.held[columns]
        if only is not None:
            wanted &= np.isin(columns, only)
        columns = columns[wanted]
        if not columns.size:
            continue
        side = _make_side(estimate, covariance, stderr, columns, quantile, table_units=table_units)
        ends, lowest, where = _walk(side, value, rise)
        low[columns], high[columns] = ends[: len(columns)], ends[len(columns) :]
        if lowest < value - BETTER * rise:
            better = where if not table_units else _back(estimate.objective, where)
    return Profile(low, high, better)


def in_table_units(objective: Objective, theta: Floats) -> Floats:
    """Log A and log B for N and D in the table's units; the rest as it is."""
    result = theta.copy()
    result[..., LOG_A] += theta[..., ALPHA] * objective.mean_log_params
    result[..., LOG_B] += theta[..., BETA] * objective.mean_log_tokens
    return result


def _back(objective: Objective, theta: Floats) -> Floats:
    result = theta.copy()
    result[..., LOG_A] -= theta[..., ALPHA] * objective.mean_log_params
    result[..., LOG_B] -= theta[..., BETA] * objective.mean_log_tokens
    return result


def _make_side(
    estimate: Estimate,
    covariance: Floats,
    stderr: Floats,
    columns: NDArray[np.int64],
    quantile: float,
    *,
    table_units: bool,
) -> _Side:
    objective, box, theta = estimate.objective, estimate.box, estimate.theta
    if table_units:
        # log A of the table's N is another coordinate than log A at the mean of log N.
        theta = in_table_units(objective, theta)
        objective = replace(
            objective,
            log_params=objective.log_params + objective.mean_log_params,
            log_tokens=objective.log_tokens + objective.mean_log_tokens,
            mean_log_params=0.0,
            mean_log_tokens=0.0,
        )
        low, high = box.low.copy(), box.high.copy()
        low[[LOG_A, LOG_B]], high[[LOG_A, LOG_B]] = -LARGEST_LOG, LARGEST_LOG
        covariance = covariance_in_table_units(estimate.objective, covariance)
        box = Box(low, high, box.held)
    both = np.concatenate([columns, columns])
    signs = np.repeat([-1.0, 1.0], len(columns))
    step = stderr[both].copy()
    step[~(np.isfinite(step) & (step > 0))] = FIRST_STEP
    variance = np.diag(covariance)[both]
    usable = np.isfinite(variance) & (variance > 0)
    directions = covariance[both] / np.where(usable, variance, 1.0)[:, None]
    directions = np.where(usable[:, None] & np.isfinite(directions), directions, 0.0)
    directions[:, LOG_E] /= math.exp(theta[LOG_E])
    return _Side(objective, box, theta, both, signs, quantile * step, directions, not table_units)


def _walk(side: _Side, value: float, rise: float) -> tuple[Floats, float, Floats]:
    """Ends of every row; the lowest objective met, and where."""
    rows = np.arange(len(side.columns))
    natural = side.columns == LOG_E  # walked in E, not in log E
    start, least, most = (
        np.exp(x, out=x.copy(), where=natural)
        for x in (x[side.columns] for x in (side.theta, side.box.low, side.box.high))
    )
    limit = np.where(side.signs < 0, least, most)
    inner, inner_root, inner_theta = (
        start.copy(),
        np.zeros(len(rows)),
        np.tile(side.theta, (len(rows), 1)),
    )
    outer, outer_root = np.full(len(rows), np.nan), np.full(len(rows), np.nan)
    pull, last_inside = np.ones((2, len(rows))), np.ones(len(rows), dtype=np.bool_)
    ends = np.full(len(rows), np.nan)
    target = math.sqrt(rise)
    trial = start + side.signs * side.steps
    lowest, where = value, side.theta
    active = rows
    bound_at_start = (side.signs * (limit - start)) <= 1e-12 * np.maximum(np.abs(start), 1.0)
    ends[bound_at_start] = limit[bound_at_start]
    active = active[~bound_at_start]
    for _ in range(MOST_ROUNDS):
        if not active.size:
            break
        sign = side.signs[active]
        x = np.where(
            sign < 0,
            np.maximum(trial[active], limit[active]),
            np.minimum(trial[active], limit[active]),
        )
        move = side.directions[active] * (x - inner[active])[:, None]
        theta = inner_theta[active] + np.clip(move, -LONGEST_GUESS, LONGEST_GUESS)
        here = np.arange(len(active))
        theta[here, side.columns[active]] = np.log(x, out=x.copy(), where=natural[active])
        pinned = np.zeros(theta.shape, dtype=np.bool_)
        pinned[here, side.columns[active]] = True
        if side.centred:
            theta = side.objective.lift(theta, pinned | side.box.held)
        weights = np.ones((len(active), side.objective.num_runs))
        descent = descend_gradually(
            side.objective,
            theta,
            weights,
            side.box,
            least_squares=False,
            pinned=pinned,
            tolerance=ACCURACY * rise,
        )
        if descent.value.min() < lowest:
            lowest = float(descent.value.min())
            where = descent.theta[int(descent.value.argmin())]
        root = np.sqrt(np.maximum(descent.value - value, 0.0))
        inside = root < target
        inner[active] = np.where(inside, x, inner[active])
        inner_root[active] = np.where(inside, root, inner_root[active])
        inner_theta[active] = np.where(inside[:, None], descent.theta, inner_theta[active])
        outer[active] = np.where(inside, outer[active], x)
        outer_root[active] = np.where(inside, outer_root[active], root)
        # Illinois: an end that stays while the other moves twice counts for half, then a quarter.
        again = inside == last_inside[active]
        pull[0, active] = np.where(inside, 1.0, pull[0, active] * np.where(again, 0.5, 1.0))
        pull[1, active] = np.where(inside, pull[1, active] * np.where(again, 0.5, 1.0), 1.0)
        pull[:, active[np.isnan(outer[active])]] = 1.0
        last_inside[active] = inside
        at_limit = inside & (x == limit[active])
        ends[active[at_limit]] = x[at_limit]
        found = np.abs(root - target) < CLOSE * target
        ends[active[found]] = x[found]
        width = np.abs(outer[active] - inner[active])
        narrow = width < 1e-4 * np.abs(x - start[active])
        ends[active[narrow]] = x[narrow]
        active = active[~(at_limit | found | narrow)]
        trial[active] = _next(start, (inner, inner_root), (outer, outer_root), pull, target, side)[
            active
        ]
    # What is not found within the rounds ends where it was last seen below the threshold.
    ends[active] = np.where(np.isnan(outer[active]), inner[active], outer[active])
    return _open_ends(ends, limit, side), lowest, where


def _next(
    start: Floats,
    inside: tuple[Floats, Floats],
    outside: tuple[Floats, Floats],
    pull: Floats,
    target: float,
    side: _Side,
) -> Floats:
    """Secant on the root of the rise, which is nearly linear; growth while nothing is outside."""
    inner, inner_root = inside
    outer, outer_root = outside
    reach = np.abs(inner - start)
    growth = np.clip(1.05 * target / np.maximum(inner_root, 1e-300), LEAST_GROWTH, MOST_GROWTH)
    outward = start + side.signs * np.where(reach > 0, reach * growth, side.steps)
    below, above = pull[0] * (target - inner_root), pull[1] * (outer_root - target)
    share = below / np.maximum(below + above, 1e-300)
    between = inner + (outer - inner) * np.clip(share, 0.02, 0.98)
    return np.where(np.isnan(outer), outward, between)


def _open_ends(ends: Floats, limit: Floats, side: _Side) -> Floats:
    """A bound that was reached is no end: infinite, or 0 for what cannot be negative."""
    reached = ends == limit
    open_low = np.isin(side.columns, (LOG_E, ALPHA, BETA))
    low = np.where(open_low, 0.0, -np.inf)
    ends = np.where(reached & (side.signs < 0), low, ends)
    return np.where(reached & (side.signs > 0), np.inf, ends)
