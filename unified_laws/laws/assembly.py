"""From arrays of a fit to the entries of its result."""

from __future__ import annotations

import math

import numpy as np

from unified_laws.laws.curvature import Curvature
from unified_laws.laws.estimate import Estimate
from unified_laws.laws.intervals import Intervals, MethodInterval
from unified_laws.laws.loss_law import PARAMETERS
from unified_laws.laws.objective import LOG_A, LOG_B, NUM_LAW
from unified_laws.laws.quality import Residual
from unified_laws.laws.result import Capacity, ParameterInterval
from unified_laws.laws.table import RunTable
from unified_laws.laws.uncertainty import Uncertainty


def reported_objective(estimate: Estimate, objective: str) -> float:
    """What was minimised, in the terms of its name."""
    if objective == "least_absolute":
        return float(np.abs(estimate.standardized).sum())
    return estimate.value


def _exp(value: float) -> float:
    return math.exp(value) if value < 700.0 else (math.inf if value >= 700.0 else math.nan)


def _ends(intervals: Intervals, index: int) -> tuple[float, float]:
    """Ends of one parameter: of A, B and rho themselves rather than their logarithms."""
    low, high = float(intervals.low[index]), float(intervals.high[index])
    if index in (LOG_A, LOG_B) or index >= NUM_LAW:
        return _exp(low), _exp(high)
    return low, high


def every_interval(estimate: Estimate, uncertainty: Uncertainty) -> tuple[MethodInterval, ...]:
    """Every parameter by every method."""
    names = (*PARAMETERS, *(f"rho of {name}" for name in estimate.objective.formats))
    return tuple(
        MethodInterval(name, entry.method, *_ends(entry, index))
        for index, name in enumerate(names)
        for entry in uncertainty.by_method
    )


def law_intervals_of(
    estimate: Estimate, curvature: Curvature, intervals: Intervals
) -> tuple[ParameterInterval, ...]:
    """A and B back from their logarithms; the order of the parameters is A, B, E, alpha, beta."""
    found = []
    for index, name in enumerate(PARAMETERS):
        value = float(getattr(estimate.law, name))
        stderr = float(curvature.natural_stderr[index])
        if index in (LOG_A, LOG_B):
            stderr = value * stderr
        found.append(ParameterInterval(name, value, *_ends(intervals, index), stderr))
    return tuple(found)


def capacities_of(
    estimate: Estimate,
    curvature: Curvature,
    intervals: Intervals,
    table: RunTable,
    dense: str,
) -> tuple[Capacity, ...]:
    """The dense format first, then by falling rho."""
    found = []
    for index, name in enumerate(estimate.objective.formats):
        rho = math.exp(estimate.log_rho[index])
        column = NUM_LAW + index
        low, high = _ends(intervals, column)
        found.append(
            Capacity(
                format=name,
                rho=rho,
                low=low,
                high=high,
                stderr=rho * float(curvature.natural_stderr[column]),
                runs=table.formats.count(name),
            )
        )
    found.sort(key=lambda entry: (-entry.rho, entry.format))
    return (Capacity(dense, 1.0, 1.0, 1.0, 0.0, table.formats.count(dense)), *found)


def residuals_of(estimate: Estimate, table: RunTable) -> tuple[Residual, ...]:
    """Every run against the law, in the table's order."""
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
