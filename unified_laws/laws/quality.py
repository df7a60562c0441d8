"""How well the law meets its runs."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class FitQuality:
    """How good and how trustworthy the fit is.

    Attributes:
        rmse_log: root mean square of the log residuals (relative error of the loss).
        starts: number of descents.
        starts_at_best: how many of them ended at the best optimum (1e-6 relative).
        condition: condition number of J^T J in internal units; infinite if singular.
        warnings: what cannot be trusted, in plain words.
        objective: sum of Huber losses of the log residuals.
        noise_log: robust standard deviation of the log residuals, corrected for fitted parameters.
        degrees_of_freedom: runs minus fitted parameters.
        converged: the gradient vanishes at the best point.
        at_bound: parameters that sit at a bound.
        variance_log: multiplies ``(J^T J)^-1`` to give the covariance; NaN where it is not known,
            as in a laws.json of an earlier version.
    """

    rmse_log: float
    starts: int
    starts_at_best: int
    condition: float
    warnings: tuple[str, ...]
    objective: float
    noise_log: float
    degrees_of_freedom: int
    converged: bool
    at_bound: tuple[str, ...]
    variance_log: float = math.nan


@dataclass(frozen=True)
class Residual:
    """One run against the law.

    Attributes:
        format: label.
        num_params: N.
        num_tokens: D.
        val_loss: measured loss, nats per token.
        predicted_loss: of the law with the format's rho, nats per token.
        log_residual: ``log(val_loss / predicted_loss)``.
        rho: capacity of this run alone by inverting the law; its spread over N and D tests the
            claim that rho depends on the format only. NaN where the law cannot be inverted.
    """

    format: str
    num_params: float
    num_tokens: float
    val_loss: float
    predicted_loss: float
    log_residual: float
    rho: float
