"""Distributions of the values that are compressed, each of zero mean and unit variance."""

from __future__ import annotations

from abc import ABC, abstractmethod
from math import exp, lgamma, log, pi, sqrt
from typing import final

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import expit, log_ndtr, ndtri_exp, stdtr, stdtrit
from torch import Tensor

from unified_laws.compression.gaussian import density
from unified_laws.errors import UsageError

Array = NDArray[np.float64]
TAIL = 12.0  # P(|x| > 12) = 3.6e-33 for N(0,1): beyond float64
EXPONENTIAL_TAIL = 60.0  # P(|x| > 60) < 1e-36 for Laplace and Logistic of unit variance
PIECE = 0.5  # widest piece of the integral; 20 nodes integrate exp(-x²/2)·polynomial exactly there
OCTAVES = 300  # pieces that double in width: the variance of Student-t beyond is < 1e-9 at ν = 2.1


class Source(ABC):
    """A symmetric density with zero mean and unit variance (arXiv:2506.01863 App. D.1)."""

    @property
    def is_normal(self) -> bool:
        """Whether it is N(0,1), which an orthonormal transform maps to itself."""
        return False

    @property
    def has_fourth_moment(self) -> bool:
        """Whether a mean of squared errors has a standard error."""
        return True

    @property
    def pieces(self) -> Array:
        """Where pieces of the integral over the density meet: it is smooth within each."""
        return np.arange(-EXPONENTIAL_TAIL, EXPONENTIAL_TAIL + PIECE / 2, PIECE)

    @abstractmethod
    def density(self, x: Array) -> Array:
        """The density at `x`."""

    @abstractmethod
    def log_tail(self, x: Array) -> Array:
        """The logarithm of P(X > x) for x >= 0, accurate far out."""

    @abstractmethod
    def inverse_log_tail(self, log_tail: float) -> float:
        """The magnitude that `log_tail` maps to this value."""

    @abstractmethod
    def sample(self, rows: int, columns: int, generator: torch.Generator) -> Tensor:
        """Independent values, float32 (rows, columns)."""

    def normal_magnitude(self, magnitude: Array) -> Array:
        """The magnitude of the same rank under N(0,1), for rules that depend on ranks alone."""
        return np.asarray(-ndtri_exp(self.log_tail(magnitude)), dtype=np.float64)

    def own_magnitude(self, normal: float) -> float:
        """The inverse of `normal_magnitude`."""
        return self.inverse_log_tail(float(log_ndtr(-normal)))


@final
class Normal(Source):
    """N(0,1), the input of GMSE."""

    @property
    def is_normal(self) -> bool:
        """True."""
        return True

    @property
    def pieces(self) -> Array:
        """Half units up to 12."""
        return np.arange(-TAIL, TAIL + PIECE / 2, PIECE)

    def density(self, x: Array) -> Array:
        """exp(-x²/2)/√(2π)."""
        return density(x)

    def log_tail(self, x: Array) -> Array:
        """The logarithm of Φ(-x)."""
        return np.asarray(log_ndtr(-x), dtype=np.float64)

    def inverse_log_tail(self, log_tail: float) -> float:
        """-Φ⁻¹."""
        return float(-ndtri_exp(log_tail))

    def sample(self, rows: int, columns: int, generator: torch.Generator) -> Tensor:
        """`torch.randn`."""
        return torch.randn(rows, columns, generator=generator)

    def normal_magnitude(self, magnitude: Array) -> Array:
        """Itself, to the bit."""
        return magnitude

    def own_magnitude(self, normal: float) -> float:
        """Itself, to the bit."""
        return normal


@final
class Laplace(Source):
    """exp(-√2·|x|)/√2."""

    def density(self, x: Array) -> Array:
        """exp(-√2·|x|)/√2."""
        return np.asarray(np.exp(-sqrt(2) * np.abs(x)) / sqrt(2), dtype=np.float64)

    def log_tail(self, x: Array) -> Array:
        """-√2·x - log 2."""
        return np.asarray(-sqrt(2) * x - log(2), dtype=np.float64)

    def inverse_log_tail(self, log_tail: float) -> float:
        """-(log p + log 2)/√2."""
        return -(log_tail + log(2)) / sqrt(2)

    def sample(self, rows: int, columns: int, generator: torch.Generator) -> Tensor:
        """The difference of two exponentials, over √2."""
        first, second = _exponentials(rows, columns, generator)
        return ((first - second) / sqrt(2)).float()


