"""What each run does to the fit, and whether a format's capacity drifts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from scipy.stats import f as fisher
from scipy.stats import t as student

from unified_laws.laws.curvature import Curvature
from unified_laws.laws.estimate import Estimate
from unified_laws.laws.json_form import nan_for_null
from unified_laws.laws.loss_law import Floats
from unified_laws.laws.newton import Box, descend_gradually
from unified_laws.laws.objective import NUM_LAW
from unified_laws.laws.table import RunTable

# A run is an outlier when the chance that the largest of n residuals is as large is below this, and
# a drift is said when its Holm-adjusted p is.
CHANCE = 0.05
# Slopes of log rho over log D or log D/N are searched up to this.
STEEPEST = 5.0
# log D (or log D/N) must vary this much within a format for a slope to be asked for.
LEAST_SPREAD = 1e-6
ACCURACY = 1e-4


@dataclass(frozen=True)
class RunDiagnostic:
    """One run's hold on the fit; in the order of ``LawsResult.residuals``.

    Attributes:
        leverage: share of the run's own residual that the fit takes away, 0 to 1.
        studentized: log residual over its standard error ``noise sqrt(1 - leverage)``; NaN where
            the run is fitted exactly.
        outlier: it is too large for the largest of n (Bonferroni, 5 %).
        moves: format whose rho changes most, in its own standard errors, without the run.
        shift: that change of log rho, in standard errors.
    """

    leverage: float
    studentized: float
    outlier: bool
    moves: str
    shift: float


@dataclass(frozen=True)
class Drift:
    """Likelihood-ratio test of ``log rho = constant + slope log x`` in one format.

    Attributes:
        format: label.
        variable: "D" or "D/N".
        slope: 0 if rho depends on the format only; NaN where x does not vary.
        statistic: twice the fall of the objective over the noise's dispersion (F of one degree).
        p: chance of a larger one without a drift.
        p_adjusted: Holm's over the formats and the same variable.
    """

    format: str
    variable: str
    slope: float
    statistic: float
    p: float
    p_adjusted: float


@dataclass(frozen=True)
class Diagnostics:
    """Leverage, influence, outliers and drifts of one fit.

    Attributes:
        runs: one per run.
        formats: compressed formats, the columns of ``rho_without``.
        rho_without: rho of each format when one run is left out, one row per run.
        drifts: per compressed format, over D and over D/N.
    """

    runs: tuple[RunDiagnostic, ...]
    formats: tuple[str, ...]
    rho_without: tuple[tuple[float, ...], ...]
    drifts: tuple[Drift, ...]

    @property
    def outliers(self) -> tuple[int, ...]:
        """Positions of the outliers among the runs."""
        return tuple(i for i, run in enumerate(self.runs) if run.outlier)

    @property
    def drifting(self) -> tuple[Drift, ...]:
        """Drifts that are not chance."""
        return tuple(entry for entry in self.drifts if entry.p_adjusted < CHANCE)

    def to_json(self) -> dict[str, Any]:
        """JSON value with numbers that are not finite as they are."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Diagnostics:
        """Inverse of `to_json`; null becomes NaN."""
        return cls(
            runs=tuple(RunDiagnostic(**nan_for_null(entry)) for entry in content["runs"]),
            formats=tuple(content["formats"]),
            rho_without=tuple(
                tuple(math.nan if x is None else float(x) for x in row)
                for row in content["rho_without"]
            ),
            drifts=tuple(Drift(**nan_for_null(entry)) for entry in content["drifts"]),
        )


def measure_diagnostics(estimate: Estimate, curvature: Curvature, table: RunTable) -> Diagnostics:
    """Leave every run out once, and free every format's slope once; each as one batch.

    Note:
        Where a random effect was fitted, a run is left out of the whitened residuals: its group's
        mean keeps a share of it, so its influence is understated a little.
    """
    studentized = _studentize(estimate, curvature)
    count, freedom = len(table), curvature.noise.degrees_of_freedom
    limit = float(student.ppf(1.0 - CHANCE / (2 * count), freedom)) if freedom > 0 else math.inf
    without = _leave_one_out(estimate, curvature)
    stderr = curvature.natural_stderr[NUM_LAW:]
    usable = np.isfinite(stderr) & (stderr > 0)
    shift = np.where(usable, (without - estimate.log_rho) / np.where(usable, stderr, 1.0), 0.0)
    formats = estimate.objective.formats
    most = np.abs(shift).argmax(axis=1) if formats else np.zeros(count, dtype=np.int64)
    runs = tuple(
        RunDiagnostic(
            leverage=float(curvature.leverage[i]),
            studentized=float(studentized[i]),
            outlier=bool(abs(studentized[i]) > limit),
            moves=formats[most[i]] if formats else "",
            shift=float(shift[i, most[i]]) if formats else 0.0,
        )
        for i in range(count)
    )
    return Diagnostics(
        runs=runs,
        formats=formats,
        rho_without=tuple(tuple(row) for row in np.exp(without).tolist()),
        drifts=(
            *_drifts(estimate, curvature, np.log(table.num_tokens), "D"),
            *_drifts(estimate, curvature, np.log(table.num_tokens / table.num_params), "D/N"),
        ),
    )


