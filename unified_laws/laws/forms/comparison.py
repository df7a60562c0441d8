"""Which law does this data prefer."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from unified_laws.errors import UsageError
from unified_laws.laws.forms.base import LawForm
from unified_laws.laws.forms.estimation import FormEstimate, estimate_form, threshold
from unified_laws.laws.forms.held_out import Split, held_out_error, largest_out, random_folds
from unified_laws.laws.forms.likelihood import (
    criteria,
    gaussian_log_likelihood,
    huber_log_likelihood,
)
from unified_laws.laws.forms.observations import Observations
from unified_laws.laws.forms.scores import RANKINGS, Comparison, LawScore, NotCompared
from unified_laws.laws.newton import descend_gradually

Progress = Callable[[int, int], None]
# Fewer starts than this share at the best optimum are worth a warning.
LEAST_SHARE_AT_BEST = 0.05


def compare_laws(
    runs: Observations,
    forms: Sequence[LawForm],
    *,
    objective: str,
    delta: float,
    starts: int,
    folds: int,
    seed: int,
    rank_by: str,
    progress: Progress | None = None,
) -> Comparison:
    """Fit every law to the same runs and score it by likelihood and by runs held out.

    Args:
        runs: the runs.
        forms: the laws.
        objective: huber, least_squares or least_absolute.
        delta: threshold of huber, on the log residual.
        starts: number of starting points of each law.
        folds: number of random parts, each predicted by a fit to the others.
        seed: of the starting points and of the folds.
        rank_by: aic, aicc, bic, held_out_largest or held_out_folds.
        progress: called with (laws done, laws in all).

    Raises:
        UsageError: an argument is out of range, or no law can be fitted.
    """
    if rank_by not in RANKINGS:
        raise UsageError(f"rank_by is {rank_by!r}; allowed are {', '.join(RANKINGS)}")
    limit = threshold(objective, delta)
    largest = largest_out(runs)
    splits = random_folds(runs, folds, seed)
    scores, refused = [], []
    for done, form in enumerate(forms, start=1):
        try:
            estimate = estimate_form(form, runs, delta=limit, starts=starts, seed=seed)
        except UsageError as error:
            refused.append(NotCompared(form.name, form.refusal(runs) or str(error)))
        else:
            scores.append(_score(estimate, largest, splits))
        if progress is not None:
            progress(done, len(forms))
    if not scores:
        reasons = "; ".join(f"{entry.name}: {entry.reason}" for entry in refused)
        raise UsageError(f"none of the laws can be fitted to these runs ({reasons})")
    scores.sort(key=lambda score: _rank(score, rank_by))
    return Comparison(
        scores=tuple(scores),
        not_compared=tuple(refused),
        num_runs=len(runs),
        objective=objective,
        delta=delta,
        folds=folds,
        seed=seed,
        rank_by=rank_by,
        warnings=_warnings(runs, largest, splits),
    )


def _rank(score: LawScore, by: str) -> tuple[float, str]:
    value = float(getattr(score, by))
    return (value if not math.isnan(value) else math.inf, score.name)


def _score(estimate: FormEstimate, largest: Split | None, splits: tuple[Split, ...]) -> LawScore:
    form, number = estimate.objective.form, len(estimate.objective.runs)
    residuals = estimate.residuals
    robust = huber_log_likelihood(residuals, estimate.objective.delta)
    gaussian = gaussian_log_likelihood(_least_squares(estimate))
    found = criteria(robust, estimate.num_free, number)
    warnings = []
    if not estimate.converged:
        warnings.append("the optimiser has not converged; raise the number of starts")
    if estimate.starts_at_best < LEAST_SHARE_AT_BEST * estimate.starts:
        warnings.append(
            f"only {estimate.starts_at_best} of {estimate.starts} starts reached its best optimum"
        )
    if math.isinf(found.aicc):
        warnings.append(f"{number} runs are too few for AICc with {estimate.num_free} constants")
    return LawScore(
        name=form.name,
        formula=form.formula,
        source=form.source,
        num_parameters=estimate.num_free,
        objective=estimate.value,
        log_likelihood=robust,
        log_likelihood_gaussian=gaussian,
        aic=found.aic,
        aicc=found.aicc,
        bic=found.bic,
        aicc_gaussian=criteria(gaussian, estimate.num_free, number).aicc,
        rmse_log=float(np.sqrt(np.square(residuals).mean())),
        held_out_largest=math.nan if largest is None else held_out_error(estimate, (largest,)),
        held_out_folds=held_out_error(estimate, splits),
        starts=estimate.starts,
        starts_at_best=estimate.starts_at_best,
        converged=estimate.converged,
        at_bound=estimate.at_bound,
        constants=tuple(estimate.constants.items()),
        warnings=tuple(warnings),
    )


def _least_squares(estimate: FormEstimate) -> np.ndarray:
    """Residuals of the least-squares fit nearest to the estimate: the Gaussian maximum."""
    if math.isinf(estimate.objective.delta):
        return estimate.residuals
    smooth = replace(estimate.objective, delta=math.inf)
    weights = np.ones((len(estimate.candidates), len(smooth.runs)))
    descent = descend_gradually(
        smooth, estimate.candidates, weights, estimate.box, least_squares=False
    )
    best = int(descent.value.argmin())
    found: np.ndarray = smooth.residuals(descent.theta[[best]])[0]
    return found


def _warnings(
    runs: Observations, largest: Split | None, splits: tuple[Split, ...]
) -> tuple[str, ...]:
    found = list(runs.warnings)
    if largest is None:
        found.append("all runs have one size: no law can be scored on a larger one")
    unscored = sum(int((split.out & ~split.scored).sum()) for split in splits)
    if unscored:
        found.append(
            f"{unscored} run(s) are not scored in the folds: no other run of their format is left"
        )
    if not runs.formats:
        found.append("the runs have one format: laws that differ in compression alone are left out")
    return tuple(found)
