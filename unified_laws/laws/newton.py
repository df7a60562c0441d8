"""Damped Newton in a box, for many starting points or many resamples at once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from unified_laws.laws.loss_law import Floats
from unified_laws.laws.objective import NUM_LAW, Derivatives

Bools = NDArray[np.bool_]

# The first steps use the majorizer alone: it never points uphill far from the minimum.
MAJORIZER_STEPS = 8
# Longest step in any one coordinate; they are logarithms or exponents of order 1.
LONGEST_STEP = 2.0
# Least curvature along one log rho, as a share of the majorizer's.
CURVATURE_FLOOR = 1e-2
# Steps per stage of falling delta, of the last one, and the most stages.
STAGE_STEPS, LAST_STEPS, MOST_HALVINGS = 60, 600, 10
# Converged when Newton expects to gain less than this share of the objective ...
GAIN = 1e-10
# ... or than this per run: rounding of a log residual of order 1e-10, squared.
GAIN_PER_RUN = 1e-22


class Minimised(Protocol):
    """What a descent needs: a dataclass with a ``delta``, its value and its derivatives.

    laws/objective.py is the unified law's, laws/forms/objective.py that of any law.
    """

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def delta(self) -> float:
        """Huber threshold."""

    @property
    def num_runs(self) -> int:
        """Number of runs n."""

    def residuals(self, theta: Floats) -> Floats:
        """Log residuals at S points, (S, n)."""

    def standardize(self, residuals: Floats) -> Floats:
        """Residuals in units of their known noise, as the Huber threshold sees them, (S, n)."""

    def bend(self, here: Floats, step: Floats) -> Floats | None:
        """Where a step leads in coordinates that straighten the law's valley; None without any."""

    def value(self, theta: Floats, weights: Floats) -> Floats:
        """Objective at S points, (S,)."""

    def derivatives(self, theta: Floats, weights: Floats) -> Derivatives:
        """Value, gradient, Hessian and majorizer at S points."""


@dataclass(frozen=True, eq=False)
class Box:
    """Bounds of each parameter, (p,) each, and which of them are held.

    Attributes:
        low: lower bounds.
        high: upper bounds.
        held: True where the start value is kept.
    """

    low: Floats
    high: Floats
    held: Bools


@dataclass(frozen=True, eq=False)
class Descent:
    """Where S descents ended.

    Attributes:
        theta: end points, (S, p).
        value: objective there, (S,).
        gain: decrease that a further Newton step promises, (S,).
        converged: True where that gain is negligible, (S,).
        steps: number of iterations of the longest descent.
    """

    theta: Floats
    value: Floats
    gain: Floats
    converged: Bools
    steps: int


def _solve(matrix: Floats, damping: Floats, gradient: Floats, stuck: Bools) -> Floats:
    """Solve ``(matrix + diag(damping)) s = -gradient`` with the stuck coordinates left at 0."""
    free = ~stuck
    system = matrix * (free[:, :, None] & free[:, None, :])
    own = np.arange(matrix.shape[1])
    system[:, own, own] += np.where(stuck, 1.0, damping)
    right = np.where(stuck, 0.0, -gradient)[:, :, None]
    return np.asarray(np.linalg.solve(system, right)[:, :, 0], dtype=np.float64)


