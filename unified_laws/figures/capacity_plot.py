"""Capacity of every format with its interval, beside what its Gaussian error predicts."""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.figure import Figure

from unified_laws.figures.points import FormatPoint
from unified_laws.figures.style import GREY, PALETTE, new_figure, plain_text, styled

MEASURED, PREDICTED = PALETTE[1], PALETTE[2]


def draw_capacities(points: Sequence[FormatPoint]) -> Figure:
    """Dot plot, one row per format: measured rho with its 95 % interval, and rho(GMSE)."""
    shown = [p for p in points if not p.dense and (p.runs or math.isfinite(p.rho_predicted))]
    shown.sort(key=lambda p: p.rho if math.isfinite(p.rho) else p.rho_predicted)
    with styled():
        figure = new_figure(7.2, 1.3 + 0.3 * max(len(shown), 1))
        axes = figure.add_subplot()
        axes.axvline(1.0, color=GREY, linewidth=1.0, linestyle=(0, (4, 3)))
        ends = [1.0]
        for y, point in enumerate(shown):
            if math.isfinite(point.rho):
                low = point.low if math.isfinite(point.low) else point.rho
                high = point.high if math.isfinite(point.high) else point.rho
                axes.plot([low, high], [y, y], color=MEASURED, linewidth=2.2, alpha=0.55)
                ends += [min(high, 2.0 * point.rho), point.rho]
            if math.isfinite(point.rho_predicted):
                ends.append(point.rho_predicted)
        measured = [(p.rho, y) for y, p in enumerate(shown) if math.isfinite(p.rho)]
        predicted = [
            (p.rho_predicted, y) for y, p in enumerate(shown) if math.isfinite(p.rho_predicted)
        ]
        if predicted:
            axes.plot(
                *zip(*predicted, strict=True),
                linestyle="none",
                marker="D",
                markersize=8,
                markerfacecolor="none",
                markeredgecolor=PREDICTED,
                markeredgewidth=1.5,
                label="predicted from GMSE",
            )
        if measured:
            axes.plot(
                *zip(*measured, strict=True),
                linestyle="none",
                marker="o",
                markersize=6,
                color=MEASURED,
                label="measured, 95 % interval",
            )
        axes.set_yticks(range(len(shown)), [plain_text(p.format) for p in shown])
        axes.set_ylim(-0.6, max(len(shown), 1) - 0.4)
        axes.set_xlim(0.0, 1.06 * max(ends))
        axes.grid(visible=False, axis="y")
        axes.set_xlabel("capacity ρ (1 = one dense parameter)")
        if measured or predicted:
            figure.legend(loc="outside upper center", ncols=2)
    return figure
