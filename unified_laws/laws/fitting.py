"""The one call: table of runs in, laws out."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from unified_laws.laws.covariance import ParameterCovariance
from unified_laws.laws.curvature import in_table_units, measure_curvature
from unified_laws.laws.diagnosis import diagnose
from unified_laws.laws.estimate import Estimate, estimate_law
from unified_laws.laws.loss_law import PARAMETERS
from unified_laws.laws.objective import LOG_A, LOG_B, NUM_LAW
from unified_laws.laws.quality import FitQuality, Residual
from unified_laws.laws.result import Capacity, LawsResult, ParameterInterval
from unified_laws.laws.table import RunTable
from unified_laws.laws.uncertainty import Intervals, Progress, measure_intervals

NOTHING_FIXED: Mapping[str, float] = MappingProxyType({})


def fit_laws(
    table: RunTable,
    *,
    dense: str,
    delta: float,
    starts: int,
    bootstrap: int,
    seed: int,
    fixed: Mapping[str, float] = NOTHING_FIXED,
    progress: Progress | None = None,
) -> LawsResult:
    """Fit the law and every format's capacity, with intervals and warnings.

    Args:
        table: the runs.
        dense: label of the uncompressed format (rho = 1).
        delta: Huber threshold on the log residual; ``inf`` is least squares.
        starts: number of starting points.
        bootstrap: number of resamples; 0 gives intervals from curvature alone.
        seed: of the resampling.
        fixed: alpha, beta or E by name, held at the given value.
        progress: called with (resamples done, resamples in all).

    Raises:
        UsageError: an argument is out of range, or there are fewer runs than parameters.
    """
    estimate = estimate_law(table, dense=dense, delta=delta, starts=starts, fixed=fixed)
    curvature = measure_curvature(estimate)
    intervals = measure_intervals(
        estimate, curvature, table, resamples=bootstrap, seed=seed, progress=progress
    )
    residuals = estimate.residuals
    return LawsResult(
        law=estimate.law,
        law_intervals=_law_intervals(estimate, intervals),
        capacities=_capacities(estimate, intervals, table, dense),
        fit=FitQuality(
            rmse_log=float(np.sqrt(np.square(residuals).mean())),
            starts=estimate.starts,
            starts_at_best=estimate.starts_at_best,
            condition=curvature.condition,
            warnings=(
                *diagnose(estimate, curvature, intervals, table),
                *intervals.warnings,
                *table.warnings,
            ),
            objective=estimate.value,
            noise_log=curvature.noise,
            degrees_of_freedom=curvature.degrees_of_freedom,
            converged=estimate.converged,
            at_bound=estimate.at_bound,
        ),
        dense=dense,
        delta=delta,
        num_runs=len(table),
        bootstrap=bootstrap,
        fixed=tuple(fixed.items()),
        left_out=table.left_out,
        residuals=_residuals(estimate, table),
        covariance=ParameterCovariance.of(
            estimate.objective.formats, in_table_units(estimate.objective, curvature.covariance)
        ),
    )


def _exp(value: float) -> float:
    return math.exp(value) if value < 700.0 else (math.inf if value >= 700.0 else math.nan)


def _law_intervals(estimate: Estimate, intervals: Intervals) -> tuple[ParameterInterval, ...]:
    """A and B back from their logarithms; the order of the parameters is A, B, E, alpha, beta."""
    found = []
    for index, name in enumerate(PARAMETERS):
        value = float(getattr(estimate.law, name))
        low, high = float(intervals.low[index]), float(intervals.high[index])
        stderr = float(intervals.stderr[index])
        if index in (LOG_A, LOG_B):
            low, high, stderr = _exp(low), _exp(high), value * stderr
        found.append(ParameterInterval(name, value, low, high, stderr))
    return tuple(found)


def _capacities(
    estimate: Estimate, intervals: Intervals, table: RunTable, dense: str
) -> tuple[Capacity, ...]:
    found = []
    for index, name in enumerate(estimate.objective.formats):
        rho = math.exp(estimate.log_rho[index])
        column = NUM_LAW + index
        found.append(
            Capacity(
                format=name,
                rho=rho,
                low=_exp(float(intervals.low[column])),
                high=_exp(float(intervals.high[column])),
                stderr=rho * float(intervals.stderr[column]),
                runs=table.formats.count(name),
            )
        )
    found.sort(key=lambda entry: (-entry.rho, entry.format))
    return (Capacity(dense, 1.0, 1.0, 1.0, 0.0, table.formats.count(dense)), *found)


def _residuals(estimate: Estimate, table: RunTable) -> tuple[Residual, ...]:
    law = estimate.law
    inverted = law.invert(table.num_params, table.num_tokens, table.val_loss)
    log_residuals = estimate.residuals
    return tuple(
        Residual(
            format=table.formats[i],
            num_params=float(table.num_params[i]),
            num_tokens=float(table.num_tokens[i]),
            val_loss=float(table.val_loss[i]),
            predicted_loss=float(table.val_loss[i] * math.exp(-log_residuals[i])),
            log_residual=float(log_residuals[i]),
            rho=float(inverted[i]),
        )
        for i in range(len(table))
    )
