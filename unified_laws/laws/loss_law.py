"""The unified law: arXiv:2506.01863, eq. 1."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

PARAMETERS = ("A", "B", "E", "alpha", "beta")


@dataclass(frozen=True)
class LossLaw:
    """``L(N, D, rho) = A (N rho)^-alpha + B D^-beta + E`` (arXiv:2506.01863, eq. 1).

    Attributes:
        log_A: natural log of A, nats · parameters^alpha.
        log_B: natural log of B, nats · tokens^beta.
        log_E: natural log of E, nats per token; ``-inf`` stands for E = 0.
        alpha: exponent of the parameters.
        beta: exponent of the tokens.
    """

    log_A: float  # noqa: N815
    log_B: float  # noqa: N815
    log_E: float  # noqa: N815
    alpha: float
    beta: float

    @property
    def A(self) -> float:  # noqa: N802
        """Coefficient of the parameter term."""
        return float(np.exp(self.log_A))

    @property
    def B(self) -> float:  # noqa: N802
        """Coefficient of the token term."""
        return float(np.exp(self.log_B))

    @property
    def E(self) -> float:  # noqa: N802
        """Irreducible loss, nats per token."""
        return float(np.exp(self.log_E))

    def _log_terms(self, num_params: ArrayLike, num_tokens: ArrayLike, rho: ArrayLike) -> Floats:
        log_params = np.log(np.asarray(num_params, dtype=np.float64)) + np.log(np.asarray(rho))
        log_tokens = np.log(np.asarray(num_tokens, dtype=np.float64))
        log_params, log_tokens = np.broadcast_arrays(log_params, log_tokens)
        return np.stack(
            [
                self.log_A - self.alpha * log_params,
                self.log_B - self.beta * log_tokens,
                np.full(log_params.shape, self.log_E),
            ]
        )

    def predict(self, num_params: ArrayLike, num_tokens: ArrayLike, rho: ArrayLike = 1.0) -> Floats:
        """Loss in nats per token; the arguments broadcast against each other.

        Args:
            num_params: non-embedding parameters N, a count (not millions).
            num_tokens: training tokens D, a count.
            rho: capacity, > 0; above 1 is allowed.
        """
        total: Floats = np.exp(self._log_terms(num_params, num_tokens, rho)).sum(axis=0)
        return total

    def gradient(
        self, num_params: ArrayLike, num_tokens: ArrayLike, rho: ArrayLike = 1.0
    ) -> Floats:
        """Derivatives of the loss, nats; shape (..., 6).

        The last axis runs over log A, log B, log E, alpha, beta, log rho.
        """
        terms = np.exp(self._log_terms(num_params, num_tokens, rho))
        log_params = np.log(np.asarray(num_params, dtype=np.float64)) + np.log(np.asarray(rho))
        log_tokens = np.log(np.asarray(num_tokens, dtype=np.float64))
        return np.stack(
            [
                terms[0],
                terms[1],
                terms[2],
                -terms[0] * log_params,
                -terms[1] * log_tokens,
                -terms[0] * self.alpha,
            ],
            axis=-1,
        )

    def invert(self, num_params: ArrayLike, num_tokens: ArrayLike, loss: ArrayLike) -> Floats:
        """Capacity at which the law gives ``loss``; NaN where the other two terms exceed it.

        ``rho = ((L - E - B D^-beta) / A)^(-1/alpha) / N``: the spread of this over N and D tests
        the claim that rho depends on the format alone.
        """
        tokens = np.asarray(num_tokens, dtype=np.float64)
        left = np.asarray(loss, dtype=np.float64) - self.E
        left = left - np.exp(self.log_B - self.beta * np.log(tokens))
        positive = left > 0.0
        log_left = np.log(np.where(positive, left, 1.0))
        log_rho = (self.log_A - log_left) / self.alpha - np.log(
            np.asarray(num_params, dtype=np.float64)
        )
        return np.where(positive, np.exp(np.clip(log_rho, -700.0, 700.0)), np.nan)
