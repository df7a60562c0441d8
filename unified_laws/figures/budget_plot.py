"""Loss that each format reaches under a budget."""

from __future__ import annotations

import math

from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from unified_laws.figures.style import PALETTE, looks, new_figure, plain_text, styled
from unified_laws.laws.budget import BudgetResult


def draw_budget(result: BudgetResult) -> Figure:
    """Left: loss over the budget, the thick part of a curve is the front; right: at the budget."""
    names = [offer.prediction.format for offer in result.offers]
    look = looks(names)
    with styled():
        figure = new_figure(7.6, max(3.6, 1.4 + 0.28 * len(names)))
        left, right = figure.subplots(1, 2, width_ratios=(1.25, 1.0))
        lowest = [min(filter(math.isfinite, col), default=math.nan) for col in _columns(result)]
        for row, (offer, name) in enumerate(zip(result.offers, names, strict=True)):
            color = look[name].color
            dashes = "-" if row < len(PALETTE) else (0, (4, 2))
            left.plot(result.budgets, offer.losses, color=color, linewidth=1.0, linestyle=dashes)
            front = [
                loss if loss <= least else math.nan
                for loss, least in zip(offer.losses, lowest, strict=True)
            ]
            left.plot(result.budgets, front, color=color, linewidth=4.0, alpha=0.5)
            p, y = offer.prediction, len(names) - 1 - row
            if math.isfinite(p.low):
                right.plot([p.low, p.high], [y, y], color=color, linewidth=2.2, alpha=0.55)
            right.plot([p.val_loss], [y], color=color, marker=look[name].marker, markersize=6)
        left.set_xscale("log")
        left.xaxis.set_minor_formatter(NullFormatter())
        left.set_xlabel(f"budget: {result.cost}")
        left.set_ylabel("loss, nats per token")
        left.set_title(f"{result.tokens}; thick: the front")
        labels = [
            f"{plain_text(name)}{' *' if offer.on_front else ''}"
            for name, offer in zip(names, result.offers, strict=True)
        ]
        right.set_yticks(range(len(names))[::-1], labels)
        right.set_ylim(-0.6, len(names) - 0.4)
        right.grid(visible=False, axis="y")
        right.set_xlabel("loss at the budget")
        right.set_title("with the 95 % interval of a run")
    return figure


def _columns(result: BudgetResult) -> list[tuple[float, ...]]:
    return list(zip(*(offer.losses for offer in result.offers), strict=True))


def budget_alt(result: BudgetResult) -> str:
    """The formats by their loss at the budget, and which are on the front."""
    said = "; ".join(
        f"{offer.prediction.format} {offer.prediction.val_loss:.3f}"
        + (" (on the front)" if offer.on_front else "")
        for offer in result.offers
    )
    return f"Loss against {result.cost} on a log axis, a curve per format. At the budget: {said}."
