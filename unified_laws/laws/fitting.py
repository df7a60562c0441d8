"""The one call: table of runs in, laws out."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

import numpy as np

from unified_laws.errors import UsageError
from unified_laws.laws.assembly import (
    capacities_of,
    every_interval,
    law_intervals_of,
    reported_objective,
    residuals_of,
)
from unified_laws.laws.block_effect import VarianceComponents, fit_random_effect, label_groups
from unified_laws.laws.bootstrap import Progress, check_resamples
from unified_laws.laws.covariance import ParameterCovariance
from unified_laws.laws.curvature import Curvature, in_table_units, measure_curvature
from unified_laws.laws.diagnosis import diagnose
from unified_laws.laws.diagnostics import measure_diagnostics
from unified_laws.laws.estimate import Estimate, estimate_law, refine
from unified_laws.laws.intervals import check_method
from unified_laws.laws.quality import FitQuality
from unified_laws.laws.replicates import lack_of_fit, pooled_noise
from unified_laws.laws.result import LawsResult
from unified_laws.laws.run_noise import huber_threshold, relative_scale
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
    brief: bool = False,
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
        brief: leave out profile intervals and diagnostics, nearly all of the work of a fit; only
            with another interval than that of the profile.
        progress: called with (resamples done, resamples in all).

    Raises:
        UsageError: an argument is out of range, or there are fewer runs than parameters.
    """
    check_resamples(bootstrap)
    check_method(interval, bootstrap)
    if brief and interval == "profile":
        raise UsageError("a brief fit has no profile intervals; choose interval=curvature")
    scale = relative_scale(table, weights)
    labels = label_groups(table, random_effect) if random_effect is not None else None
    if labels is not None and scale is not None:
        raise UsageError("weights and random_effect cannot be combined; set one of them to null")
    replicates = pooled_noise(table)
    arguments = {"dense": dense, "starts": starts, "fixed": fixed, "scale": scale}
    threshold = huber_threshold(table, delta, replicates, objective, arguments)
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
        profiles=not brief,
        progress=progress,
    )
    if replicates is not None:
        replicates = lack_of_fit(replicates, estimate)
    diagnostics = None if brief else measure_diagnostics(estimate, curvature, table)
    residuals = estimate.residuals
    rows = residuals_of(estimate, table)
    return LawsResult(
        law=estimate.law,
        law_intervals=law_intervals_of(estimate, curvature, uncertainty.intervals),
        capacities=capacities_of(estimate, curvature, uncertainty.intervals, table, dense),
        fit=FitQuality(
            rmse_log=float(np.sqrt(np.square(residuals).mean())),
            starts=estimate.starts,
            starts_at_best=estimate.starts_at_best,
            condition=curvature.condition,
            warnings=(
                *diagnose(estimate, curvature, uncertainty.intervals, table),
                *uncertainty.warnings,
                *say_noise(curvature.noise.sigma, replicates, table, weighted=scale is not None),
                *(say_diagnostics(diagnostics, rows) if diagnostics else ()),
                *table.warnings,
            ),
            objective=reported_objective(estimate, objective),
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
        intervals=every_interval(estimate, uncertainty),
        weights=weights,
        components=found,
        replicates=replicates,
        diagnostics=diagnostics,
    )


def _measure(
    estimate: Estimate,
    table: RunTable,
    *,
    headline: str,
    resamples: int,
    seed: int,
    blocks: Sequence[Hashable] | None,
    profiles: bool,
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
            profiles=profiles,
            progress=progress,
            last=turn == MOST_RESTARTS,
        )
        if uncertainty.better is None or turn == MOST_RESTARTS:
            break
        estimate = replace(refine(replace(estimate, theta=uncertainty.better)), starts_at_best=0)
    return estimate, curvature, uncertainty
