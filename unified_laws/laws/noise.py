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


def robust_scale(residuals: Floats, num_free: int) -> float:
    """Standard deviation s with ``sum min((z/s)^2, k^2) = (n - p) E min(x^2, k^2)``, x Gaussian.

    Huber's proposal 2 at k = 1.5 with n - p in place of n (Robust Statistics, 1981, §6.7). NaN
    without degrees of freedom, 0 for a perfect fit.
    """
    freedom = len(residuals) - num_free
    if freedom < 1:
        return math.nan
    size = np.sort(np.abs(residuals))
    inside = 2.0 * float(norm.cdf(CLIP)) - 1.0
    level = inside - 2.0 * CLIP * float(norm.pdf(CLIP)) + CLIP**2 * (1.0 - inside)
    # The left side falls with s; between two neighbouring residuals it is a / s^2 + b.
    low_squares = np.concatenate([[0.0], np.cumsum(size**2)])
    for clipped in range(len(size)):
        left = freedom * level - clipped * CLIP**2
        if left <= 0:
            break
        scale = math.sqrt(low_squares[len(size) - clipped] / left)
        beyond = size[len(size) - clipped :]
        if size[len(size) - clipped - 1] <= CLIP * scale and not (beyond < CLIP * scale).any():
            return scale
    return float(size[-1] / CLIP)


def measure_noise(residuals: Floats, num_free: int, delta: float) -> Noise:
    """Noise from the standardized residuals of a fit with Huber threshold ``delta``.

    ``square`` is what is seen; ``inside`` is that of Gaussian noise of the robust scale, since a
    fit with delta below the noise puts as many residuals at zero as it has parameters.
    """
    freedom = len(residuals) - num_free
    sigma = robust_scale(residuals, num_free)
    if freedom < 1:
        return Noise(sigma, math.nan, math.nan, freedom)
    psi = np.clip(residuals, -delta, delta)
    square = float(np.square(psi).sum()) / freedom
    square = min(square, delta**2)
    inside = 2.0 * float(norm.cdf(delta / sigma)) - 1.0 if sigma > 0 else 1.0
    return Noise(sigma, square, inside, freedom)


def huber_inflation(noise: float, delta: float) -> float:
    """Variance of Huber's estimate over that of least squares under Gaussian noise.

    ``E psi^2 / (sigma E psi')^2`` (Huber, Robust Statistics, 1981, §3.2): 1 for delta >> noise and
    pi/2 for delta << noise. It is for runs that are planned: `measure_noise` sees those that exist.
    """
    ratio = delta / noise if noise > 0 else math.inf
    if ratio > 8.0:
        return 1.0
    inside = 2.0 * float(norm.cdf(ratio)) - 1.0
    square = inside - 2.0 * ratio * float(norm.pdf(ratio)) + ratio**2 * (1.0 - inside)
    return square / inside**2
