"""Intervals by resampling runs within each format; curvature stands in where runs are too few."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm
from scipy.stats import t as student

from unified_laws.errors import UsageError
from unified_laws.laws.curvature import Curvature
from unified_laws.laws.estimate import Estimate
from unified_laws.laws.loss_law import Floats
from unified_laws.laws.newton import descend_gradually
from unified_laws.laws.objective import ALPHA, BETA, LOG_A, LOG_B, LOG_E, NUM_LAW
from unified_laws.laws.table import RunTable

Progress = Callable[[int, int], None]

LEVEL = 0.95
# With fewer configurations than this the resamples of a format repeat each other too often
# (m of them give (2m-1 choose m) distinct resamples: 35 for four, 126 for five).
FEW_CONFIGURATIONS = 6
# A resample is fitted from the optimum and from this many points around it, this far away (in
# standard errors), so that another basin is found if the resample prefers it.
PERTURBED_STARTS, PERTURBATION = 2, 1.0
CHUNK = 50


@dataclass(frozen=True, eq=False)
class Intervals:
    """95 % intervals of log A, log B, E, alpha, beta and each log rho, in the table's units.

    Attributes:
        low: lower ends, (p,); -inf where the runs carry no information; those of
            E, alpha and beta are at least 0.
        high: upper ends, (p,).
        stderr: standard errors on the same (logarithmic) scale, (p,).
        warnings: where an interval does not come from resampling, in words.
    """

    low: Floats
    high: Floats
    stderr: Floats
    warnings: tuple[str, ...]


def measure_intervals(
    estimate: Estimate,
    curvature: Curvature,
    table: RunTable,
    *,
    resamples: int,
    seed: int,
    progress: Progress | None = None,
) -> Intervals:
    """Bootstrap over runs, stratified by format and clustered by configuration (format, N, D).

    Deviations of the resampled fits from the estimate are widened by ``sqrt(n / (n - p))``, since
    fitted residuals are smaller than the noise, and by the Student quantile over the normal one.
    The wider of this and the curvature interval is taken for formats with fewer than six
    configurations and, as all formats share them, for the law's own parameters.

    Args:
        estimate: the fit to the whole table.
        curvature: second-order picture of it.
        table: the runs.
        resamples: number of refits; 0 gives curvature intervals alone.
        seed: of the resampling generator.
        progress: called with (resamples done, resamples in all).

    Raises:
        UsageError: ``resamples`` is 1 or negative.
    """
    if resamples < 0 or resamples == 1:
        raise UsageError(
            f"bootstrap is {resamples}; allowed is 0 (intervals from curvature) or at least 2 "
            "(500 is usual)"
        )
    freedom = curvature.degrees_of_freedom
    center = _natural(estimate, estimate.theta[None])[0]
    if freedom < 1:
        nothing = np.full(len(center), math.nan)
        return Intervals(
            nothing,
            nothing,
            nothing,
            (
                f"{len(table)} runs for {estimate.num_free} parameters leave nothing to estimate "
                "the noise from: no intervals; add runs",
            ),
        )
    quantile = float(student.ppf(0.5 + LEVEL / 2, freedom))
    stderr = curvature.natural_stderr.copy()
    reach_low = reach_high = quantile * stderr
    warnings: tuple[str, ...] = ()
    if resamples:
        drawn = _resample(estimate, curvature, table, resamples, seed, progress)
        widen = math.sqrt(len(table) / freedom)
        deviations = widen * (_natural(estimate, drawn) - center)
        tail = 50.0 * (1.0 - LEVEL)
        ends = np.percentile(deviations, [tail, 100.0 - tail], axis=0)
        student_over_normal = quantile / float(norm.ppf(0.5 + LEVEL / 2))
        configurations = _configurations(table)
        counts = [
            len({c for c, f in zip(configurations, table.formats, strict=True) if f == name})
            for name in estimate.objective.formats
        ]
        few = np.array([True] * NUM_LAW + [count < FEW_CONFIGURATIONS for count in counts])
        curved = np.where(few, quantile * stderr, 0.0)
        reach_low = np.maximum(-student_over_normal * ends[0], curved)
        reach_high = np.maximum(student_over_normal * ends[1], curved)
        stderr = np.maximum(deviations.std(axis=0, ddof=1), np.where(few, stderr, 0.0))
        warnings = _too_few(estimate, table)
    low = center - reach_low
    for column in (LOG_E, ALPHA, BETA):  # none of them can be negative
        low[column] = max(low[column], 0.0)
    return Intervals(low, center + reach_high, stderr, warnings)


def _natural(estimate: Estimate, theta: Floats) -> Floats:
    """Internal parameters (S, p) to log A, log B in the table's units, and E instead of log E."""
    result = theta.copy()
    result[:, LOG_E] = np.exp(theta[:, LOG_E])
    result[:, LOG_A] += theta[:, ALPHA] * estimate.objective.mean_log_params
    result[:, LOG_B] += theta[:, BETA] * estimate.objective.mean_log_tokens
    return result


