"""Minimum of a sum of Huber losses of any residuals in a box, from one start."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from unified_laws.laws.loss_law import Floats
from unified_laws.laws.newton import Bools, Box

# residuals (n,) and their Jacobian (n, p) at a point (p,)
Residuals = Callable[[Floats], tuple[Floats, Floats]]

# The threshold falls to its own value from the size of the residuals, by this factor a stage.
FALL = 4.0
# Longest step in any one coordinate; they are logarithms or exponents of order 1.
LONGEST_STEP = 1.0
LARGEST_DAMPING = 1e8
GAIN = 1e-10
# Steps of all stages but the last.
STAGE_STEPS = 40


@dataclass(frozen=True, eq=False)
class RobustMinimum:
    """Where a descent ended: the point (p,), the objective, and whether nothing more is gained."""

    theta: Floats
    value: float
    converged: bool


def huber_sum(residuals: Floats, weights: Floats, delta: float) -> float:
    """``sum_i w_i huber_delta(r_i)``; ``delta`` = inf is half the sum of squares."""
    psi = np.clip(residuals, -delta, delta)
    return float((weights * psi * (residuals - 0.5 * psi)).sum())


def minimise_huber(
    residuals: Residuals,
    start: Floats,
    weights: Floats,
    box: Box,
    *,
    delta: float,
    cold: bool,
    max_steps: int = 400,
) -> RobustMinimum:
    """Levenberg-Marquardt with two kinds of Huber weights; the better of the two steps is taken.

    Reweighted least squares (weights delta/|r| outside the threshold) always goes down; Newton's
    (weight 0 outside) arrives fast once the right residuals are inside.

    Args:
        residuals: of the runs, with their Jacobian.
        start: starting point, (p,).
        weights: of the residuals, (n,).
        box: bounds; held parameters stay.
        delta: Huber threshold.
        cold: begin with least squares and let the threshold fall; else it falls from the size of
            the residuals at the start.
        max_steps: of the last stage.
    """
    theta = np.where(box.held, start, np.clip(start, box.low, box.high))
    if cold and math.isfinite(delta):
        theta = _stage(residuals, theta, weights, box, math.inf, STAGE_STEPS, gain=1e-4).theta
    size = float(np.sqrt(np.square(residuals(theta)[0]).mean()))
    stages = max(0, math.ceil(math.log(max(size, 1e-300) / delta, FALL))) if size > delta else 0
    for power in range(min(stages, 8), 0, -1):
        wide = delta * FALL**power
        theta = _stage(residuals, theta, weights, box, wide, STAGE_STEPS, gain=1e-4).theta
    return _stage(residuals, theta, weights, box, delta, max_steps, gain=GAIN)


def _stage(
    residuals: Residuals,
    theta: Floats,
    weights: Floats,
    box: Box,
    delta: float,
    max_steps: int,
    *,
    gain: float,
) -> RobustMinimum:
    damping, converged = 1e-3, False
    found, jacobian = residuals(theta)
    value = huber_sum(found, weights, delta)
    for _ in range(max_steps):
        size = np.abs(found)
        shrink = np.divide(delta, size, out=np.ones_like(size), where=size > delta)
        gradient = jacobian.T @ (weights * np.clip(found, -delta, delta))
        stuck = box.held | ((theta <= box.low) & (gradient > 0))
        stuck |= (theta >= box.high) & (gradient < 0)
        majorizer = (jacobian.T * (weights * shrink)) @ jacobian
        best, lowest, promised = theta, value, 0.0
        for kind in (shrink, (size <= delta).astype(np.float64)):
            if kind is not shrink and bool((size <= delta).all()):
                break
            matrix = (jacobian.T * (weights * kind)) @ jacobian if kind is not shrink else majorizer
            step = _solve(matrix, np.diag(majorizer), damping, gradient, stuck)
            promised = max(promised, float(-0.5 * step @ gradient))
            step *= min(1.0, LONGEST_STEP / max(float(np.abs(step).max()), 1e-300))
            trial = np.where(stuck, theta, np.clip(theta + step, box.low, box.high))
            reached = huber_sum(residuals(trial)[0], weights, delta)
            if reached < lowest:
                best, lowest = trial, reached
        small = promised <= gain * value + 1e-22 * len(found)
        if lowest < value:
            theta, value = best, lowest
            found, jacobian = residuals(theta)
            damping = max(damping / 5.0, 1e-12)
        else:
            damping *= 4.0
        if (small and damping < 1e-1) or damping > LARGEST_DAMPING:
            converged = small or damping > LARGEST_DAMPING
            break
    return RobustMinimum(theta, value, converged)


def _solve(matrix: Floats, scale: Floats, damping: float, gradient: Floats, stuck: Bools) -> Floats:
    floor = 1e-12 * float(scale.max()) + 1e-300
    free = ~stuck
    result = np.zeros(len(gradient))
    if not bool(free.any()):
        return result
    system = matrix[np.ix_(free, free)] + np.diag(
        (damping * np.maximum(scale, floor) + floor)[free]
    )
    result[free] = np.linalg.solve(system, -gradient[free])
    return result
