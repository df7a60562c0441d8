"""The table of formats as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

COLUMNS = {
    "format": "format",
    "bits_per_weight": "bits per weight",
    "gmse": "GMSE",
    "effective_bits": "effective bits",
    "rate_distortion_gap_bits": "gap (bits)",
    "gmse_activation": "GMSE of activations",
    "rho_predicted": "predicted ρ",
}
INTRODUCTION = """\
# The formats and their errors

What every format of the registry costs and loses on Gaussian values, before any training. GMSE is
the relative squared error of the weights on N(0,1) (arXiv:2506.01863); effective bits are
-½·log₂(GMSE), and the gap is bits per weight minus that: the distance to the rate-distortion bound
4^-bits. Bits per weight count scales and an ideal code of the sparsity mask, for rows of
{in_features} values. The predicted ρ is {L:g}·tanh({F:g}·log_¼ GMSE)^{C:g} (Table 3, Llama), the
product over the operands where activations are compressed too: a prediction, not a measurement, and
a poor one for sparsity (the paper fits each family by itself).

Made by `python -m unified_laws.gmse formats=all table=docs/formats.md`; do not edit.

"""


def format_page(
    rows: Sequence[Mapping[str, Any]], *, in_features: int, L: float, F: float, C: float
) -> str:
    """The table with an introduction; the arguments are those of the rows and of their curve."""
    return INTRODUCTION.format(in_features=in_features, L=L, F=F, C=C) + format_table(rows)


def format_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """One line per format, in the order given.

    Args:
        rows: one mapping per format with the keys of `COLUMNS`; None is shown as a dash.
    """
    lines = ["| " + " | ".join(COLUMNS.values()) + " |"]
    lines.append("|" + "|".join("---" if key == "format" else "--:" for key in COLUMNS) + "|")
    lines += ["| " + " | ".join(cell(key, row[key]) for key in COLUMNS) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def cell(key: str, value: Any) -> str:
    """A value as the table shows it: errors to four digits, bits and ρ to three decimals."""
    if value is None:
        return "–"
    if key == "format":
        return f"`{value}`"
    if not key.startswith("gmse"):
        return f"{value:.3f}"
    return "0" if value == 0 else f"{value:.4g}"