def _configurations(table: RunTable) -> list[tuple[str, float, float]]:
    return list(
        zip(table.formats, table.num_params.tolist(), table.num_tokens.tolist(), strict=True)
    )


def draw_weights(table: RunTable, resamples: int, generator: np.random.Generator) -> Floats:
    """How often each run occurs in each resample, (resamples, n).

    Within a format, configurations (N, D) are drawn with replacement; the seeds of one
    configuration always go together, and no format ever loses all its runs.
    """
    configurations = _configurations(table)
    weights = np.empty((resamples, len(table)))
    for name in dict.fromkeys(table.formats):
        own = list(dict.fromkeys(c for c in configurations if c[0] == name))
        counts = generator.multinomial(len(own), np.full(len(own), 1.0 / len(own)), size=resamples)
        for index, configuration in enumerate(own):
            members = [i for i, other in enumerate(configurations) if other == configuration]
            weights[:, members] = counts[:, [index]]
    return weights


def _resample(
    estimate: Estimate,
    curvature: Curvature,
    table: RunTable,
    resamples: int,
    seed: int,
    progress: Progress | None,
) -> Floats:
    """Best fit to each resample, internal units, (resamples, p)."""
    generator = np.random.default_rng(seed)
    weights = draw_weights(table, resamples, generator)
    variance = np.diag(curvature.covariance)
    spread = np.sqrt(np.where(np.isfinite(variance), variance, 0.0))
    # From E to log E, where a spread as large as E itself is large enough.
    spread[LOG_E] = min(spread[LOG_E] / math.exp(estimate.theta[LOG_E]), 1.0)
    fits = 1 + PERTURBED_STARTS
    best = np.empty((resamples, len(estimate.theta)))
    for begin in range(0, resamples, CHUNK):
        chunk = weights[begin : begin + CHUNK]
        shape = (fits, len(chunk), len(estimate.theta))
        shift = PERTURBATION * spread * np.clip(generator.standard_normal(shape), -2, 2)
        shift[0] = 0.0
        descent = descend_gradually(
            estimate.objective,
            (estimate.theta + shift).reshape(-1, shape[2]),
            np.tile(chunk, (fits, 1)),
            estimate.box,
            least_squares=False,
        )
        winner = descent.value.reshape(fits, -1).argmin(axis=0)
        ends = descent.theta.reshape(shape)
        best[begin : begin + CHUNK] = ends[winner, np.arange(len(chunk))]
        if progress is not None:
            progress(min(begin + CHUNK, resamples), resamples)
    return best


def _too_few(estimate: Estimate, table: RunTable) -> tuple[str, ...]:
    """A remark for every compressed format with one or two runs."""
    found = []
    for name in estimate.objective.formats:
        runs = table.formats.count(name)
        if runs <= 2:
            found.append(f"{name} has only {runs} run{'s' * (runs != 1)}: interval from curvature")
    return tuple(found)
