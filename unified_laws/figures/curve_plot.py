"""Capacity over Gaussian error: the published curve, the refitted one and the measured formats."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from unified_laws.figures.labels import place_labels
from unified_laws.figures.points import FormatPoint
from unified_laws.figures.style import GREY, PALETTE, new_figure, plain_text, styled
from unified_laws.laws.capacity_curve import CapacityCurve, CapacityCurveFit


def draw_curve(
    points: Sequence[FormatPoint], published: CapacityCurve, refitted: CapacityCurveFit | None
) -> Figure:
    """Draw rho over GMSE (log axis) of the formats that compress weights alone."""
    shown = [point for point in points if point.on_curve]
    smallest = min((point.gmse for point in shown), default=1e-3)
    grid = np.geomspace(min(smallest / 2.0, 5e-3), 1.0, 300)
    with styled():
        figure = new_figure(7.2, 4.2)
        axes = figure.add_subplot()
        axes.set_xscale("log")
        axes.plot(
            grid,
            published.predict(grid),
            color=GREY,
            linestyle=(0, (5, 3)),
            linewidth=1.4,
            label=f"published: L = {published.L:g}, F = {published.F:g}, C = {published.C:g}",
        )
        if refitted is not None:
            curve = refitted.curve
            axes.plot(
                grid,
                curve.predict(grid),
                color=PALETTE[2],
                linewidth=1.6,
                label=f"refitted: L = {curve.L:.2g}, F = {curve.F:.2f}, C = {curve.C:.2f}",
            )
        if shown:
            below = [p.rho - (p.low if math.isfinite(p.low) else p.rho) for p in shown]
            above = [(p.high if math.isfinite(p.high) else p.rho) - p.rho for p in shown]
            axes.errorbar(
                [p.gmse for p in shown],
                [p.rho for p in shown],
                yerr=np.maximum([below, above], 0.0),
                linestyle="none",
                marker="o",
                markersize=5.5,
                color=PALETTE[1],
                elinewidth=1.4,
                capsize=2.5,
                label="measured, 95 % interval",
            )
        axes.set_xlim(grid[0], 1.0)
        top = max([1.05, *(1.1 * min(p.high, 2.0 * p.rho) for p in shown if p.high > 0)])
        axes.set_ylim(0.0, top)
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xlabel("Gaussian mean squared error of the weights (GMSE)")
        axes.set_ylabel("capacity ρ")
        axes.legend(loc="upper right")
        drawn = [published] + ([refitted.curve] if refitted is not None else [])
        along = [
            (float(x), float(y))
            for curve in drawn
            for x, y in zip(grid[::3], curve.predict(grid[::3]), strict=True)
        ]
        bars = [
            (p.gmse, float(y))
            for p in shown
            if math.isfinite(p.low) and math.isfinite(p.high)
            for y in np.linspace(p.low, min(p.high, top), 5)
        ]
        place_labels(
            figure,
            axes,
            [p.gmse for p in shown],
            [p.rho for p in shown],
            [plain_text(p.format) for p in shown],
            [*along, *bars],
        )
    return figure
