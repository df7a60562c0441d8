"""The three kinds of interval side by side, and which of them is the headline."""

from __future__ import annotations

from dataclasses import dataclass

from unified_laws.errors import UsageError
from unified_laws.laws.loss_law import Floats

LEVEL = 0.95
METHODS = ("profile", "bootstrap", "curvature")


@dataclass(frozen=True)
class MethodInterval:
    """A 95 % interval of one parameter by one method.

    Attributes:
        parameter: A, B, E, alpha, beta, or "rho of <format>".
        method: profile, bootstrap or curvature.
        low: lower end; NaN or infinite where there is none.
        high: upper end.
    """

    parameter: str
    method: str
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class Intervals:
    """95 % intervals of log A, log B, E, alpha, beta and each log rho, in the table's units.

    Attributes:
        method: profile, bootstrap or curvature.
        low: lower ends, (p,); -inf where the runs carry no information; those of
            E, alpha and beta are at least 0.
        high: upper ends, (p,).
    """

    method: str
    low: Floats
    high: Floats


def check_method(method: str, resamples: int) -> None:
    """Refuse an unknown headline, or the bootstrap without resamples.

    Raises:
        UsageError: see above.
    """
    if method not in METHODS:
        raise UsageError(f"interval is {method!r}; allowed is {', '.join(METHODS)}")
    if method == "bootstrap" and not resamples:
        raise UsageError(
            "interval=bootstrap needs resamples; set bootstrap=500, or interval=profile"
        )
