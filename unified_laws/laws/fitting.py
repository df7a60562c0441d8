"""The one call: table of runs in, laws out."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

import numpy as np

from unified_laws.errors import UsageError
from unified_laws.laws.block_effect import VarianceComponents, fit_random_effect, label_groups
from unified_laws.laws.bootstrap import Progress, check_resamples
from unified_laws.laws.covariance import ParameterCovariance
from unified_laws.laws.curvature import Curvature, in_table_units, measure_curvature
from unified_laws.laws.diagnosis import diagnose
from unified_laws.laws.diagnostics import measure_diagnostics
from unified_laws.laws.estimate import Estimate, estimate_law, refine
from unified_laws.laws.intervals import Intervals, MethodInterval, check_method
from unified_laws.laws.loss_law import PARAMETERS, Floats
from unified_laws.laws.noise import robust_scale
from unified_laws.laws.objective import LOG_A, LOG_B, NUM_LAW
from unified_laws.laws.quality import FitQuality, Residual
from unified_laws.laws.replicates import (
    EFFICIENT_CLIP,
    LEAST_FREEDOM,
    Replicates,
    lack_of_fit,
    pooled_noise,
)
from unified_laws.laws.result import Capacity, LawsResult, ParameterInterval
from unified_laws.laws.table import RunTable
from unified_laws.laws.uncertainty import Uncertainty, measure_uncertainty
from unified_laws.laws.words import say_diagnostics, say_noise

NOTHING_FIXED: Mapping[str, float] = MappingProxyType({})
# A lower optimum met by a profile starts the fit again; more often than this it is a warning.
MOST_RESTARTS = 3


def fit_laws(
    table: RunTable,
    *,
    dense: str,
    delta: float | str,
    starts: int,
    bootstrap: int,
    seed: int,
    fixed: Mapping[str, float] = NOTHING_FIXED,
    objective: str = "huber",
    interval: str = "profile",
    weights: str | None = None,
    random_effect: str | None = None,
    components: str = "reml",
    progress: Progress | None = None,
) -> LawsResult:
    """Fit the law and every format's capacity, with intervals, diagnostics and warnings.

    Args:
        table: the runs.
        dense: label of the uncompressed format (rho = 1).
        delta: Huber threshold on the log residual; "auto" is 1.345 standard deviations of the
            noise, from repeated configurations where there are enough, else from the residuals.
        starts: number of starting points.
        bootstrap: number of resamples; 0 leaves the bootstrap out.
        seed: of the resampling.
        fixed: alpha, beta or E by name, held at the given value.
        objective: "huber", "least_squares" or "least_absolute".
        interval: "profile", "bootstrap" or "curvature": the one in the tables. All are in the
            result.
        weights: "val_loss_stderr" weights the runs by their known standard errors.
        random_effect: "block" (same N, D, seed) or "configuration" (same format, N, D): the noise
            of such runs is correlated; needs least squares.
        components: "reml" or "ml", how the variance of that effect is estimated.
        progress: called with (resamples done, resamples in all).

    Raises:
        UsageError: an argument is out of range, or there are fewer runs than parameters.
    """
    check_resamples(bootstrap)
    check_method(interval, bootstrap)
    scale = _scale(table, weights)
    labels = label_groups(table, random_effect) if random_effect is not None else None
    if labels is not None and scale is not None:
        raise UsageError("weights and random_effect cannot be combined; set one of them to null")
    replicates = pooled_noise(table)
    arguments = {"dense": dense, "starts": starts, "fixed": fixed, "scale": scale}
    threshold = _threshold(table, delta, replicates, objective, arguments)
    estimate = estimate_law(table, delta=threshold, kind=objective, **arguments)  # type: ignore[arg-type]
    found: VarianceComponents | None = None
    if labels is not None and random_effect is not None:
        estimate, found = fit_random_effect(
            estimate, labels, group=random_effect, method=components
        )
    estimate, curvature, uncertainty = _measure(
        estimate,
        table,
        headline=interval,
        resamples=bootstrap,
        seed=seed,
        blocks=labels if random_effect == "block" else None,
        progress=progress,
    )
    if replicates is not None:
        replicates = lack_of_fit(replicates, estimate)
    diagnostics = measure_diagnostics(estimate, curvature, table)
    residuals = estimate.residuals
    rows = _residuals(estimate, table)
    return LawsResult(
        law=estimate.law,
        law_intervals=_law_intervals(estimate, curvature, uncertainty.intervals),
        capacities=_capacities(estimate, curvature, uncertainty.intervals, table, dense),
        fit=FitQuality(
            rmse_log=float(np.sqrt(np.square(residuals).mean())),
            starts=estimate.starts,
            starts_at_best=estimate.starts_at_best,
            condition=curvature.condition,
            warnings=(
                *diagnose(estimate, curvature, uncertainty.intervals, table),
                *uncertainty.warnings,
                *say_noise(curvature.noise.sigma, replicates, table, weighted=scale is not None),
                *say_diagnostics(diagnostics, rows),
                *table.warnings,
            ),
            objective=_reported(estimate, objective),
            noise_log=curvature.noise.sigma,
            degrees_of_freedom=curvature.noise.degrees_of_freedom,
            converged=estimate.converged,
            at_bound=estimate.at_bound,
            variance_log=curvature.noise.variance,
        ),
        dense=dense,
        delta=estimate.objective.delta,
        num_runs=len(table),
        bootstrap=bootstrap,
        fixed=tuple(fixed.items()),
        left_out=table.left_out,
        residuals=rows,
        covariance=ParameterCovariance.of(
            estimate.objective.formats, in_table_units(estimate.objective, curvature.covariance)
        ),
        objective=objective,
        interval=interval,
        intervals=_all_intervals(estimate, uncertainty),
        weights=weights,
        components=found,
        replicates=replicates,
        diagnostics=diagnostics,
    )


def _scale(table: RunTable, weights: str | None) -> Floats | None:
    """Relative standard errors with geometric mean 1, (n,)."""
    if weights is None:
        return None
    if weights != "val_loss_stderr":
        raise UsageError(f"weights is {weights!r}; allowed is null or val_loss_stderr")
    known = table.val_loss_stderr
    if known is None:
        raise UsageError(
            "weights=val_loss_stderr needs a column val_loss_stderr, and the table has none; map "
            "it with columns={val_loss_stderr:<its name>}, or set weights=null"
        )
    missing = int((~(np.isfinite(known) & (known > 0))).sum())
    if missing:
        raise UsageError(
            f"weights=val_loss_stderr needs a value above zero for every run, and {missing} of "
            f"{len(table)} have none; fill them in, or set weights=null"
        )
    log_scale = np.log(known / table.val_loss)
    scale: Floats = np.exp(log_scale - log_scale.mean())
    return scale


def _threshold(
    table: RunTable,
    delta: float | str,
    replicates: Replicates | None,
    objective: str,
    arguments: Mapping[str, object],
) -> float:
    """The Huber threshold as a number."""
    if delta != "auto":
        if isinstance(delta, str):
            raise UsageError(f"delta is {delta!r}; allowed is a number above zero, inf, or auto")
        return float(delta)
    if objective != "huber":
        return math.inf
    if replicates is not None and replicates.degrees_of_freedom >= LEAST_FREEDOM:
        noise = replicates.stderr_log
    else:
        rough = estimate_law(table, delta=math.inf, **arguments)  # type: ignore[arg-type]
        noise = robust_scale(rough.standardized, rough.num_free)
    return EFFICIENT_CLIP * noise if noise > 0 else math.inf


def _measure(
    estimate: Estimate,
    table: RunTable,
    *,
    headline: str,
    resamples: int,
    seed: int,
    blocks: Sequence[Hashable] | None,
    progress: Progress | None,
) -> tuple[Estimate, Curvature, Uncertainty]:
    """Curvature and intervals; a better optimum met by a profile takes the estimate's place."""
    for turn in range(MOST_RESTARTS + 1):
        curvature = measure_curvature(estimate)
        uncertainty = measure_uncertainty(
            estimate,
            curvature,
            table,
            headline=headline,
            resamples=resamples,
            seed=seed,
            blocks=blocks,
            progress=progress,
            last=turn == MOST_RESTARTS,
        )
        if uncertainty.better is None or turn == MOST_RESTARTS:
            break
        estimate = replace(refine(replace(estimate, theta=uncertainty.better)), starts_at_best=0)
    return estimate, curvature, uncertainty


def _reported(estimate: Estimate, objective: str) -> float:
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


def _all_intervals(estimate: Estimate, uncertainty: Uncertainty) -> tuple[MethodInterval, ...]:
    names = (*PARAMETERS, *(f"rho of {name}" for name in estimate.objective.formats))
    return tuple(
        MethodInterval(name, entry.method, *_ends(entry, index))
        for index, name in enumerate(names)
        for entry in uncertainty.by_method
    )


def _law_intervals(
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


def _capacities(
    estimate: Estimate,
    curvature: Curvature,
    intervals: Intervals,
    table: RunTable,
    dense: str,
) -> tuple[Capacity, ...]:
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
