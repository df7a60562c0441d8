"""Huber loss of the log residuals of any law."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from unified_laws.laws.forms.base import LawForm
from unified_laws.laws.forms.observations import Observations
from unified_laws.laws.loss_law import Floats
from unified_laws.laws.objective import Derivatives

# Step of the central differences of the analytic gradient: error step^2 + 1e-16/step.
STEP = 1e-5


@dataclass(frozen=True, eq=False)
class FormObjective:
    """``sum_i w_i huber_delta(log L_i - log Lhat_i)``, as laws/objective.py, for any law.

    Attributes:
        form: the law.
        runs: n runs.
        delta: Huber threshold on the log residual; ``inf`` is least squares.
        exact: with the second derivatives of the law in the Hessian (2p more gradients each time);
            otherwise Gauss-Newton.
    """

    form: LawForm
    runs: Observations
    delta: float
    exact: bool = False

    @property
    def num_runs(self) -> int:
        """Number of runs n."""
        return len(self.runs)

    def residuals(self, theta: Floats) -> Floats:
        """``log L - log Lhat`` at each of S points, (S, n)."""
        found: Floats = self.runs.log_loss - self.form.log_loss(theta, self.runs)
        return found

    def standardize(self, residuals: Floats) -> Floats:
        """Residuals in units of their known noise: as they are, every run counts the same."""
        return residuals

    def bend(self, here: Floats, step: Floats) -> None:
        """None: which coordinates straighten its valley is not known of a law in general."""
        del here, step

    def value(self, theta: Floats, weights: Floats) -> Floats:
        """Objective at each of S points, (S,); ``weights`` is (S, n) or (n,)."""
        return huber(self.residuals(theta), weights, self.delta)

    def derivatives(self, theta: Floats, weights: Floats) -> Derivatives:
        """Value, gradient and both second-derivative matrices at S points."""
        log_loss, slope = self.form.gradient(theta, self.runs)
        residual = self.runs.log_loss - log_loss
        psi = np.clip(residual, -self.delta, self.delta)
        size = np.abs(residual)
        shrink = np.divide(np.abs(psi), size, out=np.ones_like(size), where=size > 0)
        score = weights * psi
        gradient = -np.einsum("sn,snp->sp", score, slope)
        majorizer = _outer(slope, weights * shrink)
        # A term that is vanishing has next to no J^T J of its own; what it has is curvature of exp.
        for parameter, where in self.form.layout(self.runs).values():
            if parameter.coefficient:
                own = np.arange(where.start, where.stop)
                majorizer[:, own, own] += np.abs(gradient[:, own])
        hessian = _outer(slope, weights * (size <= self.delta))
        if self.exact:
            hessian -= self._law_curvature(theta, score)
        return Derivatives(huber(residual, weights, self.delta), gradient, hessian, majorizer)

    def _law_curvature(self, theta: Floats, score: Floats) -> Floats:
        """``sum_i score_i d2 log Lhat_i`` by central differences of the gradient, (S, p, p)."""
        width = theta.shape[1]
        found = np.empty((len(theta), width, width))
        for index in range(width):
            shift = np.zeros(width)
            shift[index] = STEP
            up = self.form.gradient(theta + shift, self.runs)[1]
            down = self.form.gradient(theta - shift, self.runs)[1]
            found[:, index] = np.einsum("sn,snp->sp", score, up - down) / (2.0 * STEP)
        symmetric: Floats = 0.5 * (found + found.transpose(0, 2, 1))
        return symmetric


def huber(residual: Floats, weights: Floats, delta: float) -> Floats:
    """Weighted sum of Huber losses over the last axis."""
    psi = np.clip(residual, -delta, delta)
    total: Floats = (weights * psi * (residual - 0.5 * psi)).sum(axis=-1)
    return total


def _outer(slope: Floats, weights: Floats) -> Floats:
    """``J^T diag(weights) J``, (S, p, p)."""
    found: Floats = (slope * weights[:, :, None]).transpose(0, 2, 1) @ slope
    return found
