"""Numbers as HTML tables."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from unified_laws.figures.points import FormatPoint
from unified_laws.laws.result import ParameterInterval

UNITS = {"A": "nats · parametersᵅ", "B": "nats · tokensᵝ", "E": "nats per token"}


def number(value: float, digits: int = 3) -> str:
    """A number for reading, a dash where it is not known."""
    return f"{value:.{digits}f}" if math.isfinite(value) else "–"


def significant(value: float) -> str:
    """Four significant digits, a dash where it is not known."""
    return f"{value:.4g}" if math.isfinite(value) else "–"


def interval_text(low: float, high: float, digits: int = 3) -> str:
    """``[0.801, 0.862]``, or a word where there is none."""
    if not math.isfinite(high):
        return "unknown"
    return f"[{number(low, digits)}, {number(high, digits)}]"


def html_table(head: Sequence[str], rows: Sequence[Sequence[str]], *, caption: str) -> str:
    """A table whose first column heads its rows."""
    header = "".join(f"<th scope=col>{escape(cell)}</th>" for cell in head)
    lines = [
        f"<tr><th scope=row>{escape(row[0])}</th>"
        + "".join(f"<td>{escape(cell)}</td>" for cell in row[1:])
        + "</tr>"
        for row in rows
    ]
    return (
        f"<div class=scroll><table><caption>{escape(caption)}</caption>"
        f"<thead><tr>{header}</tr></thead><tbody>{''.join(lines)}</tbody></table></div>"
    )


def capacity_table(points: Sequence[FormatPoint]) -> str:
    """One row per format: measured capacity, GMSE and the capacity that predicts."""
    head = (
        "format",
        "runs",
        "ρ",
        "95 % interval",
        "GMSE",
        "ρ predicted from GMSE",
        "difference",
        "bits per weight",
    )
    rows = []
    for p in points:
        difference = p.rho - p.rho_predicted
        error = significant(p.gmse)
        if math.isfinite(p.gmse_activation):
            error += f" (activations {significant(p.gmse_activation)})"
        interval = "1 by definition" if p.dense else interval_text(p.low, p.high) if p.runs else "–"
        rows.append(
            (
                p.format,
                str(p.runs),
                number(p.rho) if p.runs else "not trained",
                interval,
                error,
                number(p.rho_predicted),
                f"{difference:+.3f}" if math.isfinite(difference) and not p.dense else "–",
                significant(p.bits_per_weight),
            )
        )
    return html_table(head, rows, caption="Measured capacity beside the one its GMSE predicts")


def law_table(intervals: Sequence[ParameterInterval]) -> str:
    """One row per parameter of the law."""
    symbols = {"alpha": "α", "beta": "β"}
    rows = [
        (
            symbols.get(entry.name, entry.name),
            significant(entry.value),
            f"[{significant(entry.low)}, {significant(entry.high)}]"
            if math.isfinite(entry.high)
            else "unknown",
            UNITS.get(entry.name, ""),
        )
        for entry in intervals
    ]
    return html_table(
        ("parameter", "value", "95 % interval", "unit"), rows, caption="The fitted law"
    )
