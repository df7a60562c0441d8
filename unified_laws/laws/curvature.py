"""Standard errors from the curvature of the objective at its minimum (Gauss-Newton)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from unified_laws.laws.estimate import Estimate
from unified_laws.laws.loss_law import Floats
from unified_laws.laws.objective import ALPHA, BETA, LOG_A, LOG_B, LOG_E, Objective

# Directions of the scaled J^T J below this share of the largest carry no information in doubles.
NO_INFORMATION = 1e-13
# A parameter is lost when this much of it lies along such a direction.
LOST_SHARE = 1e-6


@dataclass(frozen=True, eq=False)
class Curvature:
    """Second-order picture of the optimum.

    Attributes:
        covariance: of log A, log B (internal units), E, alpha, beta and log rho, (p, p); zero for
            held ones and ones at a bound, infinite variance where the runs carry no information.
        natural_stderr: of log A, log B (units of the table), E in nats, alpha, beta and log rho,
            (p,); for an E at its lower bound, what it would be if E were free.
        condition: largest over smallest eigenvalue of J^T J over the free parameters, internal
            units (N and D relative to their geometric means); infinite if singular.
        noise: robust standard deviation of the log residuals, corrected for fitted parameters.
        degrees_of_freedom: runs minus fitted parameters.
    """

    covariance: Floats
    natural_stderr: Floats
    condition: float
    noise: float
    degrees_of_freedom: int


def robust_noise(residuals: Floats, num_free: int) -> float:
    """Standard deviation of Gaussian noise with the same median absolute residual.

    The ``num_free`` smallest residuals are dropped: an absolute-value-like fit sets as many to zero
    (Maronna, Martin, Yohai, Robust Statistics, 2006, §4.4.2). NaN without degrees of freedom.
    """
    left = np.sort(np.abs(residuals))[num_free:]
    return float(np.median(left) / norm.ppf(0.75)) if left.size else math.nan


def huber_inflation(noise: float, delta: float) -> float:
    """Variance of Huber's estimate over that of least squares under Gaussian noise.

    ``E psi^2 / (sigma E psi')^2`` (Huber, Robust Statistics, 1981, §3.2): 1 for delta >> noise and
    pi/2 for delta << noise.
    """
    ratio = delta / noise if noise > 0 else math.inf
    if ratio > 8.0:
        return 1.0
    inside = 2.0 * float(norm.cdf(ratio)) - 1.0
    square = inside - 2.0 * ratio * float(norm.pdf(ratio)) + ratio**2 * (1.0 - inside)
    return square / inside**2


def measure_curvature(estimate: Estimate) -> Curvature:
    """Gauss-Newton covariance with a robust noise level."""
    objective, theta, box = estimate.objective, estimate.theta, estimate.box
    bound = (theta <= box.low + 1e-9) | (theta >= box.high - 1e-9)
    jacobian = objective.jacobian(theta)
    noise = robust_noise(estimate.residuals, estimate.num_free)
    variance = noise**2 * huber_inflation(noise, objective.delta)
    # E is judged on its own scale, so that E = 0 is a value like any other.
    irreducible = math.exp(theta[LOG_E])
    jacobian[:, LOG_E] /= irreducible
    free = ~(box.held | bound)
    covariance = variance * _invert(jacobian, free)
    natural = np.sqrt(np.diag(in_table_units(objective, covariance)))
    if bound[LOG_E] and not box.held[LOG_E]:
        freed = free.copy()
        freed[LOG_E] = True
        natural[LOG_E] = math.sqrt(variance * _invert(jacobian, freed)[LOG_E, LOG_E])
    jacobian[:, LOG_E] *= irreducible
    spectrum = np.linalg.eigvalsh(jacobian[:, free].T @ jacobian[:, free])
    singular = spectrum[0] <= NO_INFORMATION * spectrum[-1]
    return Curvature(
        covariance=covariance,
        natural_stderr=natural,
        condition=math.inf if singular else float(spectrum[-1] / spectrum[0]),
        noise=noise,
        degrees_of_freedom=objective.num_runs - estimate.num_free,
    )


def _invert(jacobian: Floats, free: NDArray[np.bool_]) -> Floats:
    """Inverse of J^T J over the free columns; infinite variance for what it does not determine."""
    columns = jacobian[:, free]
    size = np.linalg.norm(columns, axis=0)
    size = np.where(size > 0, size, 1.0)
    values, vectors = np.linalg.eigh((columns / size).T @ (columns / size))
    known = values > NO_INFORMATION * values[-1]
    inverse = (vectors[:, known] / values[known]) @ vectors[:, known].T / np.outer(size, size)
    lost = np.square(vectors[:, ~known]).sum(axis=1) > LOST_SHARE
    inverse[lost, lost] = math.inf
    result = np.zeros((len(free), len(free)))
    result[np.ix_(free, free)] = inverse
    return result


def in_table_units(objective: Objective, covariance: Floats) -> Floats:
    """The same covariance with log A and log B in the table's units of N and D.

    ``log A = log A' + alpha mean(log N)``: a parameter with an infinite variance hands it on; what
    stands beside an infinite variance is NaN.
    """
    open_ = np.isinf(np.diag(covariance))
    turn = np.eye(len(covariance))
    for coefficient, exponent, mean in (
        (LOG_A, ALPHA, objective.mean_log_params),
        (LOG_B, BETA, objective.mean_log_tokens),
    ):
        turn[coefficient, exponent] = mean
        open_[coefficient] |= open_[exponent]
    own = np.arange(len(covariance))
    finite = covariance.copy()
    finite[np.isinf(finite)] = 0.0
    result: Floats = turn @ finite @ turn.T
    result[open_, :] = math.nan
    result[:, open_] = math.nan
    result[own[open_], own[open_]] = math.inf
    return result
