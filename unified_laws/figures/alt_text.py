"""Pictures in words, for those who do not see them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from unified_laws.figures.points import FormatPoint
from unified_laws.figures.tables import number
from unified_laws.laws.capacity_curve import CapacityCurve, CapacityCurveFit
from unified_laws.laws.result import LawsResult
from unified_laws.laws.table import RunTable


def capacity_alt(points: Sequence[FormatPoint]) -> str:
    """Every measured and predicted capacity."""
    said = [
        f"{p.format} {number(p.rho, 2)}"
        + (f", predicted {number(p.rho_predicted, 2)}" if math.isfinite(p.rho_predicted) else "")
        for p in points
        if p.runs and not p.dense
    ]
    return f"Dot plot of measured and predicted capacity. {'; '.join(said)}."


def curve_alt(
    points: Sequence[FormatPoint], published: CapacityCurve, fit: CapacityCurveFit | None
) -> str:
    """The curves drawn and the number of points."""
    count = sum(1 for p in points if p.on_curve)
    return (
        f"Capacity against Gaussian error on a log axis: the published curve "
        f"(L {published.L:g}, F {published.F:g}, C {published.C:g})"
        + (", the refitted curve" if fit is not None else "")
        + f" and {count} measured format(s)."
    )


def collapse_alt(laws: LawsResult) -> str:
    """What the collapse shows."""
    return (
        f"Loss less the token term of {laws.num_runs} runs of {len(laws.capacities)} formats "
        "against N times rho on a log axis, with the fitted power law through them."
    )


def sizes_alt(table: RunTable, laws: LawsResult) -> str:
    """What the panels show."""
    sizes = len(set(table.num_params.tolist()))
    return (
        f"Validation loss against tokens per parameter, a panel per size ({sizes} sizes), "
        f"with the law's curve for each of {len(laws.capacities)} formats."
    )
