"""Huber loss of the log residuals, its gradient and its exact Hessian, for many points at once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from unified_laws.laws.loss_law import Floats, LossLaw
from unified_laws.laws.table import RunTable

# Columns of a parameter vector: log A, log B, log E, alpha, beta, then one log rho per format.
NUM_LAW = 5
LOG_A, LOG_B, LOG_E, ALPHA, BETA = range(NUM_LAW)
# Stands for the log of a held E = 0; exp of it is still a comfortable double.
LOG_OF_ZERO = -700.0
# E falls by this factor at most in one bent step: a jump to zero could not be taken back.
MOST_FALL_OF_E = 0.1
# An E below this share of the smallest loss has vanished; it is raised to the other share of it.
VANISHED_SHARE, LIFTED_SHARE = 1e-3, 0.1


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
    """``sum_i w_i huber_delta(z_i)``, z the standardized log residuals (arXiv:2203.15556, §3.3).

    ``z = whiten (log L - log Lhat) / scale``: without whiten and scale, the plain log residuals.
    N and D enter in units of their geometric means, so nothing depends on the user's units.

    Attributes:
        log_params: log N minus its mean, (n,).
        log_tokens: log D minus its mean, (n,).
        log_loss: natural log of the loss, (n,).
        design: ``log rho = design @ theta[5:]``, (n, F); plainly 1 where run i has compressed
            format f. Dense rows are all zero. Further columns (slopes) may follow.
        formats: the F compressed formats, in order of first appearance.
        delta: Huber threshold on z; ``inf`` is least squares.
        mean_log_params: what was subtracted from log N.
        mean_log_tokens: what was subtracted from log D.
        scale: noise of each run relative to the others, (n,), or None if all are alike.
        whiten: symmetric matrix that takes the correlation off the residuals, (n, n), or None.
    """

    log_params: Floats
    log_tokens: Floats
    log_loss: Floats
    design: Floats
    formats: tuple[str, ...]
    delta: float
    mean_log_params: float
    mean_log_tokens: float
    scale: Floats | None = None
    whiten: Floats | None = None

    @property
    def num_runs(self) -> int:
        """Number of runs n."""
        return len(self.log_loss)

    @property
    def num_parameters(self) -> int:
        """Five of the law and one per column of the design."""
        return NUM_LAW + int(self.design.shape[1])

    @cached_property
    def _separate(self) -> bool:
        """No run has more than one column of the design."""
        return bool(((self.design != 0).sum(axis=1) <= 1).all())

    def _parts(self, theta: Floats) -> tuple[Floats, Floats, Floats]:
        """Shares of the three terms (3, S, n), log N rho (S, n), log residuals (S, n)."""
        log_capacity = self.log_params + theta[:, NUM_LAW:] @ self.design.T
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

    def standardize(self, rows: Floats) -> Floats:
        """Log residuals, or derivatives of them, (..., n), divided by scale and whitened."""
        if self.scale is not None:
            rows = rows / self.scale
        if self.whiten is not None:
            rows = rows @ self.whiten
        return rows

    def bend(self, here: Floats, step: Floats) -> Floats:
        """The same step taken in coordinates in which the valley of the law is straight.

        E, A and alpha (and B, beta) trade against each other along a curved valley. At the mean of
        log N and log D the loss is A + B + E and its slopes are alpha A and beta B: expected
        values, which the runs determine almost one by one (Ratkowsky, Nonlinear Regression
        Modeling, 1983).
        """
        result = here + step
        terms = np.exp(here[:, : LOG_E + 1])
        exponents = here[:, [ALPHA, BETA]]
        moved = exponents + step[:, [ALPHA, BETA]]
        usable = np.asarray((moved > 0).all(axis=1))
        growth = step[:, [ALPHA, BETA]] / exponents
        ahead = np.where(usable[:, None], moved / exponents, 1.0)
        shift = step[:, [LOG_A, LOG_B]] + np.where(usable[:, None], growth - np.log(ahead), 0.0)
        total = terms.sum(axis=1) + (terms * step[:, : LOG_E + 1]).sum(axis=1)
        coefficients = here[:, [LOG_A, LOG_B]] + shift
        rest = total - np.exp(np.minimum(coefficients, 700.0)).sum(axis=1)
        result[:, [LOG_A, LOG_B]] = coefficients
        result[:, LOG_E] = np.log(np.maximum(rest, MOST_FALL_OF_E * terms[:, LOG_E]))
        return result

    def lift(self, theta: Floats, kept: NDArray[np.bool_]) -> Floats:
        """The same points with an E that has all but vanished raised along the law's valley.

        Near E = 0 nothing depends on log E, so a descent that starts there would stay although the
        optimum has moved away. A + E and alpha A stay as they are (see `bend`); rows in which one
        of E, A or alpha is kept are left alone.

        Args:
            theta: points, (S, p).
            kept: which of their parameters are kept, (S, p).
        """
        result = theta.copy()
        smallest = float(np.exp(self.log_loss.min()))
        first = np.exp(np.minimum(theta[:, LOG_A], 700.0))
        raised = np.minimum(LIFTED_SHARE * smallest, 0.5 * first)
        rows = (np.exp(theta[:, LOG_E]) < VANISHED_SHARE * smallest) & ~kept[
            :, [LOG_E, LOG_A, ALPHA]
        ].any(axis=1)
        left = first - raised
        result[rows, LOG_E] = np.log(raised[rows])
        result[rows, LOG_A] = np.log(left[rows])
        result[rows, ALPHA] *= (first / left)[rows]
        return result

    def value(self, theta: Floats, weights: Floats) -> Floats:
        """Objective at each of S points, (S,); ``weights`` is (S, n) or (n,)."""
        residual = self.standardize(self.residuals(theta))
        psi = np.clip(residual, -self.delta, self.delta)
        total: Floats = (weights * psi * (residual - 0.5 * psi)).sum(axis=1)
        return total

    def jacobian(self, theta: Floats) -> Floats:
        """Derivative of log Lhat at one point ``theta`` (p,), standardized, shape (n, p)."""
        shares, log_capacity, _ = self._parts(theta[None])
        first = shares[0, 0]
        law = [*shares[:, 0], -first * log_capacity[0], -shares[1, 0] * self.log_tokens]
        columns = np.column_stack([*law, -theta[ALPHA] * first[:, None] * self.design])
        return self.standardize(columns.T).T

    def derivatives(self, theta: Floats, weights: Floats) -> Derivatives:
        """Value, gradient and both second-derivative matrices at S points."""
        shares, log_capacity, residual = self._parts(theta)
        residual = self.standardize(residual)
        alpha = theta[:, [ALPHA]]
        psi = np.clip(residual, -self.delta, self.delta)
        law = np.stack(
            [*shares, -shares[0] * log_capacity, -shares[1] * self.log_tokens], axis=1
        )  # (S, 5, n)
        slope = -alpha * shares[0]  # d log Lhat / d log rho of the run's own format
        pull = weights * psi
        value = (pull * (residual - 0.5 * psi)).sum(axis=1)
        # The adjoint of `standardize`: what each raw log residual is pulled by.
        score = pull if self.whiten is None else pull @ self.whiten
        score = score if self.scale is None else score / self.scale
        gradient = -np.concatenate(
            [(law @ score[:, :, None])[:, :, 0], (score * slope) @ self.design], axis=1
        )
        size = np.abs(residual)
        inside = (size <= self.delta).astype(np.float64)
        shrink = np.divide(np.abs(psi), size, out=np.ones_like(size), where=size > 0)
        majorizer = self._squares(law, slope, weights * shrink, None)
        # A term that is vanishing has next to no J^T J of its own; what it has is curvature of exp.
        for column in (LOG_B, LOG_E):
            majorizer[:, column, column] += np.abs((score * shares[column]).sum(axis=1))
        hessian = self._squares(law, slope, weights * inside, score)
        self._subtract_curvature(hessian, score * shares, log_capacity, alpha)
        return Derivatives(value, gradient, hessian, majorizer)

    def _squares(self, law: Floats, slope: Floats, weights: Floats, plain: Floats | None) -> Floats:
        """``J^T diag(weights) J`` of the standardized Jacobian, (S, p, p).

        ``plain`` (S, n) adds the same of the plain Jacobian.
        """
        if self.whiten is None:
            weights = weights if self.scale is None else weights / self.scale**2
            return self._outer(law, slope, weights if plain is None else weights + plain)
        columns = np.concatenate([law, slope[:, None, :] * self.design.T], axis=1)  # (S, p, n)
        columns = self.standardize(columns)
        result: Floats = (columns * weights[:, None, :]) @ columns.transpose(0, 2, 1)
        return result if plain is None else result + self._outer(law, slope, plain)

    def _outer(self, law: Floats, slope: Floats, weights: Floats) -> Floats:
        """``J^T diag(weights) J`` of the plain Jacobian from its arrow shape, (S, p, p)."""
        result = np.zeros((len(law), self.num_parameters, self.num_parameters))
        weighted = law * weights[:, None, :]
        result[:, :NUM_LAW, :NUM_LAW] = weighted @ law.transpose(0, 2, 1)
        # One product of two matrices is many times faster than S small ones.
        cross = (weighted * slope[:, None, :]).reshape(-1, self.num_runs) @ self.design
        cross = cross.reshape(len(law), NUM_LAW, -1)
        result[:, :NUM_LAW, NUM_LAW:] = cross
        result[:, NUM_LAW:, :NUM_LAW] = cross.transpose(0, 2, 1)
        result[:, NUM_LAW:, NUM_LAW:] = self._own(weights * slope**2)
        return result

    def _own(self, weights: Floats) -> Floats:
        """``design^T diag(weights) design`` for each row of ``weights`` (S, n)."""
        size = self.design.shape[1]
        if self._separate:
            result = np.zeros((len(weights), size, size))
            own = np.arange(size)
            result[:, own, own] = weights @ self.design**2
            return result
        full: Floats = (weights[:, None, :] * self.design.T) @ self.design
        return full

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
        mass = first @ self.design
        moment = (first * log_capacity) @ self.design
        hessian[:, LOG_A, NUM_LAW:] += alpha * mass
        hessian[:, NUM_LAW:, LOG_A] += alpha * mass
        hessian[:, ALPHA, NUM_LAW:] += mass - alpha * moment
        hessian[:, NUM_LAW:, ALPHA] += mass - alpha * moment
        hessian[:, NUM_LAW:, NUM_LAW:] -= alpha[:, :, None] ** 2 * self._own(first)

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
    design = np.array([[float(label == name) for name in formats] for label in table.formats])
    return Objective(
        log_params=log_params - log_params.mean(),
        log_tokens=log_tokens - log_tokens.mean(),
        log_loss=np.log(table.val_loss),
        design=design.reshape(len(table.formats), len(formats)),
        formats=formats,
        delta=delta,
        mean_log_params=float(log_params.mean()),
        mean_log_tokens=float(log_tokens.mean()),
    )
