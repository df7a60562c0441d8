"""Every cell of a factorization against the product, the fit, and the fit without it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from unified_laws.laws.factor_design import Design
from unified_laws.laws.factor_fit import LogLinearFit
from unified_laws.laws.factor_result import Cell, CellFit

# Beyond this many standard errors a difference is not noise.
BEYOND_NOISE = 2.0
# A cell whose own leverage is this close to 1 alone determines one of its levels.
ALONE = 1.0 - 1e-9


def fit_cells(design: Design, fit: LogLinearFit, at_dense: Sequence[Cell]) -> tuple[CellFit, ...]:
    """All combinations of levels against their product and the fit (nothing is judged yet).

    Args:
        design: levels and columns.
        fit: of the measured cells.
        at_dense: the measured uncompressed cell, or nothing.
    """
    everything: list[tuple[str, ...]] = [()]
    for own in design.levels:
        everything = [(*cell, level) for cell in everything for level in own]
    rows = design.rows(everything)
    log_rho = rows @ fit.estimate
    spread = np.einsum("ij,jk,ik->i", rows, fit.covariance, rows)
    reach = fit.quantile * np.sqrt(np.maximum(spread, 0.0))
    measured = {cell.levels: (i, cell) for i, cell in enumerate(fit.cells)}
    alone = {cell.levels: cell.rho for cell in (*fit.cells, *at_dense)}
    if design.anchored:
        alone[design.dense] = 1.0
    found = []
    for levels, value, far in zip(everything, log_rho.tolist(), reach.tolist(), strict=True):
        rho = stderr = left_out = math.nan
        if levels in measured:
            index, cell = measured[levels]
            rho, stderr = cell.rho, cell.stderr
            pull = float(fit.leverage[index])
            if pull < ALONE:
                residual = float(fit.residual[index] * fit.sigma[index])
                without = value - residual * pull / (1.0 - pull)
                left_out = rho - math.exp(without)
        elif levels == design.dense and at_dense:
            rho, stderr = at_dense[0].rho, at_dense[0].stderr
        product = _product(levels, design, alone)
        fitted = math.exp(value)
        found.append(
            CellFit(
                levels=levels,
                rho=rho,
                stderr=stderr,
                product=product,
                product_error=rho - product,
                fitted=fitted,
                low=math.exp(value - far) if math.isfinite(far) else math.nan,
                high=math.exp(value + far) if math.isfinite(far) else math.nan,
                error=rho - fitted,
                left_out_error=left_out,
                needed=True,
            )
        )
    return tuple(found)


def _product(
    levels: tuple[str, ...], design: Design, alone: Mapping[tuple[str, ...], float]
) -> float:
    """Product of the cells with one compressed operand; NaN with fewer than two compressed."""
    compressed = [k for k, level in enumerate(levels) if level != design.dense[k]]
    if len(compressed) < 2:
        return math.nan
    product = 1.0
    for k in compressed:
        single = tuple(levels[k] if j == k else dense for j, dense in enumerate(design.dense))
        product *= alone.get(single, math.nan)
    whole: float = product / alone.get(design.dense, math.nan) ** (len(compressed) - 1)
    return whole


def failing_levels(
    design: Design, fits: Sequence[CellFit], tolerance: float
) -> frozenset[tuple[int, str]]:
    """Levels of which the product misses a cell by more than the tolerance and its noise.

    A cell that fails is held against the level with the largest mean square error among its own,
    so that one bad row does not condemn every column.
    """
    errors: dict[tuple[int, str], list[float]] = {}
    missed: list[tuple[tuple[int, str], ...]] = []
    for fit in fits:
        error = fit.product_error if math.isfinite(fit.product_error) else fit.left_out_error
        compressed = [(k, v) for k, v in enumerate(fit.levels) if v != design.dense[k]]
        if len(compressed) < 2 or not math.isfinite(error):
            continue
        for key in compressed:
            errors.setdefault(key, []).append(error**2)
        noise = BEYOND_NOISE * fit.stderr if math.isfinite(fit.stderr) else 0.0
        if abs(error) > max(tolerance, noise):
            missed.append(tuple(compressed))
    mean = {key: float(np.mean(values)) for key, values in errors.items()}
    return frozenset(max(cell, key=lambda key: mean[key]) for cell in missed)


def judge_need(
    fit: CellFit, design: Design, fails: frozenset[tuple[int, str]], tolerance: float
) -> CellFit:
    """Say of one cell whether it has to be run."""
    if fit.levels == design.dense:
        return replace(fit, needed=not design.anchored)
    if math.isfinite(fit.rho):
        error = fit.product_error if math.isfinite(fit.product_error) else fit.left_out_error
        mixed = sum(v != d for v, d in zip(fit.levels, design.dense, strict=True)) > 1
        return replace(fit, needed=not (mixed and abs(error) <= tolerance))
    doubtful = any((k, level) in fails for k, level in enumerate(fit.levels))
    reach = max(fit.high - fit.fitted, fit.fitted - fit.low)
    return replace(fit, needed=doubtful or not reach <= tolerance)
