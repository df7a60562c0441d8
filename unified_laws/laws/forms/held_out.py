"""How well a law predicts runs that it was not fitted to."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unified_laws.errors import UsageError
from unified_laws.laws.forms.estimation import FormEstimate
from unified_laws.laws.forms.observations import Observations
from unified_laws.laws.newton import descend_gradually

Bools = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Split:
    """Runs left out together.

    Attributes:
        out: True for runs that are left out of the fit, (n,).
        scored: those of them whose format still has runs in the fit, (n,): without any, no law
            with a constant per format could say anything.
    """

    out: Bools
    scored: Bools


def _split(runs: Observations, out: Bools) -> Split:
    left = {label for label, gone in zip(runs.labels, out, strict=True) if not gone}
    return Split(out, out & np.array([label in left for label in runs.labels]))


def largest_out(runs: Observations) -> Split | None:
    """All runs of the largest N, or None if there is one size only."""
    if np.ptp(runs.log_params) <= 1e-9:
        return None
    found = _split(runs, runs.log_params >= runs.log_params.max() - 1e-9)
    return found if found.scored.any() else None


def random_folds(runs: Observations, folds: int, seed: int) -> tuple[Split, ...]:
    """``folds`` disjoint random parts of the runs, the same whatever the order of the rows.

    Raises:
        UsageError: fewer than two folds, or more folds than runs.
    """
    if not 2 <= folds <= len(runs):
        raise UsageError(f"folds is {folds}; allowed is 2 to {len(runs)}, the number of runs")
    keys = (np.array(runs.labels), runs.log_params, runs.log_tokens, runs.log_loss)
    order = np.lexsort(keys[::-1])
    part = np.empty(len(runs), dtype=np.int64)
    part[order] = np.random.default_rng(seed).permutation(len(runs)) % folds
    return tuple(_split(runs, part == index) for index in range(folds))


def held_out_error(estimate: FormEstimate, splits: tuple[Split, ...]) -> float:
    """Root mean square log residual (relative error of the loss) of the runs left out.

    Every split is fitted anew from the ends that were best on all runs, all splits in one batch.
    NaN where nothing can be scored.
    """
    if not any(split.scored.any() for split in splits):
        return math.nan
    candidates = estimate.candidates
    weights = np.repeat([(~split.out).astype(np.float64) for split in splits], len(candidates), 0)
    start = np.tile(candidates, (len(splits), 1))
    descent = descend_gradually(
        estimate.objective, start, weights, estimate.box, least_squares=False
    )
    values = descent.value.reshape(len(splits), -1)
    ends = descent.theta.reshape(len(splits), len(candidates), -1)
    best = ends[np.arange(len(splits)), values.argmin(axis=1)]
    residuals = estimate.objective.residuals(best)
    scored = np.array([split.scored for split in splits])
    return float(np.sqrt(np.square(residuals[scored]).mean()))
