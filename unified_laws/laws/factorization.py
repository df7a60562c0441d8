"""Capacities as products of factors: a weighted rank-1 fit in log space (arXiv:2506.01863 §3)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.stats import chi2 as chi_squared
from scipy.stats import f as fisher

from unified_laws.errors import UsageError
from unified_laws.laws.factor_cells import failing_levels, fit_cells, judge_need
from unified_laws.laws.factor_design import Design, check_cells, ordered_levels
from unified_laws.laws.factor_fit import LogLinearFit, fit_log_linear
from unified_laws.laws.factor_result import Cell, Factorization, Level, Multiplicativity


def factorize(
    cells: Sequence[Cell],
    *,
    factors: Sequence[str],
    dense: Sequence[str],
    anchored: bool = True,
    weights: str = "auto",
    tolerance: float = 0.05,
) -> Factorization:
    """Fit log rho(i, j, ...) = u_i + v_j + ... by weighted least squares; cells may be missing.

    A capacity with a standard error s has one of s/rho in log space. Where standard errors are
    unknown, the residuals give the noise.

    Args:
        cells: the measured capacities; the uncompressed cell may be among them.
        factors: names, two or more.
        dense: the uncompressed level of each factor.
        anchored: hold rho(dense) at 1; a measured uncompressed cell then carries no information.
        weights: "stderr" (all known), "absolute" (equal errors of rho), "relative" (equal errors of
            log rho), or "auto": stderr where all are known and positive, else absolute.
        tolerance: error of rho that is accepted, for what need not be run and what fails.

    Raises:
        UsageError: an argument is out of range, a cell occurs twice or has no positive rho, or the
            cells do not determine a level.

    Note:
        Capacities of one joint fit of losses share the error of the dense runs. Standard errors
        alone do not carry that, so the chi-squared test takes them as independent.
    """
    check_cells(cells, factors=factors, dense=dense, weights=weights, tolerance=tolerance)
    design = Design(
        tuple(factors),
        tuple(ordered_levels(cells, k, dense[k]) for k in range(len(factors))),
        tuple(dense),
        anchored,
    )
    at_dense = [cell for cell in cells if cell.levels == design.dense]
    used = [cell for cell in cells if not (anchored and cell.levels == design.dense)]
    kind = _weights(used, weights)
    found = fit_log_linear(design, used, kind)
    fits = fit_cells(design, found, at_dense)
    fails = failing_levels(design, fits, tolerance)
    # What is known of cells that were not run must not suffer from levels where the product fails.
    sound = _sound(design, found, fails, kind)
    if sound is not None:
        again = {fit.levels: fit for fit in fit_cells(design, sound, at_dense)}
        fits = tuple(
            again[fit.levels] if math.isnan(fit.rho) and not _touches(fit.levels, fails) else fit
            for fit in fits
        )
    fits = tuple(judge_need(fit, design, fails, tolerance) for fit in fits)
    measured = [fit for fit in fits if math.isfinite(fit.rho) and fit.levels != design.dense]
    products = [abs(fit.product_error) for fit in measured if math.isfinite(fit.product_error)]
    errors = np.array([fit.error for fit in measured])
    scale = 1.0 if anchored else math.exp(found.estimate[-1])
    return Factorization(
        factors=design.factors,
        dense=design.dense,
        anchored=anchored,
        scale=scale,
        levels=_levels(design, found, fails),
        cells=fits,
        test=_test(kind, found),
        tolerance=tolerance,
        largest_product_error=max(products, default=math.nan),
        largest_error=float(np.abs(errors).max()),
        rmse=float(np.sqrt(np.square(errors).mean())),
        weights=kind,
        warnings=tuple(_warnings(design, kind, found, fails, at_dense)),
    )


def _weights(cells: Sequence[Cell], weights: str) -> str:
    known = all(math.isfinite(cell.stderr) and cell.stderr > 0 for cell in cells)
    if weights == "stderr" and not known:
        bad = [" ".join(c.levels) for c in cells if not c.stderr > 0]
        raise UsageError(
            f"weights=stderr needs a positive standard error for every cell; {', '.join(bad)} "
            "has none; give it, or take weights=absolute"
        )
    return weights if weights != "auto" else "stderr" if known else "absolute"


def _touches(levels: tuple[str, ...], fails: frozenset[tuple[int, str]]) -> bool:
    return any((k, level) in fails for k, level in enumerate(levels))


def _sound(
    design: Design, fit: LogLinearFit, fails: frozenset[tuple[int, str]], weights: str
) -> LogLinearFit | None:
    """The fit without the mixed cells of failing levels; None where nothing changes or is left."""

    def mixed(levels: tuple[str, ...]) -> bool:
        return sum(v != d for v, d in zip(levels, design.dense, strict=True)) > 1

    kept = [c for c in fit.cells if not (mixed(c.levels) and _touches(c.levels, fails))]
    if len(kept) == len(fit.cells):
        return None
    try:
        return fit_log_linear(design, kept, weights)
    except UsageError:  # without them a level hangs in the air: the whole fit has to do
        return None


def _levels(
    design: Design,
    fit: LogLinearFit,
    fails: frozenset[tuple[int, str]],
) -> tuple[Level, ...]:
    place = {key: i for i, key in enumerate(design.columns)}
    found = []
    for k, own in enumerate(design.levels):
        for level in own:
            count = sum(cell.levels[k] == level for cell in fit.cells)
            if (k, level) not in place:
                found.append(Level(design.factors[k], level, 1.0, 1.0, 1.0, 0.0, count, False))
                continue
            i = place[k, level]
            value = float(fit.estimate[i])
            spread = math.sqrt(max(float(fit.covariance[i, i]), 0.0))
            found.append(
                Level(
                    factor=design.factors[k],
                    level=level,
                    rho=math.exp(value),
                    low=math.exp(value - fit.quantile * spread),
                    high=math.exp(value + fit.quantile * spread),
                    stderr=math.exp(value) * spread,
                    cells=count,
                    fails=(k, level) in fails,
                )
            )
    return tuple(found)


def _test(kind: str, fit: LogLinearFit) -> Multiplicativity:
    freedom, statistic = fit.freedom, fit.statistic
    if kind == "stderr" and freedom > 0:
        return Multiplicativity(
            "chi2", statistic, freedom, float(chi_squared.sf(statistic, freedom))
        )
    # Tukey: does the square of the fitted value explain what the factors leave?
    scaled = fit.matrix / fit.sigma[:, None]
    square = np.square(fit.matrix @ fit.estimate) / fit.sigma
    base, *_ = np.linalg.lstsq(scaled, square, rcond=None)
    rest = square - scaled @ base
    size = float(rest @ rest)
    if freedom < 2 or size <= 1e-20 * float(square @ square):
        return Multiplicativity("none", math.nan, freedom, math.nan)
    explained = float(rest @ fit.residual) ** 2 / size
    left = max(statistic - explained, 0.0) / (freedom - 1)
    if left <= 1e-24:  # an exact product: nothing is left to explain
        return Multiplicativity("tukey", 0.0, freedom - 1, 1.0)
    value = explained / left
    return Multiplicativity("tukey", value, freedom - 1, float(fisher.sf(value, 1, freedom - 1)))


def _warnings(
    design: Design,
    kind: str,
    fit: LogLinearFit,
    fails: frozenset[tuple[int, str]],
    at_dense: Sequence[Cell],
) -> list[str]:
    found = []
    if fit.freedom == 0:
        found.append("as many cells as parameters: the product is not tested, add a mixed cell")
    if kind == "stderr" and fit.variance > 1.0:
        found.append(
            f"residuals are {math.sqrt(fit.variance):.1f} times the standard errors: the factors "
            "do not multiply within them; intervals are widened by that"
        )
    if design.anchored and at_dense and abs(at_dense[0].rho - 1.0) > 1e-9:
        found.append(
            f"the uncompressed cell has rho = {at_dense[0].rho:.3g}; it is held at 1 (anchored)"
        )
    if fails:
        names = ", ".join(f"{design.factors[k]} {level}" for k, level in sorted(fails))
        found.append(f"the product fails at {names}: run those cells")
    return found
