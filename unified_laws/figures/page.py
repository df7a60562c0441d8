"""One page that says what the runs say: self-contained HTML, text first."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from unified_laws.figures.alt_text import capacity_alt, collapse_alt, curve_alt, sizes_alt
from unified_laws.figures.capacity_plot import draw_capacities
from unified_laws.figures.curve_plot import draw_curve
from unified_laws.figures.diagnostics_section import diagnostics_section
from unified_laws.figures.frozen_section import frozen_section
from unified_laws.figures.law_plot import draw_collapse, draw_sizes
from unified_laws.figures.points import FormatPoint, join_points
from unified_laws.figures.sheet import SHEET
from unified_laws.figures.style import to_svg
from unified_laws.figures.tables import capacity_table, interval_text, law_table, number
from unified_laws.laws.capacity_curve import LLAMA_C4, CapacityCurve, CapacityCurveFit
from unified_laws.laws.result import LawsResult
from unified_laws.laws.score import ScoreBoard
from unified_laws.laws.table import RunTable


def render_page(
    table: RunTable,
    laws: LawsResult,
    gmse_rows: Sequence[Mapping[str, Any]],
    *,
    title: str,
    notes: Sequence[str],
    commands: Sequence[str],
    curve_fit: CapacityCurveFit | None = None,
    published: CapacityCurve = LLAMA_C4,
    frozen: ScoreBoard | None = None,
) -> str:
    """The report as one HTML text; the same input gives the same bytes.

    Args:
        table: the runs the laws were fitted to.
        laws: the fit.
        gmse_rows: see `join_points`.
        title: of the page.
        notes: paragraphs on the data, plain text.
        commands: shell commands that made the page, in order.
        curve_fit: the capacity curve refitted to these formats, if there were enough of them.
        published: the curve to compare with.
        frozen: predictions made before their runs, and their score.
    """
    points = join_points(laws, gmse_rows)
    parts = [
        f"<p class=kicker>{escape(title)}</p>",
        f"<h1>{escape(headline(points))}</h1>",
        *(f"<p>{escape(line)}</p>" for line in (*_lead(points, laws), *notes)),
        _warnings(laws),
        "<h2>Capacity of each format</h2>",
        capacity_table(points),
        _picture(
            to_svg(draw_capacities(points), name="capacity", alt=capacity_alt(points)),
            "Measured capacity with its 95 % interval, and what the Gaussian error of the format "
            "predicts without training.",
        ),
        "<h2>Capacity and Gaussian error</h2>",
        _picture(
            to_svg(
                draw_curve(points, published, curve_fit),
                name="curve",
                alt=curve_alt(points, published, curve_fit),
            ),
            "ρ(GMSE) = L·tanh(F·log¼ GMSE)ᶜ. Formats that compress activations too are not on "
            "this curve: two errors act on them." + _curve_sentence(curve_fit),
        ),
        "<h2>The law</h2>",
        "<p class=law>L(N, D) = A·(N·ρ)<sup>−α</sup> + B·D<sup>−β</sup> + E</p>",
        law_table(laws.law_intervals),
        f"<p>{escape(_quality(laws))}</p>",
        _picture(
            to_svg(draw_collapse(table, laws), name="collapse", alt=collapse_alt(laws)),
            "Every run of every format, its loss less the token term, against dense-equivalent "
            "parameters. If one number per format is enough, the points share the line.",
        ),
        _picture(
            to_svg(draw_sizes(table, laws), name="sizes", alt=sizes_alt(table, laws)),
            "Loss against tokens per parameter for each size: measured points and the law.",
        ),
        diagnostics_section(laws),
        frozen_section(frozen) if frozen is not None else "",
        _commands(commands),
    ]
    body = "\n".join(part for part in parts if part)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{escape(title)}</title>\n<style>\n{SHEET}</style>\n</head>\n"
        f"<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def _per_bit(point: FormatPoint) -> float:
    return point.rho / point.bits_per_weight if point.bits_per_weight > 0 else math.nan


def _foremost(points: Sequence[FormatPoint]) -> FormatPoint | None:
    """Compressed format with most capacity per stored bit; most capacity if bits are missing."""
    measured = [p for p in points if p.runs and not p.dense]
    with_bits = [p for p in measured if math.isfinite(_per_bit(p))]
    if with_bits:
        return max(with_bits, key=_per_bit)
    return max(measured, key=lambda p: p.rho, default=None)


def headline(points: Sequence[FormatPoint]) -> str:
    """The answer in one sentence."""
    best = _foremost(points)
    if best is None:
        return "No compressed format has been trained yet"
    return (
        f"{best.format} is worth {number(best.rho, 2)} {interval_text(best.low, best.high, 2)} "
        "of its parameters"
    )


def _lead(points: Sequence[FormatPoint], laws: LawsResult) -> list[str]:
    best = _foremost(points)
    if best is None:
        return [f"{laws.num_runs} dense runs; the law below is theirs."]
    dense = next(p for p in points if p.dense)
    trained = sum(1 for p in points if p.runs and not p.dense)
    lines = [
        f"A model of N parameters trained in {best.format} reaches the loss of a dense "
        f"({dense.format}) model of {number(best.rho, 2)}·N parameters on the same tokens. "
        f"Brackets are 95 % intervals. {laws.num_runs} runs, {trained} compressed "
        f"format{'s' * (trained != 1)}."
    ]
    if math.isfinite(_per_bit(best)):
        against = (
            f" ({dense.format}: {number(_per_bit(dense), 3)})"
            if math.isfinite(_per_bit(dense))
            else ""
        )
        lines.append(
            f"Of the formats trained, {best.format} has the most capacity per stored bit: "
            f"{number(_per_bit(best), 3)}{against}."
        )
    return lines


def _warnings(laws: LawsResult) -> str:
    lines = [*laws.fit.warnings]
    lines += [f"{entry.runs} run(s) left out: {entry.reason}." for entry in laws.left_out]
    if not lines:
        return ""
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f"<section class=warnings><h2>Read this first</h2><ul>{items}</ul></section>"


def _quality(laws: LawsResult) -> str:
    fit = laws.fit
    how = {
        "least_squares": "Least squares",
        "least_absolute": "Least absolute deviations",
    }.get(laws.objective, f"Huber with delta = {laws.delta:g}")
    how = "Least squares" if math.isinf(laws.delta) else how
    fixed = "".join(f" {name} was held at {value:g}." for name, value in laws.fixed)
    return (
        f"{how} on log loss; the law misses a run by {100 * fit.rmse_log:.2f} % (root mean square)."
        f" {fit.starts_at_best} of {fit.starts} starts reached the best optimum; {laws.interval} "
        f"intervals.{fixed}{_effect(laws)}"
    )


def _effect(laws: LawsResult) -> str:
    found = laws.components
    if found is None:
        return ""
    return (
        f" Noise shared within a {found.group}: {100 * found.sigma_group:.2f} %, of a run alone: "
        f"{100 * found.sigma_run:.2f} % ({found.method}; p = {found.p:.2g} without it)."
    )


def _picture(svg: str, caption: str) -> str:
    return f"<figure>{svg}<figcaption>{escape(caption)}</figcaption></figure>"


def _commands(commands: Sequence[str]) -> str:
    if not commands:
        return ""
    return f"<h2>Made with</h2><pre><code>{escape(chr(10).join(commands))}</code></pre>"


def _curve_sentence(fit: CapacityCurveFit | None) -> str:
    if fit is None:
        return ""
    return f" The refitted curve misses ρ by {fit.rmse:.3f} (root mean square of {fit.points})."
