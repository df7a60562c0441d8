"""Rival laws: evidence against each, and how well each predicts runs held out."""

from __future__ import annotations

import math

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from unified_laws.figures.style import GREY, PALETTE, new_figure, plain_text, styled
from unified_laws.laws.forms.scores import Comparison

EVIDENCE, LARGEST, FOLDS = PALETTE[1], PALETTE[2], PALETTE[3]
# The evidence axis is linear up to here and logarithmic beyond.
LINEAR_TO = 10.0


def draw_comparison(comparison: Comparison) -> Figure:
    """Two panels with a row per law, the best on top: AICc above the best, and held-out errors."""
    scores = comparison.scores[::-1]
    rows = range(len(scores))
    known = [s.aicc for s in scores if math.isfinite(s.aicc)]
    with styled():
        figure = new_figure(7.6, 1.3 + 0.3 * len(scores))
        left, right = figure.subplots(1, 2, sharey=True)
        points = [(s.aicc - min(known), y) for y, s in enumerate(scores) if math.isfinite(s.aicc)]
        left.axvline(0.0, color=GREY, linewidth=1.0, linestyle=(0, (4, 3)))
        for value, y in points:
            left.plot([0.0, value], [y, y], color=EVIDENCE, linewidth=2.2, alpha=0.55)
            left.plot([value], [y], marker="o", markersize=6, color=EVIDENCE)
        left.set_xscale("symlog", linthresh=LINEAR_TO)
        left.set_xlim(left=-1.0)
        left.set_xlabel("AICc above the best law (2: no evidence)")
        for name, marker, color, text in (
            ("held_out_largest", "D", LARGEST, "largest N left out"),
            ("held_out_folds", "o", FOLDS, f"{comparison.folds} random parts left out"),
        ):
            errors = [(100.0 * getattr(s, name), y) for y, s in enumerate(scores)]
            errors = [(x, y) for x, y in errors if math.isfinite(x)]
            if errors:
                right.plot(
                    *zip(*errors, strict=True),
                    linestyle="none",
                    marker=marker,
                    markersize=6,
                    color=color,
                    label=text,
                )
        right.set_xscale("log")
        right.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        right.xaxis.set_minor_locator(NullLocator())
        right.set_xlabel("relative error of held-out losses, %")
        left.set_yticks(rows, [plain_text(f"{s.name} ({s.num_parameters})") for s in scores])
        for axes in (left, right):
            axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
            axes.set_ylim(-0.6, len(scores) - 0.4)
            axes.grid(visible=False, axis="y")
        if right.get_legend_handles_labels()[0]:
            figure.legend(loc="outside upper center", ncols=2)
    return figure


def comparison_alt(comparison: Comparison) -> str:
    """The order of the laws and the verdict."""
    order = ", ".join(score.name for score in comparison.scores)
    return (
        f"Dot plots of {len(comparison.scores)} laws, best first: {order}. {comparison.verdict()}"
    )
