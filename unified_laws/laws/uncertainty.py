"""Profile, bootstrap and curvature intervals of one fit."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student

from unified_laws.laws.bootstrap import (
    Progress,
    bootstrap_intervals,
    few_configurations,
    natural,
)
from unified_laws.laws.curvature import Curvature
from unified_laws.laws.estimate import Estimate
from unified_laws.laws.intervals import LEVEL, METHODS, Intervals
from unified_laws.laws.loss_law import Floats
from unified_laws.laws.objective import ALPHA, BETA, LOG_E
from unified_laws.laws.profile import profile_intervals
from unified_laws.laws.table import RunTable


@dataclass(frozen=True, eq=False)
class Uncertainty:
    """All intervals of a fit.

    Attributes:
        by_method: profile and curvature, and bootstrap where there were resamples.
        headline: which of them stands in the tables.
        warnings: remarks on them, one sentence each.
        better: a point with a lower objective than the estimate, met on the way, or None.
    """

    by_method: tuple[Intervals, ...]
    headline: str
    warnings: tuple[str, ...]
    better: Floats | None

    @property
    def intervals(self) -> Intervals:
        """Those of the headline, or of the profile while there is no bootstrap."""
        return next(
            (entry for entry in self.by_method if entry.method == self.headline), self.by_method[0]
        )


def measure_uncertainty(
    estimate: Estimate,
    curvature: Curvature,
    table: RunTable,
    *,
    headline: str,
    resamples: int,
    seed: int,
    blocks: Sequence[Hashable] | None = None,
    profiles: bool = True,
    progress: Progress | None = None,
    last: bool = True,
) -> Uncertainty:
    """Intervals of every parameter by every method.

    Args:
        estimate: the fit.
        curvature: second-order picture of it.
        table: the runs.
        headline: method of the intervals in the tables.
        resamples: bootstrap refits; 0 leaves the bootstrap out.
        seed: of the resampling generator.
        blocks: the block of each run where a block effect was fitted.
        profiles: False leaves out the profile intervals, most of the work of a fit.
        progress: called with (resamples done, resamples in all).
        last: False if the caller starts again from a better point: then nothing is resampled.
    """
    if curvature.noise.degrees_of_freedom < 1:
        nothing = np.full(estimate.objective.num_parameters, math.nan)
        methods = [name for name in METHODS if name != "bootstrap" or resamples]
        return Uncertainty(
            tuple(Intervals(name, nothing, nothing) for name in methods),
            headline,
            (
                f"{len(table)} runs for {estimate.num_free} parameters leave nothing to estimate "
                "the noise from: no intervals; add runs",
            ),
            None,
        )
    found, better = [curvature_intervals(estimate, curvature)], None
    if profiles:
        profiled, better = profile_of(estimate, curvature)
        found.insert(0, profiled)
    if resamples and (better is None or last):
        drawn = bootstrap_intervals(
            estimate,
            curvature,
            table,
            resamples=resamples,
            seed=seed,
            blocks=blocks,
            progress=progress,
        )
        found.insert(len(found) - 1, drawn)
    warnings = _few(estimate, table) if headline == "bootstrap" else ()
    if better is not None and last:
        warnings = (
            *warnings,
            "a profile keeps finding lower optima than the starts did; raise the number of starts",
        )
    return Uncertainty(tuple(found), headline, warnings, better)


def _quantile(curvature: Curvature) -> float:
    return float(student.ppf(0.5 + LEVEL / 2, curvature.noise.degrees_of_freedom))


def profile_of(
    estimate: Estimate, curvature: Curvature, only: Sequence[int] | None = None
) -> tuple[Intervals, Floats | None]:
    """Profile intervals, and a better point if one was met; ``only`` some of the parameters.

    The objective may rise by ``dispersion t^2 / 2``, t the Student quantile: with least squares
    this is the F interval (Bates & Watts 1988, §6.1.2), with Huber its robust likelihood ratio.
    """
    quantile = _quantile(curvature)
    found = profile_intervals(
        estimate,
        curvature.covariance,
        curvature.natural_stderr,
        rise=0.5 * curvature.noise.dispersion * quantile**2,
        quantile=quantile,
        only=only,
    )
    return Intervals("profile", found.low, found.high), found.better


def curvature_intervals(estimate: Estimate, curvature: Curvature) -> Intervals:
    """``estimate ± t stderr`` on the scale of log A, log B, E, alpha, beta, log rho."""
    center = natural(estimate, estimate.theta[None])[0]
    reach = _quantile(curvature) * curvature.natural_stderr
    low = center - reach
    for column in (LOG_E, ALPHA, BETA):  # none of them can be negative
        low[column] = max(low[column], 0.0)
    return Intervals("curvature", low, center + reach)


def _few(estimate: Estimate, table: RunTable) -> tuple[str, ...]:
    """A remark for every compressed format whose resamples tell little."""
    return tuple(
        f"{name} has only {table.formats.count(name)} runs in fewer configurations than a "
        "bootstrap needs: its interval is the wider of bootstrap and curvature"
        for name in estimate.objective.formats
        if few_configurations(table, name)
    )
