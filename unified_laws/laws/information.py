"""What runs tell about the law, linear around its estimate: variances of anything it predicts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import t as student

from unified_laws.errors import UsageError
from unified_laws.laws.curvature import LOST_SHARE, NO_INFORMATION
from unified_laws.laws.loss_law import PARAMETERS, Floats, LossLaw
from unified_laws.laws.noise import huber_inflation
from unified_laws.laws.objective import ALPHA, BETA, LOG_A, LOG_B, LOG_E, NUM_LAW
from unified_laws.laws.result import LawsResult

# Columns: log A, log B, E, alpha, beta, then log rho of each format but the dense one: those of
# laws/objective.py, with E itself in the place of its logarithm.
E = LOG_E
LEVEL = 0.95


@dataclass(frozen=True, eq=False)
class Information:
    """Gauss-Newton information of runs on the p parameters of the law and its capacities.

    log A and log B are those of N and D in units of the runs' geometric means, which changes
    nothing but rounding.

    Attributes:
        law: estimate around which everything is linear, in the table's units.
        dense: label of the format with rho = 1.
        formats: the other formats, in the order of their columns.
        log_rho: log capacity of each, (F,).
        held: parameters that were fixed by the user, (p,).
        gram: ``J^T J`` of log loss over the runs, (p, p).
        variance: of the log loss of one run, with the estimator's inefficiency; NaN if unknown.
        degrees_of_freedom: of the fit.
        mean_log_params: mean of log N over the runs.
        mean_log_tokens: mean of log D.
    """

    law: LossLaw
    dense: str
    formats: tuple[str, ...]
    log_rho: Floats
    held: NDArray[np.bool_]
    gram: Floats
    variance: float
    degrees_of_freedom: int
    mean_log_params: float
    mean_log_tokens: float

    @classmethod
    def of(cls, laws: LawsResult, *, noise: float | None = None) -> Information:
        """Of the runs behind a fit.

        E at its bound of 0 counts as free here: that the best fit has E = 0 does not mean that it
        is known to be 0.

        Args:
            laws: the fit; its residuals name the runs.
            noise: standard deviation of the log loss of a run; the fit's own if None.

        Raises:
            UsageError: the fit does not list its runs, or ``noise`` is not a positive number.
        """
        if not laws.residuals:
            raise UsageError("the laws list no runs; fit them again with the fit command")
        if noise is not None and not (math.isfinite(noise) and noise > 0):
            raise UsageError(f"noise is {noise}; allowed is a number above zero (.003 is usual)")
        compressed = [entry for entry in laws.capacities if entry.format != laws.dense]
        num = NUM_LAW + len(compressed)
        held = np.zeros(num, dtype=np.bool_)
        for name, _ in laws.fixed:
            held[PARAMETERS.index(name)] = True
        params = np.array([run.num_params for run in laws.residuals])
        tokens = np.array([run.num_tokens for run in laws.residuals])
        sigma = laws.fit.noise_log if noise is None else noise
        variance = laws.fit.variance_log
        if noise is not None or not math.isfinite(variance):
            inflation = huber_inflation(laws.delta / sigma) if sigma > 0 else 1.0
            variance = sigma**2 * inflation
        empty = cls(
            law=laws.law,
            dense=laws.dense,
            formats=tuple(entry.format for entry in compressed),
            log_rho=np.log([entry.rho for entry in compressed]),
            held=held,
            gram=np.zeros((num, num)),
            variance=variance,
            degrees_of_freedom=laws.fit.degrees_of_freedom,
            mean_log_params=float(np.log(params).mean()),
            mean_log_tokens=float(np.log(tokens).mean()),
        )
        return empty.add(empty.rows([run.format for run in laws.residuals], params, tokens))

    @property
    def quantile(self) -> float:
        """Half-width of a 95 % interval in standard errors: Student, or NaN without freedom."""
        freedom = self.degrees_of_freedom
        return float(student.ppf(0.5 + LEVEL / 2, freedom)) if freedom > 0 else math.nan

    def with_format(self, name: str, rho: float) -> Information:
        """The same with a column for a format that no run has, expected at ``rho``."""
        gram = np.zeros((len(self.gram) + 1,) * 2)
        gram[:-1, :-1] = self.gram
        return replace(
            self,
            formats=(*self.formats, name),
            log_rho=np.append(self.log_rho, math.log(rho)),
            held=np.append(self.held, False),
            gram=gram,
        )

    def add(self, rows: Floats) -> Information:
        """The same after runs with these ``rows`` (n, p)."""
        return replace(self, gram=self.gram + rows.T @ rows)

    def capacity_direction(self, names: Sequence[str]) -> Floats:
        """Gradient of the log of the product of the capacities of ``names``, (p,).

        Raises:
            UsageError: a format has no column.
        """
        direction = np.zeros(len(self.gram))
        for name in names:
            if name == self.dense:
                continue
            if name not in self.formats:
                known = ", ".join((self.dense, *self.formats))
                raise UsageError(f"no run has format {name!r}; there are {known}")
            direction[NUM_LAW + self.formats.index(name)] += 1.0
        return direction

    def gradient(
        self, num_params: ArrayLike, num_tokens: ArrayLike, log_rho: ArrayLike, capacity: Floats
    ) -> Floats:
        """Derivative of the loss (nats) where log rho moves along ``capacity``, (n, p).

        Args:
            num_params: N, (n,) or one.
            num_tokens: D.
            log_rho: log capacity of each point.
            capacity: gradient of that, (n, p) or (p,).
        """
        N, D, log_rho = np.broadcast_arrays(
            np.atleast_1d(num_params), np.atleast_1d(num_tokens), np.atleast_1d(log_rho)
        )
        own = self.law.gradient(N, D, np.exp(log_rho))  # log A, log B, log E, alpha, beta, log rho
        result = np.zeros((len(N), len(self.gram)))
        result[:, LOG_A], result[:, LOG_B], result[:, E] = own[:, 0], own[:, 1], 1.0
        result[:, ALPHA] = own[:, 3] + own[:, 0] * self.mean_log_params
        result[:, BETA] = own[:, 4] + own[:, 1] * self.mean_log_tokens
        return result + own[:, [5]] * capacity

    def rows(self, formats: Sequence[str], num_params: ArrayLike, num_tokens: ArrayLike) -> Floats:
        """Derivative of the log loss of runs, (n, p): what a run adds to the information."""
        capacity = np.array([self.capacity_direction([name]) for name in formats])
        log_rho = capacity[:, NUM_LAW:] @ self.log_rho
        loss = self.law.predict(num_params, num_tokens, np.exp(log_rho))
        found: Floats = self.gradient(num_params, num_tokens, log_rho, capacity) / loss[:, None]
        return found

    def covariance_of(self, directions: Floats) -> Floats:
        """Covariance of ``directions @ parameters``, (m, m); infinite diagonal where unknown.

        Unlike a matrix of covariances this knows that a combination can be certain while its parts
        are not: with all runs at one D, beta is unknown and losses at that D are known.
        """
        free = ~self.held
        size = np.sqrt(np.diag(self.gram)[free])
        size = np.where(size > 0, size, 1.0)
        values, vectors = np.linalg.eigh(self.gram[np.ix_(free, free)] / np.outer(size, size))
        known = values > NO_INFORMATION * max(values[-1], 1e-300)
        along = (np.atleast_2d(directions)[:, free] / size) @ vectors
        total = np.square(along).sum(axis=1)
        lost = np.square(along[:, ~known]).sum(axis=1) > LOST_SHARE * total
        found: Floats = self.variance * (along[:, known] / values[known]) @ along[:, known].T
        found[lost, lost] = math.inf
        return found

    def variance_of(self, directions: Floats) -> Floats:
        """Diagonal of `covariance_of`, (m,)."""
        return np.diag(self.covariance_of(directions))
