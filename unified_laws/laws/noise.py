"""How large the noise is, and what it does to an estimate that clips residuals."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from unified_laws.laws.loss_law import Floats

# Residuals beyond this many standard deviations count as this many (Huber 1981, §6.7, proposal 2):
# the scale keeps 90 % of its efficiency under Gaussian noise and bounds what an outlier can do.
CLIP = 1.5
# delta over sigma from which a Huber fit is least squares, or least absolute deviations.
LARGE, SMALL = 8.0, 1e-4
MOST_TURNS = 50


@dataclass(frozen=True)
class Noise:
    """Noise of the standardized residuals z at the fit.

    Attributes:
        sigma: robust standard deviation, corrected for the fitted parameters.
        square: mean of psi(z)^2, psi the clipped residual, corrected for the fitted parameters.
        inside: mean of psi'(z), the share of runs that are not clipped.
        degrees_of_freedom: runs minus fitted parameters.
    """

    sigma: float
    square: float
    inside: float
    degrees_of_freedom: int

    @property
    def variance(self) -> float:
        """Multiplies ``(J^T J)^-1`` to give the covariance (Huber 1981, §7.6)."""
        return self.square / self.inside**2

    @property
    def dispersion(self) -> float:
        """Twice the rise of the objective over this is a chi-square (Heritier & Ronchetti 1994)."""
        return self.square / self.inside


def huber_inflation(ratio: float) -> float:
    """Variance of Huber's estimate over that of least squares under Gaussian noise.

    ``E psi^2 / (sigma E psi')^2`` (Huber, Robust Statistics, 1981, §3.2), ``ratio`` is delta over
    sigma: 1 for a large one and pi/2 for a small one.
    """
    if ratio > LARGE:
        return 1.0
    if ratio < SMALL:
        return math.pi / 2.0
    return _winsorized(ratio) / _within(ratio) ** 2


def _within(k: float) -> float:
    """P(|x| < k) of a standard Gaussian."""
    return math.erf(k / math.sqrt(2.0))


def _truncated(k: float) -> float:
    """E x^2 where |x| < k."""
    return _within(k) - 2.0 * k * float(norm.pdf(k))


def _winsorized(k: float) -> float:
    """E min(x^2, k^2)."""
    return _truncated(k) + k**2 * (1.0 - _within(k))


def _fitted_share(ratio: float) -> float:
    """By how much one fitted parameter lowers ``sum min((z/s)^2, k^2)``, to first order.

    The residuals are ``r - J d`` with ``d`` about ``(J^T J)^-1 J^T psi / E psi'``: the mixed term
    is ``2 E[r psi; |r| < k] / E psi'``, the square the inflation times the mean curvature. For
    plain least squares and no clipping this is 1, hence n - p.
    """
    ratio = min(ratio, LARGE)
    if ratio < SMALL:
        mixed = 1.0 - math.exp(-0.5 * CLIP**2)
    else:
        mixed = _truncated(min(ratio, CLIP))
        if ratio < CLIP:
            mixed += 2.0 * ratio * float(norm.pdf(ratio) - norm.pdf(CLIP))
        mixed /= _within(ratio)
    return 2.0 * mixed - huber_inflation(ratio) * _truncated(CLIP)


def robust_scale(residuals: Floats, num_free: int, delta: float = math.inf) -> float:
    """Standard deviation s with ``sum min((z/s)^2, k^2)`` at its mean under Gaussian noise.

    Huber's proposal 2 at k = 1.5 (Robust Statistics, 1981, §6.7); the mean takes into account that
    fitted residuals are smaller than the noise. NaN without degrees of freedom, 0 for a perfect
    fit.

    Args:
        residuals: standardized residuals of the fit, (n,).
        num_free: number of fitted parameters p.
        delta: Huber threshold of the fit.
    """
    if len(residuals) - num_free < 1:
        return math.nan
    size = np.sort(np.abs(residuals))
    scale = math.nan
    ratio = math.inf
    for _ in range(MOST_TURNS):
        level = len(size) * _winsorized(CLIP) - num_free * _fitted_share(ratio)
        before, scale = scale, _solve_scale(size, level)
        ratio = delta / scale if scale > 0 else math.inf
        if abs(scale - before) <= 1e-9 * scale:
            break
    return scale


def _solve_scale(size: Floats, level: float) -> float:
    """``sum min((size/s)^2, k^2) = level`` for sorted ``size``: ``a / s^2 + b`` between two."""
    squares = np.concatenate([[0.0], np.cumsum(size**2)])
    for clipped in range(len(size)):
        left = level - clipped * CLIP**2
        if left <= 0:
            break
        scale = math.sqrt(squares[len(size) - clipped] / left)
        beyond = size[len(size) - clipped :]
        if size[len(size) - clipped - 1] <= CLIP * scale and not (beyond < CLIP * scale).any():
            return scale
    return float(size[-1] / CLIP)


def measure_noise(residuals: Floats, num_free: int, delta: float) -> Noise:
    """Noise from the standardized residuals of a fit with Huber threshold ``delta``.

    ``square`` is what is seen, corrected for the fitted parameters to first order; ``inside`` is
    that of Gaussian noise of the robust scale, since a fit with delta below the noise puts as many
    residuals at zero as it has parameters.
    """
    freedom = len(residuals) - num_free
    sigma = robust_scale(residuals, num_free, delta)
    if freedom < 1:
        return Noise(sigma, math.nan, math.nan, freedom)
    ratio = min(delta / sigma, LARGE) if sigma > 0 else LARGE
    inside = _within(ratio) if ratio < LARGE else 1.0
    # As in `_fitted_share`, for psi^2: what one fitted parameter takes off its sum.
    taken = _truncated(ratio) * (2.0 / inside - huber_inflation(ratio)) / _winsorized(ratio)
    total = float(np.square(np.clip(residuals, -delta, delta)).sum())
    square = min(total / (len(residuals) - num_free * taken), delta**2)
    return Noise(sigma, square, inside, freedom)