def _studentize(estimate: Estimate, curvature: Curvature) -> Floats:
    left = 1.0 - curvature.leverage
    size = curvature.noise.sigma * np.sqrt(np.maximum(left, 0.0))
    known = (left > 1e-9) & (size > 0)
    return np.where(known, estimate.standardized / np.where(known, size, 1.0), math.nan)


def _leave_one_out(estimate: Estimate, curvature: Curvature) -> Floats:
    """Log rho of each format without each run, (n, F), by refitting; NaN for its only run."""
    objective = estimate.objective
    count = objective.num_runs
    start = np.tile(estimate.theta, (count, 1))
    descent = descend_gradually(
        objective,
        objective.lift(start, np.broadcast_to(estimate.box.held, start.shape)),
        1.0 - np.eye(count),
        estimate.box,
        least_squares=False,
        tolerance=_tolerance(curvature),
    )
    log_rho: Floats = descent.theta[:, NUM_LAW:].copy()
    only = (objective.design != 0) & ((objective.design != 0).sum(axis=0) == 1)
    log_rho[only] = math.nan
    return log_rho


def _tolerance(curvature: Curvature) -> float:
    size = curvature.noise.dispersion
    return ACCURACY * size if math.isfinite(size) else 0.0


def _drifts(
    estimate: Estimate, curvature: Curvature, variable: Floats, name: str
) -> tuple[Drift, ...]:
    """One row per format: the fit with that format's slope free, all others held at zero."""
    objective, formats = estimate.objective, estimate.objective.formats
    if not formats:
        return ()
    member = objective.design
    mean = (member * variable[:, None]).sum(axis=0) / member.sum(axis=0)
    tilt = member * (variable[:, None] - mean)
    varies = np.abs(tilt).max(axis=0) > LEAST_SPREAD
    freedom = curvature.noise.degrees_of_freedom - 1
    if freedom < 1 or not curvature.noise.dispersion > 0:
        varies[:] = False
    count, size = len(formats), objective.num_parameters
    extended = replace(objective, design=np.hstack([member, tilt]))
    box = Box(
        np.concatenate([estimate.box.low, np.full(count, -STEEPEST)]),
        np.concatenate([estimate.box.high, np.full(count, STEEPEST)]),
        np.concatenate([estimate.box.held, np.zeros(count, dtype=np.bool_)]),
    )
    rows = np.flatnonzero(varies)
    slope, fall = np.full(count, math.nan), np.full(count, math.nan)
    if rows.size:
        pinned = np.zeros((rows.size, size + count), dtype=np.bool_)
        pinned[:, size:] = True
        pinned[np.arange(rows.size), size + rows] = False
        start = np.tile(np.concatenate([estimate.theta, np.zeros(count)]), (rows.size, 1))
        descent = descend_gradually(
            extended,
            start,
            np.ones((rows.size, objective.num_runs)),
            box,
            least_squares=False,
            pinned=pinned,
            tolerance=_tolerance(curvature),
        )
        slope[rows] = descent.theta[np.arange(rows.size), size + rows]
        fall[rows] = np.maximum(estimate.value - descent.value, 0.0)
    statistic = _statistic(fall, estimate, curvature, freedom)
    chance = np.where(varies, fisher.sf(np.where(varies, statistic, 0.0), 1, freedom), math.nan)
    adjusted = holm(chance)
    return tuple(
        Drift(formats[i], name, *(float(x[i]) for x in (slope, statistic, chance, adjusted)))
        for i in range(count)
    )


def _statistic(fall: Floats, estimate: Estimate, curvature: Curvature, freedom: int) -> Floats:
    """F of one degree: the noise is that of the fit with the slope, which has lost ``fall``."""
    noise = curvature.noise
    total = 0.5 * noise.dispersion * noise.degrees_of_freedom
    dispersion = 2.0 * np.maximum(total - fall, 0.0) / max(freedom, 1)
    if math.isfinite(estimate.objective.delta):
        dispersion = np.full_like(fall, noise.dispersion)
    return np.where(
        dispersion > 0, 2.0 * fall / np.where(dispersion > 0, dispersion, 1.0), math.inf
    )


def holm(chances: Floats) -> Floats:
    """Holm's step-down adjustment (Scandinavian Journal of Statistics 6, 1979); NaN stays."""
    known = np.flatnonzero(~np.isnan(chances))
    order = known[np.argsort(chances[known], kind="stable")]
    factor = np.arange(len(order), 0, -1)
    adjusted = np.full(len(chances), math.nan)
    adjusted[order] = np.minimum(np.maximum.accumulate(factor * chances[order]), 1.0)
    return adjusted
