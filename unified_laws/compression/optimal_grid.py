"""Grids that minimise the error on N(0,1): the best scale of a given shape, and Lloyd-Max."""

from __future__ import annotations

from functools import cache

import numpy as np
from scipy.linalg import solve_banded
from scipy.optimize import minimize_scalar
from scipy.special import ndtr, ndtri

from unified_laws.compression.gaussian import Array, density, grid_mse

PER_OCTAVE = 32  # candidates per doubling of the limit, before the minimum is refined
TIE = 1e-7  # relative; grids of many octaves repeat their minimum at every doubling
NEWTON_STEPS = 100  # 8 bits take 9


@cache
def optimal_limit(shape: tuple[float, ...], octaves: int) -> float:
    """The outermost level of the best grid of a shape, in units of the RMS of N(0,1).

    Args:
        shape: ascending levels up to a common factor.
        octaves: doublings of the limit that are searched, from one half upwards. A uniform grid
            needs 4; a floating-point grid as many as it has binades, up to a dozen. Of equally good
            limits the smallest is taken.
    """
    unit = np.asarray(shape, dtype=np.float64) / shape[-1]

    def error(octave: float) -> float:
        return grid_mse(unit * 2.0**octave)

    tried = np.arange(-1.0, octaves - 1.0, 1.0 / PER_OCTAVE)
    errors = np.asarray([error(float(octave)) for octave in tried])
    inner = errors[1:-1]
    dips = 1 + np.flatnonzero((inner <= errors[:-2]) & (inner <= errors[2:]))
    found = [
        minimize_scalar(
            error,
            bounds=(float(tried[dip - 1]), float(tried[dip + 1])),
            method="bounded",
            options={"xatol": 1e-10},
        )
        for dip in dips
        if inner[dip - 1] <= errors.min() * (1.0 + 1.0 / PER_OCTAVE)
    ]
    least = min(float(result.fun) for result in found)
    return next(float(2.0**result.x) for result in found if result.fun <= least * (1.0 + TIE))


@cache
def lloyd_max_levels(bits: int) -> tuple[float, ...]:
    """The 2^bits levels of least E(x - nearest level)² on N(0,1) (Max 1960, Lloyd 1982).

    Every level is the mean of its cell, every edge the middle of two levels: solved by Newton's
    method on the positive half, from the companded quantiles of N(0,3) (Panter and Dite 1951).
    """
    half = 2 ** (bits - 1)
    levels = np.sqrt(3.0) * ndtri(0.5 + (np.arange(half) + 0.5) / (2 * half))
    for _ in range(NEWTON_STEPS):
        low = np.concatenate([[0.0], (levels[1:] + levels[:-1]) / 2])
        high = np.concatenate([low[1:], [np.inf]])
        mass = ndtr(-low) - ndtr(-high)
        mean = (density(low) - density(high)) / mass
        at_low = density(low) * (mean - low) / mass  # derivative of the mean by each edge
        at_high = np.zeros(half)
        at_high[:-1] = density(high[:-1]) * (high[:-1] - mean[:-1]) / mass[:-1]
        at_low[0] = 0.0  # the edge at zero stays
        bands = np.zeros((3, half))
        bands[0, 1:] = -0.5 * at_high[:-1]
        bands[1] = 1.0 - 0.5 * (at_low + at_high)
        bands[2, :-1] = -0.5 * at_low[1:]
        step: Array = np.asarray(solve_banded((1, 1), bands, mean - levels), dtype=np.float64)
        levels = levels + step
        if float(np.abs(step).max()) < 1e-14:
            break
    return tuple(float(level) for level in np.concatenate([-levels[::-1], levels]))
