"""Where the capacity of a format comes from: runs of its own, runs of its parts, or its GMSE."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from unified_laws.errors import UsageError
from unified_laws.laws.curve_choice import CurveChoice
from unified_laws.laws.factor_spread import factor_spread
from unified_laws.laws.information import Information
from unified_laws.laws.loss_law import Floats

SOURCES = ("measured", "factors", "gmse")


@dataclass(frozen=True)
class CapacitySource:
    """A capacity and what its uncertainty consists of.

    Attributes:
        format: label.
        rho: capacity.
        source: measured, factors or gmse.
        parts: formats of the fit whose capacities are multiplied; none for gmse.
        stderr_log: standard error of log rho beyond that of the parts: how far products, or a
            curve, miss measured capacities.
        note: in words, for people.
    """

    format: str
    rho: float
    source: str
    parts: tuple[str, ...]
    stderr_log: float
    note: str

    def direction(self, information: Information) -> Floats:
        """Gradient of log rho in the parameters of the fit, (p,)."""
        return information.capacity_direction(self.parts)

    def variance_log(self, information: Information) -> float:
        """Variance of log rho."""
        own = float(information.variance_of(self.direction(information))[0])
        return own + self.stderr_log**2


def from_gmse(
    name: str, gmse: float, gmse_activation: float, choice: CurveChoice
) -> CapacitySource:
    """Capacity from the errors of the operands, multiplied (arXiv:2506.01863 §3).

    Args:
        name: label.
        gmse: Gaussian error of the weights; NaN if they are not compressed.
        gmse_activation: that of the activations.
        choice: see `choose_curve`; its spread counts once per operand.

    Raises:
        UsageError: the capacity is 0, so no size reaches any loss.
    """
    errors = np.array([[gmse, gmse_activation]])
    rho = float(choice.predict(errors)[0])
    if not rho > 0:
        raise UsageError(
            f"format {name}: its GMSE is {np.nanmax(errors):.4g}, so its predicted capacity is 0 "
            "and no loss can be predicted; run it (source=measured)"
        )
    spread = choice.stderr_log * math.sqrt(float(np.isfinite(errors).sum()))
    return CapacitySource(name, rho, "gmse", (), spread, f"rho from GMSE by {choice.note}")


def from_parts(
    name: str, factorings: Sequence[Sequence[str]], information: Information
) -> CapacitySource | None:
    """Product of measured capacities: of the first factoring whose parts were all run, or None.

    Args:
        name: label.
        factorings: ways to write the format as parts, the coarsest first; a single part is the
            format itself under another name.
        information: of the fit.
    """
    known = {information.dense, *information.formats}
    for parts in factorings:
        if not parts or not known.issuperset(parts):
            continue
        each = [
            0.0
            if part == information.dense
            else float(information.log_rho[information.formats.index(part)])
            for part in parts
        ]
        log_rho = sum(each)
        if len(parts) == 1:
            return CapacitySource(
                name, math.exp(log_rho), "measured", tuple(parts), 0.0, "rho of its own runs"
            )
        return CapacitySource(
            name,
            math.exp(log_rho),
            "factors",
            tuple(parts),
            factor_spread(each),
            f"rho = {' x '.join(parts)}, measured",
        )
    return None


def choose_source(
    name: str,
    *,
    wanted: str | None,
    measured: CapacitySource | None,
    factors: CapacitySource | None,
    gmse: CapacitySource | None,
    formats: Sequence[str],
) -> CapacitySource:
    """The best that is there, measured before factors before gmse, or the one asked for.

    Raises:
        UsageError: ``wanted`` is no source, or there is none.
    """
    found = {"measured": measured, "factors": factors, "gmse": gmse}
    if wanted is not None and wanted not in SOURCES:
        raise UsageError(f"source is {wanted!r}; allowed: {', '.join(SOURCES)}, or null for best")
    for source in SOURCES if wanted is None else (wanted,):
        chosen = found[source]
        if chosen is not None:
            return chosen
    there = [source for source in SOURCES if found[source] is not None]
    instead = f"take source={' or '.join(there)}" if there else "run it and fit again"
    raise UsageError(
        f"format {name!r} has no capacity from {wanted or 'any source'}; measured are "
        f"{', '.join(formats)}; {instead}"
    )
