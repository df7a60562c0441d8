"""Capacity curves by kind of compression, and every format against its curve."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.figure import Figure

from unified_laws.figures.labels import place_labels
from unified_laws.figures.style import GREY, looks, new_figure, plain_text, styled
from unified_laws.laws.curve_points import SHARED, CurvePoint
from unified_laws.laws.curve_report import CurveReport


def _single(point: CurvePoint) -> float:
    """The error of a format that compresses one operand, or both alike; else NaN."""
    errors = [e for e in (point.gmse, point.gmse_activation) if math.isfinite(e)]
    return errors[0] if max(errors) - min(errors) <= 0.01 * max(errors) else math.nan


def draw_curve_types(report: CurveReport) -> Figure:
    """Left: rho over GMSE with the tanh curve of each kind. Right: measured over predicted.

    A kind that compresses both operands alike is drawn over that one error, its curve squared.
    """
    types = tuple(dict.fromkeys(point.type for point in report.points))
    look = looks(types)
    with styled():
        figure = new_figure(10.4, 4.4)
        left, right = figure.subplots(1, 2, width_ratios=(1.45, 1.0))
        left.set_xscale("log")
        errors = [_single(p) for p in report.points]
        smallest = min((e for e in errors if math.isfinite(e)), default=1e-3)
        grid = np.geomspace(smallest / 2.0, 1.0, 300)[:-1]
        labelled: list[tuple[float, float, str]] = []
        along: list[tuple[float, float]] = []
        for kind in types:
            fit = report.fit(kind)
            own = [p for p in report.points if p.type == kind]
            drawn = [(p, _single(p)) for p in own if math.isfinite(_single(p))]
            if drawn:
                both = any(math.isfinite(p.gmse) and math.isfinite(p.gmse_activation) for p in own)
                curve = fit.predict(grid) ** (2 if both else 1)
                left.plot(grid, curve, color=look[kind].color, linewidth=1.5)
                along += zip(grid[::6].tolist(), curve[::6].tolist(), strict=True)
                labelled += [(e, p.rho, p.format) for p, e in drawn]
            left.errorbar(
                [e for _, e in drawn],
                [p.rho for p, _ in drawn],
                yerr=[1.96 * np.nan_to_num(p.stderr) for p, _ in drawn],
                linestyle="none",
                marker=look[kind].marker,
                color=look[kind].color,
                capsize=2.0,
                elinewidth=1.0,
                markersize=5.5,
            )
            right.errorbar(
                [entry.predicted for entry in fit.residuals],
                [entry.rho for entry in fit.residuals],
                yerr=[1.96 * np.nan_to_num(p.stderr) for p in own],
                linestyle="none",
                marker=look[kind].marker,
                color=look[kind].color,
                capsize=2.0,
                elinewidth=1.0,
                markersize=5.5,
                label=plain_text(kind),
            )
        if len(types) > 1:
            shared = report.fit(SHARED)
            left.plot(grid, shared.predict(grid), color=GREY, linestyle=(0, (5, 3)), linewidth=1.2)
            along += zip(grid[::6].tolist(), shared.predict(grid[::6]).tolist(), strict=True)
        top = 1.08 * max([1.0, *(p.rho for p in report.points)])
        right.plot([0, top], [0, top], color=GREY, linewidth=1.0, linestyle=(0, (4, 3)))
        for axes in (left, right):
            axes.set_ylim(0.0, top)
        right.set_xlim(0.0, top)
        left.set_xlim(grid[0], 1.0)
        left.set_xlabel("Gaussian mean squared error (GMSE)")
        left.set_ylabel("capacity ρ")
        right.set_xlabel("ρ from the curve of its kind")
        right.set_ylabel("measured ρ, 95 % interval")
        if len(types) > 1:
            left.set_title("tanh per kind; dashed: one for all, one operand", fontsize=9)
        right.legend(loc="upper left", fontsize=8)
        place_labels(
            figure,
            left,
            [x for x, _, _ in labelled],
            [y for _, y, _ in labelled],
            [plain_text(text) for _, _, text in labelled],
            along,
        )
    return figure


def curve_types_alt(report: CurveReport) -> str:
    """What the picture says."""
    kinds = dict.fromkeys(point.type for point in report.points)
    text = "; ".join(
        f"{kind}: rmse of rho {report.fit(kind).rmse:.3f} over {len(report.fit(kind).residuals)}"
        for kind in kinds
    )
    return f"Capacity over Gaussian error with a tanh curve per kind of compression. {text}"
