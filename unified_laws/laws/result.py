"""What a fit says, and its JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

from unified_laws.errors import UsageError
from unified_laws.laws.block_effect import VarianceComponents
from unified_laws.laws.covariance import ParameterCovariance
from unified_laws.laws.diagnostics import Diagnostics
from unified_laws.laws.intervals import MethodInterval
from unified_laws.laws.json_form import nan_for_null, to_json
from unified_laws.laws.loss_law import PARAMETERS, LossLaw
from unified_laws.laws.quality import FitQuality, Residual
from unified_laws.laws.replicates import Replicates
from unified_laws.laws.summary import summarize
from unified_laws.laws.table import LeftOut

T = TypeVar("T")


@dataclass(frozen=True)
class ParameterInterval:
    """A parameter of the law with its 95 % interval; NaN or infinite where there is none."""

    name: str
    value: float
    low: float
    high: float
    stderr: float


@dataclass(frozen=True)
class Capacity:
    """How many parameters of a dense model one parameter of a compressed model is worth.

    Attributes:
        format: label.
        rho: capacity; 1 for the dense format by definition, above 1 possible for others.
        low: lower end of the 95 % interval.
        high: upper end.
        stderr: standard error of rho.
        runs: number of runs of the format.
    """

    format: str
    rho: float
    low: float
    high: float
    stderr: float
    runs: int


@dataclass(frozen=True)
class LawsResult:
    """The law, every format's capacity and the trust one may put in them.

    Attributes:
        law: fitted law.
        law_intervals: of A, B, E, alpha, beta.
        capacities: dense format first, then by falling rho.
        fit: quality of the fit.
        dense: label of the uncompressed format.
        delta: Huber threshold; infinite is least squares.
        num_runs: number of runs fitted.
        bootstrap: number of resamples behind the intervals.
        fixed: parameters held, by name.
        left_out: runs of the file that were not used.
        residuals: one per run, in the table's order.
        covariance: joint, of the law's parameters and every log rho, from curvature; unknown in a
            laws.json of an earlier version.
        objective: huber, least_squares or least_absolute.
        interval: method of the intervals in ``capacities`` and ``law_intervals``.
        intervals: of every parameter by every method; empty in an earlier version's laws.json.
        weights: "val_loss_stderr" if known standard errors weighted the runs.
        components: variance components where a random effect was fitted.
        replicates: noise between seeds of one configuration where any was repeated.
        diagnostics: of runs and drifts; None of a brief fit, and in an earlier version's laws.json.
    """

    law: LossLaw
    law_intervals: tuple[ParameterInterval, ...]
    capacities: tuple[Capacity, ...]
    fit: FitQuality
    dense: str
    delta: float
    num_runs: int
    bootstrap: int
    fixed: tuple[tuple[str, float], ...]
    left_out: tuple[LeftOut, ...]
    residuals: tuple[Residual, ...]
    covariance: ParameterCovariance
    objective: str
    interval: str
    intervals: tuple[MethodInterval, ...]
    weights: str | None
    components: VarianceComponents | None
    replicates: Replicates | None
    diagnostics: Diagnostics | None

    def capacity(self, name: str) -> Capacity:
        """Capacity of one format.

        Raises:
            UsageError: the fit has no such format.
        """
        for entry in self.capacities:
            if entry.format == name:
                return entry
        raise UsageError(
            f"the fit has no format {name!r}; it has "
            f"{', '.join(entry.format for entry in self.capacities)}"
        )

    def to_json(self) -> dict[str, Any]:
        """JSON value; numbers that are not finite become null."""
        content = {
            "law": {name: getattr(self.law, name) for name in PARAMETERS},
            "capacities": [asdict(entry) for entry in self.capacities],
            "fit": asdict(self.fit),
            "law_intervals": [asdict(entry) for entry in self.law_intervals],
            "dense": self.dense,
            "delta": self.delta,
            "num_runs": self.num_runs,
            "bootstrap": self.bootstrap,
            "fixed": dict(self.fixed),
            "left_out": [asdict(entry) for entry in self.left_out],
            "residuals": [asdict(entry) for entry in self.residuals],
            "covariance": self.covariance.to_json(),
            "objective": self.objective,
            "interval": self.interval,
            "intervals": [asdict(entry) for entry in self.intervals],
            "weights": self.weights,
            "components": asdict(self.components) if self.components else None,
            "replicates": asdict(self.replicates) if self.replicates else None,
            "diagnostics": self.diagnostics.to_json() if self.diagnostics else None,
        }
        cleaned: dict[str, Any] = to_json(content)
        return cleaned

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> LawsResult:
        """Inverse of `to_json`; null becomes NaN (infinity for ``delta``).

        Raises:
            UsageError: a key is missing or of the wrong kind.
        """
        try:
            law = content["law"]
            fit = {**content["fit"], **_tuples(content["fit"], "warnings", "at_bound")}
            return cls(
                law=LossLaw(
                    log_A=math.log(law["A"]),
                    log_B=math.log(law["B"]),
                    log_E=math.log(law["E"]) if law["E"] > 0 else -math.inf,
                    alpha=law["alpha"],
                    beta=law["beta"],
                ),
                law_intervals=tuple(
                    ParameterInterval(**nan_for_null(entry)) for entry in content["law_intervals"]
                ),
                capacities=tuple(
                    Capacity(**nan_for_null(entry)) for entry in content["capacities"]
                ),
                fit=FitQuality(**nan_for_null(fit)),
                dense=content["dense"],
                delta=math.inf if content["delta"] is None else content["delta"],
                num_runs=content["num_runs"],
                bootstrap=content["bootstrap"],
                fixed=tuple(content["fixed"].items()),
                left_out=tuple(LeftOut(**entry) for entry in content["left_out"]),
                residuals=tuple(Residual(**nan_for_null(entry)) for entry in content["residuals"]),
                covariance=ParameterCovariance.from_json(
                    content.get("covariance"),
                    [e["format"] for e in content["capacities"] if e["format"] != content["dense"]],
                ),
                objective=content.get("objective", "huber"),
                interval=content.get("interval", "bootstrap"),
                intervals=tuple(
                    MethodInterval(**nan_for_null(entry)) for entry in content.get("intervals", ())
                ),
                weights=content.get("weights"),
                components=_optional(VarianceComponents, content.get("components")),
                replicates=_optional(Replicates, content.get("replicates")),
                diagnostics=(
                    Diagnostics.from_json(content["diagnostics"])
                    if content.get("diagnostics")
                    else None
                ),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise UsageError(
                f"this is not the JSON of a fitted law ({type(error).__name__}: {error}); "
                "write it again with the fit command"
            ) from error

    def interval_of(self, parameter: str, method: str) -> MethodInterval:
        """Interval of A, B, E, alpha, beta or "rho of <format>" by one method.

        Raises:
            UsageError: there is none.
        """
        for entry in self.intervals:
            if (entry.parameter, entry.method) == (parameter, method):
                return entry
        known = sorted({f"{entry.parameter} by {entry.method}" for entry in self.intervals})
        raise UsageError(
            f"the fit has no interval of {parameter!r} by {method!r}; it has {', '.join(known)}"
        )

    def summary(self) -> str:
        """Readable table of the capacities, the law, the noise and the warnings."""
        return summarize(self)


def _optional(kind: type[T], entry: Mapping[str, Any] | None) -> T | None:
    return None if entry is None else kind(**nan_for_null(entry))


def _tuples(entry: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: tuple(entry[name]) for name in names}
