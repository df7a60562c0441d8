"""What the law leaves over: residuals over N, D and D/N, and the hold of each run on the fit."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from unified_laws.figures.law_plot import count_axis
from unified_laws.figures.style import GREY, Look, looks, new_figure, plain_text, styled
from unified_laws.laws.result import LawsResult


def draw_residuals(laws: LawsResult) -> Figure:
    """Log residual of every run in per cent over N, D and D/N; outliers are ringed."""
    look = looks([entry.format for entry in laws.capacities])
    size = np.array([row.num_params for row in laws.residuals])
    tokens = np.array([row.num_tokens for row in laws.residuals])
    residual = np.array([100.0 * row.log_residual for row in laws.residuals])
    labels = np.array([row.format for row in laws.residuals])
    rings = list(laws.diagnostics.outliers) if laws.diagnostics is not None else []
    across = len(look) if len(look) <= 5 else 4
    with styled():
        figure = new_figure(7.2, 2.6 + 0.17 * math.ceil(len(look) / across))
        panels = figure.subplots(1, 3, sharey=True)
        for axes, x, name in zip(
            panels, (size, tokens, tokens / size), ("N", "D, tokens", "D / N"), strict=True
        ):
            band = 100.0 * laws.fit.noise_log
            if math.isfinite(band):
                axes.axhspan(-2 * band, 2 * band, color="#ececec", zorder=0)
            axes.axhline(0.0, color=GREY, linewidth=1.0, zorder=1)
            for label, style in look.items():
                own = labels == label
                axes.plot(
                    x[own],
                    residual[own],
                    linestyle="none",
                    marker=style.marker,
                    color=style.color,
                    markersize=4.5,
                    alpha=0.85,
                )
            axes.plot(
                x[rings],
                residual[rings],
                linestyle="none",
                marker="o",
                markersize=11,
                markerfacecolor="none",
                markeredgecolor="#b00020",
            )
            axes.set_xlabel(name)
            axes.margins(y=0.12)
            count_axis(axes)
        panels[0].set_ylabel("residual, % of the loss")
        figure.legend(handles=_handles(look), loc="outside lower center", ncols=across)
    return figure


def _handles(look: dict[str, Look]) -> list[Line2D]:
    return [
        Line2D([], [], color=s.color, marker=s.marker, linestyle="none", label=plain_text(name))
        for name, s in look.items()
    ]


def draw_influence(laws: LawsResult) -> Figure:
    """Studentized residual over leverage: a run far to the right and far from 0 moves the fit."""
    if laws.diagnostics is None:
        raise ValueError("an earlier version's laws.json has no diagnostics to draw")
    look = looks([entry.format for entry in laws.capacities])
    runs, labels = laws.diagnostics.runs, np.array([row.format for row in laws.residuals])
    leverage = np.array([run.leverage for run in runs])
    student = np.array([run.studentized for run in runs])
    shift = np.array([abs(run.shift) for run in runs])
    with styled():
        figure = new_figure(7.2, 3.4)
        axes = figure.add_subplot()
        axes.axhline(0.0, color=GREY, linewidth=1.0, zorder=1)
        for label, style in look.items():
            own = labels == label
            axes.scatter(
                leverage[own],
                student[own],
                marker=style.marker,
                color=style.color,
                s=16.0 + 60.0 * np.minimum(np.nan_to_num(shift[own]), 3.0),
                alpha=0.75,
                linewidths=0,
            )
        axes.set_xlabel("leverage (share of its own residual that the fit takes away)")
        axes.set_ylabel("residual, standard errors")
        figure.legend(handles=_handles(look), loc="outside right upper", handletextpad=0.3)
    return figure
