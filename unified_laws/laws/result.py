"""What a fit says, and its JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from unified_laws.errors import UsageError
from unified_laws.laws.covariance import ParameterCovariance
from unified_laws.laws.loss_law import PARAMETERS, LossLaw
from unified_laws.laws.quality import FitQuality, Residual
from unified_laws.laws.table import LeftOut


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
        }
        cleaned: dict[str, Any] = _nulls(content)
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
                    ParameterInterval(**_numbers(entry)) for entry in content["law_intervals"]
                ),
                capacities=tuple(Capacity(**_numbers(entry)) for entry in content["capacities"]),
                fit=FitQuality(**_numbers(fit)),
                dense=content["dense"],
                delta=math.inf if content["delta"] is None else content["delta"],
                num_runs=content["num_runs"],
                bootstrap=content["bootstrap"],
                fixed=tuple(content["fixed"].items()),
                left_out=tuple(LeftOut(**entry) for entry in content["left_out"]),
                residuals=tuple(Residual(**_numbers(entry)) for entry in content["residuals"]),
                covariance=ParameterCovariance.from_json(
                    content.get("covariance"),
                    [e["format"] for e in content["capacities"] if e["format"] != content["dense"]],
                ),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise UsageError(
                f"this is not the JSON of a fitted law ({type(error).__name__}: {error}); "
                "write it again with the fit command"
            ) from error

    def summary(self) -> str:
        """Readable table of the capacities, the law and the warnings."""
        width = max(len("format"), *(len(entry.format) for entry in self.capacities))
        lines = [f"{'format':<{width}}  runs     rho   95 % interval    stderr"]
        lines += [
            f"{entry.format:<{width}}  {entry.runs:>4}  {entry.rho:6.3f}  "
            f"[{entry.low:6.3f}, {entry.high:6.3f}]  {entry.stderr:6.3f}"
            for entry in self.capacities
        ]
        lines += ["", "L(N, D) = A (N rho)^-alpha + B D^-beta + E"]
        lines += [
            f"  {entry.name:<5} = {entry.value:<10.4g} [{entry.low:.4g}, {entry.high:.4g}]"
            for entry in self.law_intervals
        ]
        fit = self.fit
        lines += [
            "",
            f"{self.num_runs} runs, rms log residual {fit.rmse_log:.2e}, "
            f"{fit.starts_at_best} of {fit.starts} starts at the best optimum, "
            f"condition {fit.condition:.2g}",
        ]
        lines += [f"left out: {entry.runs} ({entry.reason})" for entry in self.left_out]
        lines += [f"warning: {text}" for text in fit.warnings]
        return "\n".join(lines)


def _nulls(value: Any) -> Any:
    """The same JSON value with non-finite numbers replaced by None and tuples by lists."""
    if isinstance(value, dict):
        return {key: _nulls(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_nulls(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _numbers(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {key: math.nan if item is None else item for key, item in entry.items()}


def _tuples(entry: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: tuple(entry[name]) for name in names}
