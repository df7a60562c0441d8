"""Sizes and token counts of equal loss: what a compressed model is worth in dense ones."""

from __future__ import annotations

import math
from dataclasses import dataclass

from unified_laws.laws.capacity_source import CapacitySource
from unified_laws.laws.information import Information
from unified_laws.laws.loss_law import Floats, LossLaw
from unified_laws.laws.prediction import check_counts, extrapolation, log_interval
from unified_laws.laws.result import LawsResult


@dataclass(frozen=True)
class Count:
    """A number of parameters or tokens.

    Attributes:
        value: the number; NaN where no number will do.
        low: lower end of the 95 % interval; NaN if unknown.
        high: upper end.
    """

    value: float
    low: float
    high: float

    def text(self) -> str:
        """``1.2e+09 [1.1e+09, 1.3e+09]``."""
        if not math.isfinite(self.value):
            return "none: no number will do"
        if not math.isfinite(self.low):
            return f"{self.value:.4g} (no interval)"
        return f"{self.value:.4g} [{self.low:.4g}, {self.high:.4g}]"


@dataclass(frozen=True)
class IsoLoss:
    """One compressed model and the dense models of equal loss.

    Attributes:
        format: label.
        dense: label of the dense format.
        num_params: N.
        num_tokens: D.
        val_loss: loss of N parameters of the format after D tokens, nats per token.
        rho: capacity.
        source: where rho comes from.
        dense_params: dense parameters with that loss after D tokens, N rho.
        compressed_params: parameters of the format with the loss of N dense ones after D tokens,
            N / rho.
        dense_tokens: tokens after which N dense parameters have that loss.
        compressed_tokens: tokens after which N parameters of the format have the loss of N dense
            ones after D tokens.
        warnings: what cannot be trusted.
    """

    format: str
    dense: str
    num_params: float
    num_tokens: float
    val_loss: float
    rho: float
    source: str
    dense_params: Count
    compressed_params: Count
    dense_tokens: Count
    compressed_tokens: Count
    warnings: tuple[str, ...]

    def summary(self) -> str:
        """The four questions with their answers."""
        N, D = f"{self.num_params:.4g}", f"{self.num_tokens:.4g}"
        lines = [
            f"{self.format} N={N} D={D}: val_loss {self.val_loss:.4f}, rho {self.rho:.3f} "
            f"({self.source})",
            f"  {self.dense} of the same loss, D={D}:  N = {self.dense_params.text()}",
            f"  {self.dense} of the same loss, N={N}:  D = {self.dense_tokens.text()}",
            f"  {self.format} as good as {self.dense} N={N} D={D}, at D={D}:  "
            f"N = {self.compressed_params.text()}",
            f"  {self.format} as good as {self.dense} N={N} D={D}, at N={N}:  "
            f"D = {self.compressed_tokens.text()}",
        ]
        return "\n".join([*lines, *(f"warning: {text}" for text in self.warnings)])


def params_of_loss(law: LossLaw, loss: float, num_tokens: float, rho: float = 1.0) -> float:
    """N whose loss after ``num_tokens`` at capacity ``rho`` is ``loss``; NaN if there is none."""
    return float(law.invert(1.0, num_tokens, loss)) / rho


def tokens_of_loss(law: LossLaw, loss: float, num_params: float, rho: float = 1.0) -> float:
    """D after which ``num_params`` at capacity ``rho`` have ``loss``; NaN if no D will do."""
    left = loss - law.E - math.exp(law.log_A - law.alpha * math.log(num_params * rho))
    if left <= 0:
        return math.nan
    return math.exp(min((law.log_B - math.log(left)) / law.beta, 700.0))


def iso_loss(
    laws: LawsResult,
    information: Information,
    capacity: CapacitySource,
    *,
    num_params: float,
    num_tokens: float,
) -> IsoLoss:
    """Answer what dense model a compressed one equals, and the reverse.

    Intervals by the delta method in the log of each count: for a count x with L1(x) = L2,
    ``d log x = (dL2 - dL1) / (dL1 / d log x)`` along every parameter of the fit.

    Raises:
        UsageError: N or D is no finite number above zero.
    """
    check_counts(num_params=num_params, num_tokens=num_tokens)
    law, rho, N, D = laws.law, capacity.rho, float(num_params), float(num_tokens)
    loss, goal = float(law.predict(N, D, rho)), float(law.predict(N, D))

    def side(at: float, compressed: bool) -> tuple[Floats, float]:
        """Gradient of the loss of N parameters after ``at`` tokens, and its slope in log rho."""
        own = capacity.direction(information) * compressed
        log_rho = math.log(rho) if compressed else 0.0
        slope = float(law.gradient(N, at, math.exp(log_rho))[5]) if compressed else 0.0
        return information.gradient(N, at, log_rho, own)[0], slope

    def tokens(value: float, *, compressed: bool) -> Count:
        """``value`` tokens of the one kind that equal D tokens of the other."""
        if not math.isfinite(value):
            return Count(math.nan, math.nan, math.nan)
        (here, here_slope), (there, there_slope) = side(value, compressed), side(D, not compressed)
        steep = -law.beta * math.exp(law.log_B - law.beta * math.log(value))
        variance = float(information.variance_of((there - here) / steep)[0])
        variance += ((there_slope - here_slope) / steep * capacity.stderr_log) ** 2
        return Count(value, *log_interval(value, information.quantile * math.sqrt(variance)))

    reach = information.quantile * math.sqrt(capacity.variance_log(information))
    needed = tokens_of_loss(law, goal, N, rho)
    warnings = list(extrapolation(laws, num_params=N, num_tokens=D))
    warnings += extrapolation(laws, num_params=N * rho, num_tokens=D)
    if not math.isfinite(needed):
        warnings.append(
            f"no number of tokens brings {N:.3g} parameters of {capacity.format} to the loss of "
            f"{N:.3g} dense ones after {D:.3g} tokens"
        )
    elif needed != D:
        warnings += extrapolation(laws, num_params=N, num_tokens=needed)
    warnings += [text for text in laws.fit.warnings if "not identified" in text]
    return IsoLoss(
        format=capacity.format,
        dense=laws.dense,
        num_params=N,
        num_tokens=D,
        val_loss=loss,
        rho=rho,
        source=capacity.source,
        dense_params=Count(N * rho, *log_interval(N * rho, reach)),
        compressed_params=Count(N / rho, *log_interval(N / rho, reach)),
        dense_tokens=tokens(tokens_of_loss(law, loss, N), compressed=False),
        compressed_tokens=tokens(needed, compressed=True),
        warnings=tuple(dict.fromkeys(warnings)),
    )
