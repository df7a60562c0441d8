"""Likelihoods of log residuals, and the criteria made of them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import erf

from unified_laws.laws.loss_law import Floats

# Noise of a perfect fit: rounding of a log residual of order one.
ROUNDING = 1e-15


def gaussian_log_likelihood(residuals: Floats) -> float:
    """Of n residuals at the standard deviation that makes it largest (their root mean square)."""
    variance = max(float(np.square(residuals).mean()), ROUNDING**2)
    return -0.5 * len(residuals) * (math.log(2.0 * math.pi * variance) + 1.0)


def huber_log_likelihood(residuals: Floats, delta: float) -> float:
    """Of n residuals under ``exp(-huber_delta(r) / t) / Z(t)`` at the t that makes it largest.

    The law that minimises the Huber objective maximises this likelihood at every t, so that both
    can be compared as maximum likelihoods. Gaussian in the middle with Laplace tails: ``inf`` is
    the Gaussian (t = variance), and delta far below the noise the Laplace density.
    ``Z = sqrt(2 pi t) erf(delta / sqrt(2 t)) + (2 t / delta) exp(-delta^2 / (2 t))``.
    """
    if math.isinf(delta):
        return gaussian_log_likelihood(residuals)
    psi = np.clip(residuals, -delta, delta)
    number = len(residuals)
    objective = float((psi * (residuals - 0.5 * psi)).sum())
    objective = max(objective, number * min(0.5 * ROUNDING**2, delta * ROUNDING))

    def negative(log_t: float) -> float:
        t = math.exp(log_t)
        inside = math.sqrt(2.0 * math.pi * t) * float(erf(delta / math.sqrt(2.0 * t)))
        tails = 2.0 * t / delta * math.exp(-(delta**2) / (2.0 * t))
        return objective / t + number * math.log(inside + tails)

    # Between Laplace (t = objective / n) and Gauss (twice that), with room.
    middle = math.log(objective / number)
    found = minimize_scalar(
        negative, bounds=(middle - 2.0, middle + 3.0), method="bounded", options={"xatol": 1e-10}
    )
    return -float(found.fun)


@dataclass(frozen=True)
class Criteria:
    """Information criteria; smaller is better. The scale of the noise counts as a parameter.

    Attributes:
        aic: ``2 k - 2 log L`` (Akaike 1974).
        aicc: with the correction for few runs, ``+ 2 k (k+1) / (n-k-1)`` (Hurvich and Tsai 1989);
            infinite where n is too small for it.
        bic: ``k log n - 2 log L`` (Schwarz 1978).
    """

    aic: float
    aicc: float
    bic: float


def criteria(log_likelihood: float, num_free: int, num_runs: int) -> Criteria:
    """AIC, AICc and BIC of a law with ``num_free`` constants."""
    k = num_free + 1
    aic = 2.0 * k - 2.0 * log_likelihood
    left = num_runs - k - 1
    aicc = aic + 2.0 * k * (k + 1) / left if left > 0 else math.inf
    return Criteria(aic, aicc, k * math.log(num_runs) - 2.0 * log_likelihood)