@final
class Logistic(Source):
    """The logistic density of scale √3/π."""

    scale = sqrt(3) / pi

    def density(self, x: Array) -> Array:
        """σ(z)·σ(-z)/scale with z = x/scale."""
        z = x / self.scale
        return np.asarray(expit(z) * expit(-z) / self.scale, dtype=np.float64)

    def log_tail(self, x: Array) -> Array:
        """The logarithm of σ(-x/scale)."""
        return np.asarray(-np.logaddexp(0.0, x / self.scale), dtype=np.float64)

    def inverse_log_tail(self, log_tail: float) -> float:
        """scale·(log(1-p) - log p)."""
        return self.scale * float(np.log(-np.expm1(log_tail)) - log_tail)

    def sample(self, rows: int, columns: int, generator: torch.Generator) -> Tensor:
        """The difference of the logarithms of two exponentials, in units of the scale."""
        first, second = _exponentials(rows, columns, generator)
        return (self.scale * (first.log() - second.log())).float()


@final
class Student(Source):
    """Student's t of `nu` degrees of freedom, divided by its standard deviation.

    Args:
        nu: degrees of freedom, above 2.

    Raises:
        UsageError: the variance is infinite or the integral over its tail loses digits (nu < 2.1).
    """

    def __init__(self, nu: float) -> None:
        if not 2.1 <= nu <= 1e4:
            raise UsageError(
                f"Student-t nu: got {nu:g}, allowed are 2.1 to 10000 (the variance is infinite at "
                "2); take 5 for heavy tails, or the normal source for no tails"
            )
        self.nu = float(nu)
        self.deviation = sqrt(nu / (nu - 2))

    @property
    def has_fourth_moment(self) -> bool:
        """Above 4."""
        return self.nu > 4

    @property
    def pieces(self) -> Array:
        """Half units, finer about the peak, octaves in the tail."""
        peak = sqrt(self.nu - 2)  # the poles of the density are at ±i·peak
        near = np.arange(0.0, 4.0, 0.5) * peak
        far = TAIL * 2.0 ** np.arange(OCTAVES)
        half = np.concatenate([np.arange(0.0, TAIL, PIECE), near[near < TAIL], far])
        return np.unique(np.concatenate([-half, half]))

    def density(self, x: Array) -> Array:
        """∝ (1 + x²/(nu-2))^(-(nu+1)/2)."""
        nu = self.nu
        height = exp(lgamma((nu + 1) / 2) - lgamma(nu / 2)) / sqrt(pi * (nu - 2))
        power = np.exp(-(nu + 1) * np.log(np.hypot(1.0, x / sqrt(nu - 2))))
        return np.asarray(height * power, dtype=np.float64)

    def log_tail(self, x: Array) -> Array:
        """The logarithm of the cdf at -x·deviation, not below the smallest float64."""
        tail = stdtr(self.nu, -x * self.deviation)
        return np.asarray(np.log(np.maximum(tail, np.finfo(np.float64).tiny)), dtype=np.float64)

    def inverse_log_tail(self, log_tail: float) -> float:
        """The quantile over the deviation."""
        return float(-stdtrit(self.nu, exp(log_tail)) / self.deviation)

    def sample(self, rows: int, columns: int, generator: torch.Generator) -> Tensor:
        """√(nu·(u^(-2/nu) - 1))·cos(2πv) of two uniforms (Bailey 1994, Math. Comp. 62, 779)."""
        u, v = torch.rand(2, rows, columns, generator=generator, dtype=torch.float64)
        radius = (self.nu * torch.expm1(torch.log1p(-u) * (-2.0 / self.nu))).sqrt()
        return (radius * torch.cos(2 * pi * v) / self.deviation).float()


def _exponentials(rows: int, columns: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Two independent blocks of positive exponential values, float64."""
    pair = torch.empty(2, rows, columns, dtype=torch.float64).exponential_(generator=generator)
    first, second = pair.clamp_min_(torch.finfo(torch.float64).tiny)
    return first, second
