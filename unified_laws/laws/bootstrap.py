"""Intervals by resampling clusters of runs and fitting again."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence

import numpy as np
from scipy.stats import norm
from scipy.stats import t as student

from unified_laws.errors import UsageError
from unified_laws.laws.curvature import Curvature
from unified_laws.laws.estimate import Estimate
from unified_laws.laws.intervals import LEVEL, Intervals
from unified_laws.laws.loss_law import Floats
from unified_laws.laws.newton import descend_gradually
from unified_laws.laws.objective import ALPHA, BETA, LOG_A, LOG_B, LOG_E, NUM_LAW
from unified_laws.laws.table import RunTable

Progress = Callable[[int, int], None]

# With fewer configurations than this the resamples of a format repeat each other too often
# (m of them give (2m-1 choose m) distinct resamples: 35 for four, 126 for five).
FEW_CONFIGURATIONS = 6
# A resample is fitted from the optimum and from this many points around it, this far away (in
# standard errors), so that another basin is found if the resample prefers it.
PERTURBED_STARTS, PERTURBATION = 2, 1.0
CHUNK = 50
# A refit ends when the objective can fall by less than this share of the noise's dispersion: its
# parameters are then within a few hundredths of a standard error.
ACCURACY = 1e-3
# Blocks are drawn again when a format lost all its runs; a design that needs more is refused.
MOST_DRAWS = 200


def bootstrap_intervals(
    estimate: Estimate,
    curvature: Curvature,
    table: RunTable,
    *,
    resamples: int,
    seed: int,
    blocks: Sequence[Hashable] | None = None,
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
        resamples: number of refits, at least 2.
        seed: of the resampling generator.
        blocks: the block of each run where a block effect was fitted: blocks are drawn whole.
        progress: called with (resamples done, resamples in all).

    Raises:
        UsageError: blocks so few that resamples keep losing a format.
    """
    freedom = curvature.noise.degrees_of_freedom
    center = natural(estimate, estimate.theta[None])[0]
    quantile = float(student.ppf(0.5 + LEVEL / 2, freedom))
    generator = np.random.default_rng(seed)
    if blocks is None:
        weights = draw_weights(table, resamples, generator)
    else:
        weights = draw_block_weights(table, blocks, resamples, generator)
    drawn = _resample(estimate, curvature, weights, generator, progress)
    widen = math.sqrt(len(table) / freedom)
    deviations = widen * (natural(estimate, drawn) - center)
    tail = 50.0 * (1.0 - LEVEL)
    ends = np.percentile(deviations, [tail, 100.0 - tail], axis=0)
    student_over_normal = quantile / float(norm.ppf(0.5 + LEVEL / 2))
    few = _few(estimate, table)
    curved = np.where(few, quantile * curvature.natural_stderr, 0.0)
    low = center - np.maximum(-student_over_normal * ends[0], curved)
    high = center + np.maximum(student_over_normal * ends[1], curved)
    for column in (LOG_E, ALPHA, BETA):  # none of them can be negative
        low[column] = max(low[column], 0.0)
    return Intervals("bootstrap", low, high)


def check_resamples(resamples: int) -> None:
    """Refuse 1 and negative numbers.

    Raises:
        UsageError: ``resamples`` is 1 or negative.
    """
    if resamples < 0 or resamples == 1:
        raise UsageError(
            f"bootstrap is {resamples}; allowed is 0 (no resampling) or at least 2 (500 is usual)"
        )


def natural(estimate: Estimate, theta: Floats) -> Floats:
    """Internal parameters (S, p) to log A, log B in the table's units, and E instead of log E."""
    result = theta.copy()
    result[:, LOG_E] = np.exp(theta[:, LOG_E])
    result[:, LOG_A] += theta[:, ALPHA] * estimate.objective.mean_log_params
    result[:, LOG_B] += theta[:, BETA] * estimate.objective.mean_log_tokens
    return result


def configurations(table: RunTable) -> list[tuple[str, float, float]]:
    """(format, N, D) of each run."""
    return list(
        zip(table.formats, table.num_params.tolist(), table.num_tokens.tolist(), strict=True)
    )


def few_configurations(table: RunTable, name: str) -> bool:
    """The format has too few configurations for resamples of it to tell much."""
    own = {c for c in configurations(table) if c[0] == name}
    return len(own) < FEW_CONFIGURATIONS


def _few(estimate: Estimate, table: RunTable) -> Floats:
    few = [few_configurations(table, name) for name in estimate.objective.formats]
    return np.array([True] * NUM_LAW + few)


def draw_weights(table: RunTable, resamples: int, generator: np.random.Generator) -> Floats:
    """How often each run occurs in each resample, (resamples, n).

    Within a format, configurations (N, D) are drawn with replacement; the seeds of one
    configuration always go together, and no format ever loses all its runs.
    """
    labels = configurations(table)
    weights = np.empty((resamples, len(table)))
    for name in dict.fromkeys(table.formats):
        own = list(dict.fromkeys(c for c in labels if c[0] == name))
        counts = generator.multinomial(len(own), np.full(len(own), 1.0 / len(own)), size=resamples)
        for index, configuration in enumerate(own):
            members = [i for i, other in enumerate(labels) if other == configuration]
            weights[:, members] = counts[:, [index]]
    return weights


def draw_block_weights(
    table: RunTable, blocks: Sequence[Hashable], resamples: int, generator: np.random.Generator
) -> Floats:
    """How often each run occurs when whole blocks are drawn, (resamples, n).

    Raises:
        UsageError: resamples keep losing all runs of a format.
    """
    own = list(dict.fromkeys(blocks))
    index = np.array([own.index(block) for block in blocks])
    labels = np.array(table.formats)
    chance = np.full(len(own), 1.0 / len(own))
    weights = np.empty((resamples, len(table)))
    todo = np.arange(resamples)
    for _ in range(MOST_DRAWS):
        weights[todo] = generator.multinomial(len(own), chance, size=len(todo))[:, index]
        lost = np.zeros(resamples, dtype=np.bool_)
        for name in set(table.formats):
            lost |= weights[:, labels == name].sum(axis=1) == 0
        todo = np.flatnonzero(lost)
        if not todo.size:
            return weights
    raise UsageError(
        f"resamples of the {len(own)} blocks keep losing all runs of a format; add seeds or sizes "
        "for it, or set bootstrap=0"
    )


def _resample(
    estimate: Estimate,
    curvature: Curvature,
    weights: Floats,
    generator: np.random.Generator,
    progress: Progress | None,
) -> Floats:
    """Best fit to each resample, internal units, (resamples, p)."""
    resamples = len(weights)
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
        start = (estimate.theta + shift).reshape(-1, shape[2])
        kept = np.broadcast_to(estimate.box.held, start.shape)
        # The first of each is the optimum itself, E at zero or not.
        start[len(chunk) :] = estimate.objective.lift(start, kept)[len(chunk) :]
        descent = descend_gradually(
            estimate.objective,
            start,
            np.tile(chunk, (fits, 1)),
            estimate.box,
            least_squares=False,
            tolerance=ACCURACY * curvature.noise.dispersion,
        )
        winner = descent.value.reshape(fits, -1).argmin(axis=0)
        ends = descent.theta.reshape(shape)
        best[begin : begin + CHUNK] = ends[winner, np.arange(len(chunk))]
        if progress is not None:
            progress(min(begin + CHUNK, resamples), resamples)
    return best
