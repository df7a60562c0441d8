"""Convergence of compressed training: the bounds of arXiv:2506.01863, Appendix G.

theta_t are the master weights, theta^_t = C(theta_t) what the model computes with; g_t is the
gradient at theta^_t, unbiased with variance sigma² (summed over entries). Norms are Euclidean and
not squared unless written so; T is the number of steps.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from unified_laws.errors import UsageError
from unified_laws.laws.loss_law import Floats


@dataclass(frozen=True)
class Setting:
    """What the bounds need to know.

    Attributes:
        smoothness: L, the Lipschitz constant of the gradient.
        largest_entry: G_inf, a bound on the entries of every g_t.
        num_params: N.
        variance: sigma², a bound on E‖g_t - grad f(theta^_t)‖².
        gap: f(theta_1) - f*.
        beta1: decay of the first moment.
        eps: added to the second moment inside the root.
        steps: T.
    """

    smoothness: float
    largest_entry: float
    num_params: int
    variance: float
    gap: float
    beta1: float
    eps: float
    steps: int

    def __post_init__(self) -> None:
        for name in ("smoothness", "largest_entry", "num_params", "eps", "steps"):
            if not getattr(self, name) > 0:
                raise UsageError(f"{name} is {getattr(self, name)}; allowed is above zero")
        for name in ("variance", "gap"):
            if not getattr(self, name) >= 0:
                raise UsageError(f"{name} is {getattr(self, name)}; allowed is at least zero")
        if not 0 <= self.beta1 < 1:
            raise UsageError(f"beta1 is {self.beta1}; allowed is from 0 to below 1")

    @property
    def gradient_norm(self) -> float:
        """G = √N G_inf, a bound on the Euclidean norm of every g_t.

        Note:
            A smaller bound on the norm may not be put here: the proof sums the largest entry of
            dGamma_t over t by Lemma 2, which holds entry by entry only (see
            `preconditioner_change_bounds`). Summed over entries that gives G_inf² N in place of G².
        """
        return math.sqrt(self.num_params) * self.largest_entry

    @property
    def C0(self) -> float:  # noqa: N802
        """sqrt(G² + eps)."""
        return math.sqrt(self.gradient_norm**2 + self.eps)

    @property
    def largest_step(self) -> float:
        """eta_0 = eps (1 - beta1) / (4 L C0)."""
        return self.eps * (1.0 - self.beta1) / (4.0 * self.smoothness * self.C0)

    @property
    def step(self) -> float:
        """The step of the theorem, min(eta_0, 1/sqrt(T))."""
        return min(self.largest_step, 1.0 / math.sqrt(self.steps))


@dataclass(frozen=True)
class AmsgradBound:
    """Terms of the bound on (1/T) sum_t E‖grad f(theta^_t)‖² (proof of Theorem 1).

    Attributes:
        start: what is left of f(theta_1) - f*.
        noise: of the variance of the gradients.
        momentum: of G through the moving averages, falling with 1/T.
        compression: of the mean ‖theta^_t - theta_t‖, the only one that stays as T grows.
    """

    start: float
    noise: float
    momentum: float
    compression: float

    @property
    def total(self) -> float:
        """The bound."""
        return self.start + self.noise + self.momentum + self.compression

    @property
    def compression_share(self) -> float:
        """Part of the bound that the compression error makes up."""
        return self.compression / self.total


def amsgrad_bound(setting: Setting, mean_error: float) -> AmsgradBound:
    """The explicit bound behind Theorem 1, for AMSGrad with straight-through gradients.

    2 C0 [gap/√T + L sigma²/(eps √T) + L² C0 beta1² sigma²/((1-beta1)² eps² T)]
    + 4 C0 [gap/(2 eta_0 T) + G²/(T (1-beta1) √eps) + beta1 L G²/(T^1.5 (1-beta1)² eps)]
    + (2 C0 L G/√eps) E[(1/T) sum ‖theta^_t - theta_t‖].

    Args:
        setting: constants; the step must have been ``setting.step``.
        mean_error: E[(1/T) sum_t ‖theta^_t - theta_t‖].
    """
    _at_least_zero("mean_error", mean_error)
    s, root, rest = setting, math.sqrt(setting.steps), 1.0 - setting.beta1
    start = 2.0 * s.C0 * s.gap / root + 2.0 * s.C0 * s.gap / (s.largest_step * s.steps)
    noise = s.smoothness * s.variance / (s.eps * root)
    noise += (s.smoothness * s.beta1 / (rest * s.eps)) ** 2 * s.C0 * s.variance / s.steps
    momentum = s.gradient_norm**2 / (s.steps * rest * math.sqrt(s.eps))
    momentum += s.beta1 * s.smoothness * s.gradient_norm**2 / (s.steps**1.5 * rest**2 * s.eps)
    slope = 2.0 * s.C0 * s.smoothness * s.gradient_norm / math.sqrt(s.eps)
    return AmsgradBound(start, 2.0 * s.C0 * noise, 4.0 * s.C0 * momentum, slope * mean_error)


def theorem_compression_term(setting: Setting, mean_error: float) -> float:
    """First term of Theorem 1: (C L G_inf / √eps) · mean error · N, C = 2 √(G_inf² + eps/N).

    It is the compression term of `amsgrad_bound`, written with G_inf.
    """
    _at_least_zero("mean_error", mean_error)
    s = setting
    constant = 2.0 * math.sqrt(s.largest_entry**2 + s.eps / s.num_params)
    slope = constant * s.smoothness * s.largest_entry / math.sqrt(s.eps)
    return slope * mean_error * s.num_params


def first_moment_bounds(setting: Setting, sum_squares: float) -> tuple[float, float]:
    """Lemma 1: bounds on ‖m_t‖ and on sum_t E‖m_t‖²: G, and T sigma² + sum_t E‖grad f(theta^_t)‖².

    Args:
        setting: constants.
        sum_squares: sum_t E‖grad f(theta^_t)‖².
    """
    _at_least_zero("sum_squares", sum_squares)
    return setting.gradient_norm, setting.steps * setting.variance + sum_squares


def preconditioner_change_bounds(eps: float) -> tuple[float, float]:
    """Lemma 2, entry by entry: sum_t dGamma_t,i <= 1/√eps and sum_t dGamma_t,i² <= 1/eps.

    Gamma_t = Diag(v~_t + eps)^-1/2 falls with t; dGamma_t = Gamma_{t-1} - Gamma_t >= 0.

    Note:
        The paper prints these bounds for sum_t ‖dGamma_t‖, the largest entry at every step. That
        sum can be N times as large, when another entry falls at every step (a test does so). Summed
        over entries the bounds are N/√eps and N/eps, which is all that Theorem 1 needs.
    """
    return 1.0 / math.sqrt(eps), 1.0 / eps


def second_moment_bound(gradient_norm: float) -> float:
    """Lemma 3: the largest entry of v~_t is at most G²."""
    return gradient_norm**2


def sgd_mean_square(
    hessian: Floats, gradient: Floats, error_covariance: Floats
) -> tuple[float, float, float]:
    """E‖grad f(theta^)‖² on a quadratic with unbiased compression, exactly.

    E‖grad f(theta^)‖² = ‖grad f(theta)‖² + E‖H (theta^ - theta)‖², since the gradient is linear.

    Args:
        hessian: H, (n, n).
        gradient: grad f(theta), (n,).
        error_covariance: E (theta^ - theta)(theta^ - theta)^T, (n, n).

    Returns:
        The sum and its two parts.
    """
    square = float(gradient @ gradient)
    spread = float(np.einsum("ij,jk,ik->", hessian, error_covariance, hessian))
    return square + spread, square, spread


def sgd_step(smoothness: float, steps: int) -> float:
    """The step of the SGD bound, min(1/L, 1/√T)."""
    return min(1.0 / smoothness, 1.0 / math.sqrt(steps))


def sgd_bound(
    smoothness: float, gap: float, variance: float, mean_square_error: float, steps: int
) -> float:
    """Bound on (1/T) sum E‖grad f(theta_t)‖² of SGD on quadratics with unbiased compression.

    (1/√T) (2 gap + L sigma² + L³ E[(1/T) sum ‖theta^_t - theta_t‖²]) max(1, L/√T), for the step of
    `sgd_step`. It vanishes with T: an unbiased error averages out in theta, and what is left of it
    in E‖grad f(theta^)‖² is at most L² times the mean square error.
    """
    for name, value in (("gap", gap), ("mean_square_error", mean_square_error)):
        _at_least_zero(name, value)
    root = math.sqrt(steps)
    inside = 2.0 * gap + smoothness * variance + smoothness**3 * mean_square_error
    return inside / root * max(1.0, smoothness / root)


def _at_least_zero(name: str, value: float) -> None:
    if not value >= 0:
        raise UsageError(f"{name} is {value}; allowed is at least zero")
