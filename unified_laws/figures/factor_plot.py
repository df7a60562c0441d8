"""Capacities as products: the matrix, what the product misses, what the rank-1 fit misses."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from unified_laws.figures.style import GREY, PALETTE, new_figure, plain_text, styled
from unified_laws.laws.factor_result import CellFit, Factorization
from unified_laws.laws.loss_law import Floats


def draw_factors(result: Factorization) -> Figure:
    """Two factors: three matrices. More: measured over fitted and over the product."""
    return _matrices(result) if len(result.factors) == 2 else _scatter(result)


def _grid(result: Factorization, attribute: str) -> Floats:
    rows, columns = (result.levels_of(factor) for factor in result.factors)
    values = np.array([getattr(cell, attribute) for cell in result.cells], dtype=np.float64)
    return values.reshape(len(rows), len(columns))


def _matrices(result: Factorization) -> Figure:
    rows, columns = (result.levels_of(factor) for factor in result.factors)
    rho, product, error = (_grid(result, a) for a in ("rho", "product_error", "error"))
    missing = ~np.isfinite(rho)
    fitted = np.where(missing, _grid(result, "fitted"), rho)
    limit = max(float(np.nanmax(np.abs(np.append(product, error)))), result.tolerance)
    with styled():
        width = 1.2 + 0.62 * len(columns)
        figure = new_figure(max(3 * width, 9.0), 1.6 + 0.36 * len(rows))
        panels = figure.subplots(1, 3)
        for axes, values, title, signed in zip(
            panels,
            (fitted, product, error),
            (
                "ρ (grey italics: fitted, not run)",
                "ρ − product of uncompressed cells",
                "ρ − rank-1 fit",
            ),
            (False, True, True),
            strict=True,
        ):
            top = limit if signed else 1.0
            axes.imshow(
                values,
                cmap="RdBu_r" if signed else "Blues",
                vmin=-top if signed else 0.0,
                vmax=top,
                aspect="auto",
            )
            _write(axes, values, missing if not signed else np.zeros_like(missing), signed, top)
            axes.set_title(title)
            axes.set_xticks(range(len(columns)), [plain_text(e.level) for e in columns])
            axes.set_yticks(range(len(rows)), [plain_text(e.level) for e in rows])
            axes.set_xlabel(plain_text(result.factors[1]))
            axes.grid(visible=False)
            axes.tick_params(length=0)
        panels[0].set_ylabel(plain_text(result.factors[0]))
    return figure


def _write(axes: Axes, values: Floats, grey: np.ndarray, signed: bool, top: float) -> None:
    for (i, j), value in np.ndenumerate(values):
        if not math.isfinite(value):
            continue
        dark = abs(value) > 0.62 * top
        text = f"{value:+.3f}" if signed else f"{value:.2f}"
        color = "white" if dark else GREY if grey[i, j] else "black"
        style = "italic" if grey[i, j] else "normal"
        axes.text(j, i, text, ha="center", va="center", fontsize=8, color=color, fontstyle=style)


def _scatter(result: Factorization) -> Figure:
    measured = [c for c in result.cells if math.isfinite(c.rho) and c.levels != result.dense]
    with styled():
        figure = new_figure(8.4, 4.2)
        panels = figure.subplots(1, 2, sharey=True)
        for axes, attribute, title in zip(
            panels,
            ("product", "fitted"),
            ("product of uncompressed cells", "rank-1 fit"),
            strict=True,
        ):
            shown = [c for c in measured if math.isfinite(getattr(c, attribute))]
            _points(axes, shown, attribute, result)
            axes.set_title(title)
            axes.set_xlabel("ρ from the factors")
        panels[0].set_ylabel("measured ρ, 95 % interval")
    return figure


def _points(axes: Axes, shown: list[CellFit], attribute: str, result: Factorization) -> None:
    top = 1.05 * max([1.0, *(cell.rho for cell in shown)])
    axes.fill_between(
        [0, top],
        [-result.tolerance, top - result.tolerance],
        [result.tolerance, top + result.tolerance],
        color="#eeeeee",
        linewidth=0,
    )
    axes.plot([0, top], [0, top], color=GREY, linewidth=1.0, linestyle=(0, (4, 3)))
    axes.errorbar(
        [getattr(cell, attribute) for cell in shown],
        [cell.rho for cell in shown],
        yerr=[1.96 * np.nan_to_num(cell.stderr) for cell in shown],
        linestyle="none",
        marker="o",
        markersize=4.5,
        color=PALETTE[1],
        elinewidth=1.0,
        capsize=2.0,
    )
    axes.set_xlim(0.0, top)
    axes.set_ylim(0.0, top)


def factors_alt(result: Factorization) -> str:
    """What the picture says."""
    return (
        f"Capacity by {' and '.join(result.factors)}. The product of uncompressed cells misses by "
        f"{result.largest_product_error:.3f} at most, the rank-1 fit by {result.largest_error:.3f}."
    )
