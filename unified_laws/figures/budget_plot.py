"""Loss that each format reaches under a budget."""

from __future__ import annotations

import math

from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from unified_laws.figures.style import looks, new_figure, plain_text, styled
from unified_laws.laws.budget import BudgetResult


def draw_budget(result: BudgetResult) -> Figure:
    """A curve of loss over the budget per format; the thick parts are the Pareto front."""
    names = [offer.prediction.format for offer in result.offers]
    with styled():
        figure = new_figure(7.2, 4.4)
        axes = figure.add_subplot()
        look = looks(names)
        lowest = [min(filter(math.isfinite, col), default=math.nan) for col in _columns(result)]
        for offer, name in zip(result.offers, names, strict=True):
            color = look[name].color
            label = f"{plain_text(name)}{' *' if offer.on_front else ''}"
            axes.plot(result.budgets, offer.losses, color=color, linewidth=1.0, label=label)
            front = [
                loss if loss <= least else math.nan
                for loss, least in zip(offer.losses, lowest, strict=True)
            ]
            axes.plot(result.budgets, front, color=color, linewidth=3.4, alpha=0.6)
            p = offer.prediction
            if math.isfinite(p.low):
                axes.plot([result.budget] * 2, [p.low, p.high], color=color, linewidth=1.0)
        axes.set_xscale("log")
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xlabel(f"budget: {result.cost}")
        axes.set_ylabel("loss, nats per token")
        axes.set_title(f"{result.tokens}; thick: least loss of all; bar: 95 % interval of a run")
        figure.legend(loc="outside right upper")
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
