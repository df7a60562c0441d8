"""Frozen predictions against the runs that followed."""

from __future__ import annotations

import math

from matplotlib.figure import Figure

from unified_laws.figures.style import GREY, PALETTE, looks, new_figure, plain_text, styled
from unified_laws.laws.score import ScoreBoard, quantile_band

SOURCES = ("measured", "factors", "gmse")


def draw_calibration(board: ScoreBoard) -> Figure:
    """Left: error over predicted loss with intervals; right: where in them the runs fell.

    If predictions are honest the probabilities on the right are uniform: their steps follow the
    diagonal and stay within the 95 % band of order statistics.
    """
    landed = [score for score in board.scores if score.runs]
    look = looks(SOURCES)
    with styled():
        figure = new_figure(7.2, 4.0)
        left, right = figure.subplots(1, 2)
        for source in SOURCES:
            own = [score for score in landed if score.source == source]
            if not own:
                continue
            style = look[source]
            left.plot(
                [score.predicted for score in own],
                [score.error for score in own],
                linestyle="none",
                marker=style.marker,
                color=style.color,
                markersize=5,
                label=plain_text(source),
            )
            for score in own:
                if math.isfinite(score.low):
                    left.plot(
                        [score.predicted] * 2,
                        [score.low - score.predicted, score.high - score.predicted],
                        color=style.color,
                        linewidth=2.2,
                        alpha=0.35,
                    )
        left.axhline(0.0, color=GREY, linewidth=1.0)
        if landed:
            figure.legend(loc="outside lower left", title="ρ from", title_fontsize=9, ncols=3)
        left.set_xlabel("predicted loss, nats per token")
        left.set_ylabel("measured − predicted; bar: 95 %")
        found = sorted(s.probability for s in landed if math.isfinite(s.probability))
        count = len(found)
        if count:
            expected, low, high = quantile_band(count)
            right.fill_between(expected, low, high, color=GREY, alpha=0.2, linewidth=0)
            right.plot(expected, found, marker="o", markersize=4, color=PALETTE[1], linewidth=1.0)
        right.plot([0, 1], [0, 1], color=GREY, linewidth=1.0)
        right.set_xlim(0, 1)
        right.set_ylim(0, 1)
        right.set_xlabel("expected quantile")
        right.set_ylabel("predicted probability of a smaller loss")
    return figure


def calibration_alt(board: ScoreBoard) -> str:
    """The verdict in words."""
    return (
        f"Errors of {board.landed} predicted losses, and the quantiles at which the runs "
        f"fell. {board.covered} of {board.with_interval} lie in their 95 % interval; root mean "
        f"square z {board.rms_z:.2f}."
    )
