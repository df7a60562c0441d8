"""Frozen predictions on the page: the verdict, a table and the calibration."""

from __future__ import annotations

from html import escape

from unified_laws.figures.calibration_plot import calibration_alt, draw_calibration
from unified_laws.figures.style import to_svg
from unified_laws.figures.tables import html_table, interval_text, number, significant
from unified_laws.laws.score import ScoreBoard


def frozen_section(board: ScoreBoard) -> str:
    """HTML of the predictions that were written down before their runs."""
    rows = [
        (
            score.format,
            significant(score.num_params),
            significant(score.num_tokens),
            number(score.predicted, 4),
            interval_text(score.low, score.high, 4),
            score.source,
            number(score.val_loss, 4) if score.runs else "no run yet",
            f"{score.error:+.4f}" if score.runs else "–",
            f"{score.z:+.2f}" if score.runs else "–",
        )
        for score in board.scores
    ]
    head = ("format", "N", "D", "predicted", "95 % interval", "ρ from", "measured", "error", "z")
    flagged = [text for score in board.scores for text in score.flagged]
    parts = [
        "<h2>Frozen predictions</h2>",
        f"<p>{escape(board.verdict())}</p>",
        html_table(head, rows, caption="Losses written down before the runs"),
        *(f"<p>Not counted: {escape(text)}.</p>" for text in flagged),
    ]
    if board.landed:
        svg = to_svg(draw_calibration(board), name="calibration", alt=calibration_alt(board))
        caption = (
            "Left: measured less predicted loss. Right: if the predictions are honest, the "
            "quantiles at which the runs fell follow the diagonal, within the grey 95 % band."
        )
        parts.append(f"<figure>{svg}<figcaption>{escape(caption)}</figcaption></figure>")
    return "\n".join(parts)
