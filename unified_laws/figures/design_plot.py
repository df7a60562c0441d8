"""How a standard error falls with the cost of the runs."""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.figure import Figure

from unified_laws.figures.style import GREY, PALETTE, new_figure, plain_text, styled
from unified_laws.laws.design import Plan
from unified_laws.laws.replay import Replay, Stage


def draw_replay(result: Replay) -> Figure:
    """Standard error over cost for the given order and for the designed one, both axes log."""
    with styled():
        figure = new_figure(7.2, 4.4)
        axes = figure.add_subplot()
        for stages, color, label in (
            (result.given, GREY, "order of the table"),
            (result.designed, PALETTE[1], "by design"),
        ):
            known = _known(stages)
            axes.plot(
                [stage.spent for stage in known],
                [stage.stderr for stage in known],
                color=color,
                marker="o",
                markersize=3.5,
                linewidth=1.2,
                label=label,
            )
        axes.axhline(result.goal, color=PALETTE[2], linewidth=1.0, linestyle=(0, (4, 3)))
        axes.annotate(
            f"goal {result.goal:.3g}",
            (0.01, result.goal),
            xycoords=("axes fraction", "data"),
            color=PALETTE[2],
            va="bottom",
            fontsize=9,
        )
        axes.axhline(result.stderr, color=GREY, linewidth=0.8)
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlabel("cost of the runs taken")
        axes.set_ylabel(f"standard error of ρ of {plain_text(result.format)}")
        axes.legend(loc="upper right")
    return figure


def _known(stages: Sequence[Stage]) -> list[Stage]:
    return [stage for stage in stages if math.isfinite(stage.stderr)]


def replay_alt(result: Replay) -> str:
    """What the two curves say."""
    return (
        f"Standard error of rho of {result.format} against cost. The goal {result.goal:.4f} is met "
        f"after {result.given_cost:.3g} in the order of the table and after "
        f"{result.designed_cost:.3g} by design."
    )


def draw_plan(plan: Plan) -> Figure:
    """Expected standard error after each run of a plan."""
    known = [step for step in plan.steps if math.isfinite(step.stderr)]
    costs, errors = [step.spent for step in known], [step.stderr for step in known]
    if math.isfinite(plan.before):
        costs, errors = [0.0, *costs], [plan.before, *errors]
    with styled():
        figure = new_figure(7.2, 3.8)
        axes = figure.add_subplot()
        axes.plot(costs, errors, color=PALETTE[1], marker="o", markersize=4, linewidth=1.2)
        if math.isfinite(plan.target_stderr):
            axes.axhline(plan.target_stderr, color=PALETTE[2], linewidth=1.0, linestyle=(0, (4, 3)))
        axes.set_ylim(bottom=0.0)
        axes.set_xlabel("cost of the runs, GPU-hours")
        axes.set_ylabel(f"standard error of {plain_text(plan.target)}")
    return figure


def plan_alt(plan: Plan) -> str:
    """The outcome in words."""
    return f"Expected standard error after each run. {plan.message}."
