"""The part of the page that asks whether the runs follow the law."""

from __future__ import annotations

import math
from html import escape

import numpy as np

from unified_laws.figures.residual_plot import draw_influence, draw_residuals
from unified_laws.figures.style import to_svg
from unified_laws.figures.tables import html_table, interval_text, number, significant
from unified_laws.laws.result import LawsResult

MOST_RUNS = 10
PLACES = {"profile": 0, "bootstrap": 1, "curvature": 2}


def diagnostics_section(laws: LawsResult) -> str:
    """Residuals, leverage, influence, drifts, intervals by method, correlations; HTML."""
    parts = [
        "<h2>Do the runs follow the law?</h2>",
        _picture(
            to_svg(draw_residuals(laws), name="residuals", alt=residual_alt(laws)),
            "What the law leaves over, in per cent of the loss. The grey band is two standard "
            "deviations of the noise; ringed runs are outliers. A trend would mean that ρ is not "
            "one number.",
        ),
    ]
    if laws.diagnostics is not None:
        parts += [
            _picture(
                to_svg(draw_influence(laws), name="influence", alt=influence_alt(laws)),
                "Each run's residual over its leverage. The larger a point, the more the run moves "
                "some ρ when it is left out.",
            ),
            _influence_table(laws),
            _drift_table(laws),
        ]
    if laws.intervals:
        parts.append(_method_table(laws))
    parts.append(_correlation_table(laws))
    return "\n".join(part for part in parts if part)


def residual_alt(laws: LawsResult) -> str:
    """Range of the residuals and the outliers in words."""
    residual = [100.0 * row.log_residual for row in laws.residuals]
    outliers = len(laws.diagnostics.outliers) if laws.diagnostics is not None else 0
    return (
        f"Residuals of {len(residual)} runs over N, D and D/N, from {min(residual):.2f} to "
        f"{max(residual):.2f} per cent of the loss; {outliers} outliers."
    )


def influence_alt(laws: LawsResult) -> str:
    """The run with the highest leverage in words."""
    if laws.diagnostics is None:
        return ""
    most = int(np.argmax([run.leverage for run in laws.diagnostics.runs]))
    row = laws.residuals[most]
    return (
        f"Standardised residual over leverage of every run; the highest leverage, "
        f"{laws.diagnostics.runs[most].leverage:.2f}, is that of {row.format} at N = "
        f"{row.num_params:.3g}, D = {row.num_tokens:.3g}."
    )


def _picture(svg: str, caption: str) -> str:
    return f"<figure>{svg}<figcaption>{escape(caption)}</figcaption></figure>"


def _influence_table(laws: LawsResult) -> str:
    if laws.diagnostics is None or not laws.diagnostics.formats:
        return ""
    runs = laws.diagnostics.runs
    order = sorted(range(len(runs)), key=lambda i: -abs(np.nan_to_num(runs[i].shift)))[:MOST_RUNS]
    rows = []
    for i in order:
        row, run = laws.residuals[i], runs[i]
        without = laws.diagnostics.rho_without[i][laws.diagnostics.formats.index(run.moves)]
        rows.append(
            (
                row.format,
                significant(row.num_params),
                significant(row.num_tokens),
                f"{100 * row.log_residual:+.2f} %",
                number(run.leverage, 2),
                run.moves,
                f"{number(laws.capacity(run.moves).rho)} → {number(without)}",
                f"{run.shift:+.2f}",
            )
        )
    head = ("run", "N", "D", "residual", "leverage", "moves", "its ρ", "in standard errors")
    return html_table(head, rows, caption="The runs that move a capacity most when left out")


def _drift_table(laws: LawsResult) -> str:
    if laws.diagnostics is None:
        return ""
    rows = []
    for name in laws.diagnostics.formats:
        cells = [name]
        for variable in ("D", "D/N"):
            for drift in laws.diagnostics.drifts:
                if (drift.format, drift.variable) == (name, variable):
                    known = math.isfinite(drift.p)
                    cells.append(f"× {2.0**drift.slope:.3f}" if known else "–")
                    cells.append(f"{drift.p:.2g}" if known else "–")
        rows.append(tuple(cells))
    if not rows:
        return ""
    head = ("format", "ρ per doubling of D", "p", "ρ per doubling of D/N", "p")
    return html_table(
        head, rows, caption="Is ρ one number? Likelihood-ratio tests, p before Holm's adjustment"
    )


def _method_table(laws: LawsResult) -> str:
    by_name: dict[str, list[str]] = {}
    for entry in laws.intervals:
        digits = 3 if entry.parameter.startswith("rho") or entry.parameter not in ("A", "B") else 1
        cells = by_name.setdefault(entry.parameter, ["–", "–", "–"])
        cells[PLACES[entry.method]] = interval_text(entry.low, entry.high, digits)
    rows = [(name.replace("rho of", "ρ of"), *cells) for name, cells in by_name.items()]
    head = ("parameter", "profile", "bootstrap", "curvature")
    return html_table(
        head, rows, caption=f"95 % intervals by method; the tables above use {laws.interval}"
    )


def _correlation_table(laws: LawsResult) -> str:
    if not laws.covariance.known:
        return ""
    names = laws.covariance.names[:5]
    matrix = laws.covariance.correlation()[:5, :5]
    rows = [
        (name, *(number(float(value), 3) for value in row))
        for name, row in zip(names, matrix, strict=True)
    ]
    return html_table(("", *names), rows, caption="Correlations of the law's parameters")
