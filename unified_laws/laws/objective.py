"""Huber loss of the log residuals, its gradient and its exact Hessian, for many points at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from unified_laws.laws.loss_law import Floats, LossLaw
from unified_laws.laws.table import RunTable

# Columns of a parameter vector: log A, log B, log E, alpha, beta, then one log rho per format.
NUM_LAW = 5
LOG_A, LOG_B, LOG_E, ALPHA, BETA = range(NUM_LAW)
# Stands for the log of a held E = 0; exp of it is still a comfortable double.
LOG_OF_ZERO = -700.0


@dataclass(frozen=True)
class Derivatives:
    """Value and derivatives at S points of p parameters.

    Attributes:
        value: sum of Huber losses, (S,).
        gradient: (S, p).
        hessian: exact second derivative, (S, p, p); may be indefinite.
        majorizer: iteratively reweighted ``J^T W J``, (S, p, p); never indefinite.
    """

    value: Floats
    gradient: Floats
    hessian: Floats
    majorizer: Floats


@dataclass(frozen=True, eq=False)
class Objective:
    """``sum_i w_i huber_delta(log L_i - log Lhat_i)`` over n runs (arXiv:2203.15556, §3.3).

    N and D enter in units of their geometric means, so nothing depends on the user's units.

    Attributes:
        log_params: log N minus its mean, (n,).
        log_tokens: log D minus its mean, (n,).
        log_loss: natural log of the loss, (n,).
        one_hot: 1 where run i has compressed format f, (n, F); dense rows are all zero.
        formats: the F compressed formats, in order of first appearance.
        delta: Huber threshold on the log residual; ``inf`` is least squares.
        mean_log_params: what was subtracted from log N.
        mean_log_tokens: what was subtracted from log D.
    """

    log_params: Floats
    log_tokens: Floats
    log_loss: Floats
    one_hot: Floats
    formats: tuple[str, ...]
    delta: float
    mean_log_params: float
    mean_log_tokens: float

    @property
    def num_runs(self) -> int:
        """Number of runs n."""
        return len(self.log_loss)

    @property
    def num_parameters(self) -> int:
        """Five of the law and one log rho per compressed format."""
        return NUM_LAW + len(self.formats)

    def _parts(self, theta: Floats) -> tuple[Floats, Floats, Floats]:
        """Shares of the three terms (3, S, n), log N rho (S, n), residuals (S, n)."""
        log_capacity = self.log_params + theta[:, NUM_LAW:] @ self.one_hot.T
        terms = np.stack(
            [
                theta[:, [LOG_A]] - theta[:, [ALPHA]] * log_capacity,
                theta[:, [LOG_B]] - theta[:, [BETA]] * self.log_tokens,
                np.broadcast_to(theta[:, [LOG_E]], log_capacity.shape),
            ]
        )
        peak = terms.max(axis=0)
        shares = np.exp(terms - peak)
        total = shares.sum(axis=0)
        return shares / total, log_capacity, self.log_loss - peak - np.log(total)

    def residuals(self, theta: Floats) -> Floats:
        """``log L - log Lhat`` at each of S points, (S, n)."""
        return self._parts(theta)[2]

    def value(self, theta: Floats, weights: Floats) -> Floats:
        """Objective at each of S points, (S,); ``weights`` is (S, n) or (n,)."""
        residual = self.residuals(theta)
        psi = np.clip(residual, -self.delta, self.delta)
        total: Floats = (weights * psi * (residual - 0.5 * psi)).sum(axis=1)
        return total

    def jacobian(self, theta: Floats) -> Floats:
        """Derivative of log Lhat at one point ``theta`` (p,), shape (n, p)."""
        shares, log_capacity, _ = self._parts(theta[None])
        first = shares[0, 0]
        law = [*shares[:, 0], -first * log_capacity[0], -shares[1, 0] * self.log_tokens]
        return np.column_stack([*law, -theta[ALPHA] * first[:, None] * self.one_hot])

    def derivatives(self, theta: Floats, weights: Floats) -> Derivatives:
        """Value, gradient and both second-derivative matrices at S points."""
        shares, log_capacity, residual = self._parts(theta)
        alpha = theta[:, [ALPHA]]
        psi = np.clip(residual, -self.delta, self.delta)
        law = np.stack(
            [*shares, -shares[0] * log_capacity, -shares[1] * self.log_tokens], axis=1
        )  # (S, 5, n)
        slope = -alpha * shares[0]  # d log Lhat / d log rho of the run's own format
        score = weights * psi
        gradient = -np.concatenate(
            [(law @ score[:, :, None])[:, :, 0], (score * slope) @ self.one_hot], axis=1
        )
        size = np.abs(residual)
        inside = (size <= self.delta).astype(np.float64)
        shrink = np.divide(np.abs(psi), size, out=np.ones_like(size), where=size > 0)
        majorizer = self._outer(law, slope, weights * shrink)
        # A term that is vanishing has next to no J^T J of its own; what it has is curvature of exp.
        for column in (LOG_B, LOG_E):
            majorizer[:, column, column] += np.abs((score * shares[column]).sum(axis=1))
        hessian = self._outer(law, slope, weights * (inside + psi))
        self._subtract_curvature(hessian, score * shares, log_capacity, alpha)
        value = (score * (residual - 0.5 * psi)).sum(axis=1)
        return Derivatives(value, gradient, hessian, majorizer)

    def _outer(self, law: Floats, slope: Floats, weights: Floats) -> Floats:
        """``J^T diag(weights) J`` from its arrow shape, (S, p, p)."""
        result = np.zeros((len(law), self.num_parameters, self.num_parameters))
        weighted = law * weights[:, None, :]
        result[:, :NUM_LAW, :NUM_LAW] = weighted @ law.transpose(0, 2, 1)
        cross = (weighted * slope[:, None, :]) @ self.one_hot
        result[:, :NUM_LAW, NUM_LAW:] = cross
        result[:, NUM_LAW:, :NUM_LAW] = cross.transpose(0, 2, 1)
        own = np.arange(NUM_LAW, self.num_parameters)
        result[:, own, own] = (weights * slope**2) @ self.one_hot
        return result

    def _subtract_curvature(
        self, hessian: Floats, score: Floats, log_capacity: Floats, alpha: Floats
    ) -> None:
        """Take ``sum_k score_k (grad u_k grad u_k^T + hess u_k)`` off, u_k the log of term k."""
        first, second, third = score
        tokens = self.log_tokens
        hessian[:, LOG_A, LOG_A] -= first.sum(axis=1)
        hessian[:, LOG_A, ALPHA] += (first * log_capacity).sum(axis=1)
        hessian[:, ALPHA, LOG_A] = hessian[:, LOG_A, ALPHA]
        hessian[:, ALPHA, ALPHA] -= (first * log_capacity**2).sum(axis=1)
        hessian[:, LOG_B, LOG_B] -= second.sum(axis=1)
        hessian[:, LOG_B, BETA] += (second * tokens).sum(axis=1)
        hessian[:, BETA, LOG_B] = hessian[:, LOG_B, BETA]
        hessian[:, BETA, BETA] -= (second * tokens**2).sum(axis=1)
        hessian[:, LOG_E, LOG_E] -= third.sum(axis=1)
        mass = first @ self.one_hot
        moment = (first * log_capacity) @ self.one_hot
        hessian[:, LOG_A, NUM_LAW:] += alpha * mass
        hessian[:, NUM_LAW:, LOG_A] += alpha * mass
        hessian[:, ALPHA, NUM_LAW:] += mass - alpha * moment
        hessian[:, NUM_LAW:, ALPHA] += mass - alpha * moment
        own = np.arange(NUM_LAW, self.num_parameters)
        hessian[:, own, own] -= alpha**2 * mass

    def law(self, theta: Floats) -> LossLaw:
        """The law at one point, in parameters and tokens rather than internal units."""
        alpha, beta = float(theta[ALPHA]), float(theta[BETA])
        return LossLaw(
            log_A=float(theta[LOG_A]) + alpha * self.mean_log_params,
            log_B=float(theta[LOG_B]) + beta * self.mean_log_tokens,
            log_E=float(theta[LOG_E]) if theta[LOG_E] > LOG_OF_ZERO else -np.inf,
            alpha=alpha,
            beta=beta,
        )


def make_objective(table: RunTable, *, dense: str, delta: float) -> Objective:
    """Objective of a table whose ``dense`` format is pinned at rho = 1."""
    formats = tuple(name for name in dict.fromkeys(table.formats) if name != dense)
    log_params, log_tokens = np.log(table.num_params), np.log(table.num_tokens)
    one_hot = np.array([[float(label == name) for name in formats] for label in table.formats])
    return Objective(
        log_params=log_params - log_params.mean(),
        log_tokens=log_tokens - log_tokens.mean(),
        log_loss=np.log(table.val_loss),
        one_hot=one_hot.reshape(len(table.formats), len(formats)),
        formats=formats,
        delta=delta,
        mean_log_params=float(log_params.mean()),
        mean_log_tokens=float(log_tokens.mean()),
    )
