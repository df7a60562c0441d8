"""The loss of a run that was not trained, with the interval it will fall in."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from unified_laws.errors import UsageError
from unified_laws.laws.capacity_source import CapacitySource
from unified_laws.laws.information import Information
from unified_laws.laws.result import LawsResult

# A warning of the fit that concerns what is predicted from it.
CONCERNS = ("not identified", "told apart", "not converged", "bound", "cannot be identified")


@dataclass(frozen=True)
class Prediction:
    """Loss of one run by the law.

    Attributes:
        format: label.
        num_params: N, non-embedding parameters.
        num_tokens: D, tokens.
        val_loss: predicted loss, nats per token.
        low: lower end of the 95 % interval of the loss that a run will have; NaN if unknown.
        high: upper end.
        stderr_log: standard error of log loss, of law and capacity together.
        noise_log: standard deviation of the log loss of a run about the law.
        degrees_of_freedom: of the fit behind both.
        rho: capacity of the format.
        rho_low: lower end of the 95 % interval of rho.
        rho_high: upper end.
        source: where rho comes from: measured, factors or gmse.
        note: the same in words.
        warnings: what cannot be trusted.
    """

    format: str
    num_params: float
    num_tokens: float
    val_loss: float
    low: float
    high: float
    stderr_log: float
    noise_log: float
    degrees_of_freedom: int
    rho: float
    rho_low: float
    rho_high: float
    source: str
    note: str
    warnings: tuple[str, ...]

    def summary(self) -> str:
        """One line for people, and a line per warning."""
        lines = [
            f"{self.format} N={self.num_params:g} D={self.num_tokens:g}: val_loss "
            f"{self.val_loss:.4f}{_interval(self.low, self.high, 4)}, rho {self.rho:.3f}"
            f"{_interval(self.rho_low, self.rho_high, 3)} ({self.source}: {self.note})"
        ]
        return "\n".join([*lines, *(f"warning: {text}" for text in self.warnings)])


def _interval(low: float, high: float, digits: int) -> str:
    if not (math.isfinite(low) and math.isfinite(high)):
        return " (no interval)"
    return f" [{low:.{digits}f}, {high:.{digits}f}]"


def predict_loss(
    laws: LawsResult,
    information: Information,
    capacity: CapacitySource,
    *,
    num_params: float,
    num_tokens: float,
) -> Prediction:
    """The law at (N, D, rho), delta method in log loss.

    The variance is that of the law's five parameters and of rho with all their correlations, of the
    source of rho, and of the run itself.

    Args:
        laws: the fit.
        information: of the fit.
        capacity: of the format.
        num_params: N.
        num_tokens: D.

    Raises:
        UsageError: N or D is no finite number above zero, or the law gives no finite loss.
    """
    check_counts(num_params=num_params, num_tokens=num_tokens)
    loss = float(laws.law.predict(num_params, num_tokens, capacity.rho))
    if not math.isfinite(loss):
        raise UsageError(f"the law gives {loss} at N={num_params:g}, D={num_tokens:g}")
    direction = capacity.direction(information)
    gradient = information.gradient(num_params, num_tokens, math.log(capacity.rho), direction)[0]
    slope = float(laws.law.gradient(num_params, num_tokens, capacity.rho)[5]) / loss
    variance = float(information.variance_of(gradient / loss)[0])
    variance += (slope * capacity.stderr_log) ** 2
    noise = math.sqrt(information.variance)
    quantile = information.quantile
    low, high = log_interval(loss, quantile * math.sqrt(variance + noise**2))
    rho_low, rho_high = log_interval(
        capacity.rho, quantile * math.sqrt(capacity.variance_log(information))
    )
    return Prediction(
        format=capacity.format,
        num_params=float(num_params),
        num_tokens=float(num_tokens),
        val_loss=loss,
        low=low,
        high=high,
        stderr_log=math.sqrt(variance),
        noise_log=noise,
        degrees_of_freedom=information.degrees_of_freedom,
        rho=capacity.rho,
        rho_low=rho_low,
        rho_high=rho_high,
        source=capacity.source,
        note=capacity.note,
        warnings=(
            *extrapolation(laws, num_params=num_params, num_tokens=num_tokens),
            *(text for text in laws.fit.warnings if any(word in text for word in CONCERNS)),
            *_no_interval(low, information),
        ),
    )


def log_interval(value: float, reach: float) -> tuple[float, float]:
    """``value`` divided and multiplied by ``exp(reach)``; NaN where the reach is not finite."""
    if not math.isfinite(reach) or reach > 700.0:
        return math.nan, math.nan
    return value * math.exp(-reach), value * math.exp(reach)


def check_counts(**counts: float) -> None:
    """Refuse counts that are no finite numbers above zero.

    Raises:
        UsageError: one of them is not.
    """
    for name, value in counts.items():
        if not (math.isfinite(value) and value > 0):
            raise UsageError(f"{name} is {value!r}; allowed is a finite number above zero")


def extrapolation(laws: LawsResult, *, num_params: float, num_tokens: float) -> tuple[str, ...]:
    """A sentence for N and for D where they lie outside those of the runs."""
    found = []
    for letter, value, fitted in (
        ("N", num_params, np.array([run.num_params for run in laws.residuals])),
        ("D", num_tokens, np.array([run.num_tokens for run in laws.residuals])),
    ):
        low, high = float(fitted.min()), float(fitted.max())
        if value > high * (1 + 1e-9):
            found.append(
                f"{letter} = {value:.3g} is {value / high:.3g} times the largest fitted "
                f"({high:.3g}): the law extrapolates"
            )
        elif value < low * (1 - 1e-9):
            found.append(
                f"{letter} = {value:.3g} is {low / value:.3g} times below the smallest fitted "
                f"({low:.3g}): the law extrapolates"
            )
    return tuple(found)


def _no_interval(low: float, information: Information) -> tuple[str, ...]:
    if math.isfinite(low):
        return ()
    if information.degrees_of_freedom < 1:
        return ("as many parameters as runs: no interval; add runs",)
    return ("the runs do not determine this loss: no interval; add runs",)
