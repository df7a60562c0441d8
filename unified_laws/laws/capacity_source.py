"""Where the capacity of a format comes from: runs of its own, runs of its parts, or its GMSE."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from unified_laws.errors import UsageError
from unified_laws.laws.capacity_curve import LLAMA_C4, CapacityCurve, fit_capacity_curve
from unified_laws.laws.factor_spread import factor_spread
from unified_laws.laws.information import Information
from unified_laws.laws.loss_law import Floats

SOURCES = ("measured", "factors", "gmse")
# Two parameters of a curve and one degree of freedom for its spread.
LEAST_ON_CURVE = 3


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


@dataclass(frozen=True)
class CurvePoint:
    """A measured capacity beside its error.

    Attributes:
        kind: of the compression, such as ``quantizer`` or ``sparsifier``.
        gmse: Gaussian error of the weights.
        rho: capacity.
        stderr: of rho; NaN if unknown.
    """

    kind: str
    gmse: float
    rho: float
    stderr: float = math.nan


# Weights only, arXiv:2506.01863v1: Fig. 6 (A16), Fig. 7 (no sparsity; 16 bits), Fig. 2b (dense
# activations), Fig. 9 (16 bits). The GMSE are those of the operators of §4: QuEST's grids and
# magnitude top-k, from the gmse module. They are kept here to say how far the published curve
# misses the capacities of its own paper.
PUBLISHED_POINTS = (
    *(
        CurvePoint("quantizer", gmse, rho)
        for gmse, rho in (
            (0.36338, 0.21),
            (0.118846, 0.45),
            (0.0374397, 0.74),
            (0.0115429, 0.90),
            (0.118846, 0.57),
            (0.0374397, 0.75),
            (0.0115429, 0.87),
            (8.78212e-5, 0.99),
        )
    ),
    *(
        CurvePoint("sparsifier", gmse, rho)
        for gmse, rho in (
            (0.008347, 0.84),
            (0.071326, 0.70),
            (0.276393, 0.50),
            (0.004242, 0.84),
            (0.035340, 0.65),
            (0.128756, 0.47),
            (0.350180, 0.27),
            (0.000525, 0.95),
            (0.004242, 0.89),
            (0.014555, 0.84),
            (0.035340, 0.78),
            (0.071326, 0.72),
            (0.128756, 0.64),
            (0.216693, 0.56),
            (0.350180, 0.47),
            (0.560714, 0.35),
        )
    ),
)


@dataclass(frozen=True)
class CurveChoice:
    """A capacity curve and how far it misses capacities.

    Attributes:
        curve: the curve.
        stderr_log: root mean square of log(measured / curve), per degree of freedom.
        note: which curve, in words.
    """

    curve: CapacityCurve
    stderr_log: float
    note: str


def choose_curve(kind: str, measured: Sequence[CurvePoint]) -> CurveChoice:
    """The most specific curve: of the fit's formats of this kind, of all, or the published one.

    Args:
        kind: of the format to predict.
        measured: capacities of the fit with an error strictly between 0 and 1.
    """
    same = [point for point in measured if point.kind == kind]
    for points, words in ((same, f"{kind} formats"), (list(measured), "formats")):
        if len({point.gmse for point in points}) < LEAST_ON_CURVE:
            continue
        fit = fit_capacity_curve(
            [p.gmse for p in points], [p.rho for p in points], [p.stderr for p in points]
        )
        spread = _spread(fit.curve, points, len(points) - 2)
        return CurveChoice(fit.curve, spread, f"the curve of this fit's {len(points)} {words}")
    # Quantizers and sparsifiers miss the one published curve by very different amounts.
    published = [p for p in PUBLISHED_POINTS if p.kind == kind] or list(PUBLISHED_POINTS)
    spread = _spread(LLAMA_C4, published, len(published))
    return CurveChoice(LLAMA_C4, spread, "the published curve (arXiv:2506.01863, Table 3)")


def _spread(curve: CapacityCurve, points: Sequence[CurvePoint], freedom: int) -> float:
    rho = np.array([point.rho for point in points])
    miss = np.log(rho / np.maximum(curve.predict([point.gmse for point in points]), 1e-300))
    return float(np.sqrt(np.square(miss).sum() / freedom))


def from_gmse(name: str, errors: Sequence[float], choice: CurveChoice) -> CapacitySource:
    """Capacity from the errors of the operands, multiplied (arXiv:2506.01863 §3).

    Args:
        name: label.
        errors: Gaussian error of each compressed operand.
        choice: see `choose_curve`; its spread counts once per operand.

    Raises:
        UsageError: the capacity is 0, so no size reaches any loss.
    """
    rho = float(np.prod(choice.curve.predict(errors))) if len(errors) else 1.0
    if not rho > 0:
        raise UsageError(
            f"format {name}: its GMSE is {max(errors):.4g}, so its predicted capacity is 0 and no "
            "loss can be predicted; run it (source=measured)"
        )
    spread = choice.stderr_log * math.sqrt(len(errors))
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
            note = "rho measured" + ("" if parts[0] == name else f" as {parts[0]}")
            return CapacitySource(name, math.exp(log_rho), "measured", tuple(parts), 0.0, note)
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