def descend(
    objective: Minimised,
    start: Floats,
    weights: Floats,
    box: Box,
    *,
    max_steps: int,
    pinned: Bools | None = None,
    tolerance: float = 0.0,
) -> Descent:
    """Minimise from each row of ``start`` (S, p); ``weights`` is (S, n).

    ``pinned`` (S, p) keeps further parameters at their start value, row by row; a descent ends when
    a further step promises less than ``tolerance``, or less than rounding allows.

    Levenberg damping (Marquardt's scaling) around the exact Hessian; where that is not a descent
    direction, the majorizer takes its place. Rows that have converged leave the computation.
    """
    kept = np.broadcast_to(box.held, start.shape)
    if pinned is not None:
        kept = kept | pinned
    theta = np.where(kept, start, np.clip(start, box.low, box.high))
    value = objective.value(theta, weights)
    gain = np.full(len(theta), np.inf)
    converged = np.zeros(len(theta), dtype=np.bool_)
    damping = np.full(len(theta), 1e-2)
    rows = np.arange(len(theta))
    steps = 0
    while rows.size and steps < max_steps:
        here, weight = theta[rows], weights[rows]
        at = objective.derivatives(here, weight)
        stuck = kept[rows] | ((here <= box.low) & (at.gradient > 0))
        stuck |= (here >= box.high) & (at.gradient < 0)
        scale = np.diagonal(at.majorizer, axis1=1, axis2=2)
        floor = 1e-12 * scale.max(axis=1, keepdims=True) + 1e-300
        damp = damping[rows, None] * np.maximum(scale, floor) + floor
        gradient = np.where(stuck, 0.0, at.gradient)
        step = _solve(at.majorizer, damp, gradient, stuck)
        if steps >= MAJORIZER_STEPS:
            # Between two Huber kinks the objective is nearly straight along one rho: without a
            # floor its tiny, often negative curvature would spoil the step of all the others.
            own = np.arange(NUM_LAW, theta.shape[1])
            at.hessian[:, own, own] = np.maximum(
                at.hessian[:, own, own], CURVATURE_FLOOR * scale[:, own]
            )
            newton = _solve(at.hessian, damp, gradient, stuck)
            step = np.where((newton * gradient).sum(axis=1)[:, None] < 0, newton, step)
        promised = -0.5 * (step * gradient).sum(axis=1)
        step *= np.minimum(1.0, LONGEST_STEP / np.maximum(np.abs(step).max(axis=1), 1e-300))[
            :, None
        ]
        trial = np.where(stuck, here, np.clip(here + step, box.low, box.high))
        trial_value = objective.value(trial, weight)
        ahead = objective.bend(here, step)
        if ahead is not None:
            bent = np.where(stuck, here, np.clip(ahead, box.low, box.high))
            bent_value = objective.value(bent, weight)
            lower = bent_value < trial_value
            trial = np.where(lower[:, None], bent, trial)
            trial_value = np.where(lower, bent_value, trial_value)
        better = trial_value < at.value
        theta[rows] = np.where(better[:, None], trial, here)
        value[rows] = np.where(better, trial_value, at.value)
        gain[rows] = promised
        damping[rows] = np.where(
            better, np.maximum(damping[rows] / 5, 1e-12), np.minimum(damping[rows] * 4, 1e10)
        )
        small = promised <= GAIN * at.value + GAIN_PER_RUN * objective.num_runs + tolerance
        done = small & (damping[rows] < 1e-1)
        converged[rows] = done
        rows = rows[~(done | (damping[rows] >= 1e10))]
        steps += 1
    return Descent(theta, value, gain, converged, steps)


def descend_gradually(
    objective: Minimised,
    start: Floats,
    weights: Floats,
    box: Box,
    *,
    least_squares: bool,
    pinned: Bools | None = None,
    tolerance: float = 0.0,
) -> Descent:
    """Minimise with the Huber threshold halved step by step down to the objective's own.

    Residuals much larger than delta make the objective nearly an absolute value, full of kinks;
    coming from a smooth one, the descent arrives with its kinks on the right side.

    Args:
        objective: what is minimised in the end.
        start: starting points, (S, p).
        weights: of the runs, (S, n).
        box: bounds.
        least_squares: begin with delta = inf (cold starts); otherwise with delta at the size of the
            residuals (warm starts).
        pinned: parameters kept at their start value, (S, p).
        tolerance: of the objective; see `descend`.
    """
    theta = start
    if least_squares and np.isfinite(objective.delta):
        theta = descend(
            replace(objective, delta=np.inf),
            theta,
            weights,
            box,
            max_steps=STAGE_STEPS,
            pinned=pinned,
            tolerance=tolerance,
        ).theta
    standardized = objective.standardize(objective.residuals(theta))
    size = np.sqrt(np.square(standardized).mean(axis=1).min())
    halvings = 0 if size <= objective.delta else int(np.ceil(np.log2(2.0 * size / objective.delta)))
    for power in range(min(halvings, MOST_HALVINGS), 0, -1):
        wider = replace(objective, delta=objective.delta * 2.0**power)
        theta = descend(
            wider,
            theta,
            weights,
            box,
            max_steps=STAGE_STEPS,
            pinned=pinned,
            tolerance=tolerance,
        ).theta
    return descend(
        objective,
        theta,
        weights,
        box,
        max_steps=LAST_STEPS,
        pinned=pinned,
        tolerance=tolerance,
    )
