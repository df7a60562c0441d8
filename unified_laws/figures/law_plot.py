"""The runs against the law: the collapse on N rho, and the loss of each size over D/N."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

from unified_laws.figures.style import GREY, Look, looks, new_figure, plain_text, styled
from unified_laws.laws.result import LawsResult
from unified_laws.laws.table import RunTable

MOST_PANELS = 6


def draw_collapse(table: RunTable, laws: LawsResult) -> Figure:
    """Loss less its token term against N rho: with the right rho, all formats share one line."""
    with styled():
        figure = new_figure(7.2, 4.4)
        axes = figure.add_subplot()
        look = looks([entry.format for entry in laws.capacities])
        rho = np.array([laws.capacity(name).rho for name in table.formats])
        capacity = table.num_params * rho
        token_term = np.exp(laws.law.log_B - laws.law.beta * np.log(table.num_tokens))
        labels = np.array(table.formats)
        for name, style in look.items():
            own = labels == name
            axes.plot(
                capacity[own],
                (table.val_loss - token_term)[own],
                linestyle="none",
                marker=style.marker,
                color=style.color,
                markersize=5,
                label=plain_text(name),
            )
        grid = np.geomspace(capacity.min() / 1.15, capacity.max() * 1.15, 200)
        line = np.exp(laws.law.log_A - laws.law.alpha * np.log(grid)) + laws.law.E
        axes.plot(grid, line, color=GREY, linewidth=1.2, zorder=1, label="law")
        count_axis(axes)
        axes.set_xlabel("N · ρ, dense-equivalent parameters")
        axes.set_ylabel("loss − B·D$^{-β}$, nats per token")
        figure.legend(loc="outside right upper", handletextpad=0.3)
    return figure


def draw_sizes(table: RunTable, laws: LawsResult) -> Figure:
    """Loss over D/N, one panel per size, a curve per format; at most six sizes, evenly chosen."""
    sizes = _chosen(np.unique(table.num_params))
    look = looks([entry.format for entry in laws.capacities])
    columns = 2 if len(sizes) in (2, 4) else min(3, len(sizes))
    across = len(look) if len(look) <= 5 else 4
    rows = math.ceil(len(sizes) / columns)
    with styled():
        figure = new_figure(7.2, 0.9 + 2.3 * rows + 0.17 * math.ceil(len(look) / across))
        panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
        chosen = np.isin(table.num_params, sizes)
        ratio = (table.num_tokens / table.num_params)[chosen]
        grid = np.geomspace(ratio.min() / 1.3, ratio.max() * 1.3, 60)
        for size, axes in zip(sizes, panels, strict=False):
            _draw_size(axes, table, laws, look, float(size), grid)
        for axes in panels[len(sizes) :]:
            axes.set_visible(False)
        for index, axes in enumerate(panels[: len(sizes)]):
            if index % columns == 0:
                axes.set_ylabel("loss, nats per token")
            if index + columns >= len(sizes):
                axes.set_xlabel("D / N, tokens per parameter")
                axes.tick_params(labelbottom=True)
        handles = [
            Line2D([], [], color=s.color, marker=s.marker, markersize=4.5, label=plain_text(name))
            for name, s in look.items()
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=across)
    return figure


def _draw_size(
    axes: Axes,
    table: RunTable,
    laws: LawsResult,
    look: dict[str, Look],
    size: float,
    grid: np.ndarray,
) -> None:
    labels = np.array(table.formats)
    here = table.num_params == size
    for name, style in look.items():
        own = here & (labels == name)
        if not own.any():
            continue
        axes.plot(
            table.num_tokens[own] / size,
            table.val_loss[own],
            linestyle="none",
            marker=style.marker,
            color=style.color,
            markersize=4.5,
        )
        curve = laws.law.predict(size, size * grid, laws.capacity(name).rho)
        axes.plot(grid, curve, color=style.color, linewidth=0.9, alpha=0.75)
    axes.set_title(f"N = {_count(size)}")
    count_axis(axes)


def _chosen(sizes: np.ndarray) -> np.ndarray:
    if len(sizes) <= MOST_PANELS:
        return sizes
    picks = np.linspace(0, len(sizes) - 1, MOST_PANELS).round().astype(int)
    chosen: np.ndarray = sizes[picks]
    return chosen


def _count(value: float) -> str:
    """``12.3M`` for 12300000."""
    for limit, suffix in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if value >= limit * 0.9995:
            return f"{value / limit:.3g}{suffix}"
    return f"{value:.3g}"


def count_axis(axes: Axes) -> None:
    """A log axis of counts with readable ticks, also where it spans less than a decade."""
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    decades = math.log10(high / low)
    steps = (1.0,) if decades > 3 else (1.0, 3.0) if decades > 1.6 else (1.0, 2.0, 5.0)
    axes.xaxis.set_major_locator(LogLocator(base=10.0, subs=steps, numticks=12))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _count(value)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())
