"""How sparsity grows over training: pure functions of the step."""

from __future__ import annotations

from dataclasses import dataclass
from math import floor

from unified_laws.errors import UsageError


@dataclass(frozen=True)
class CubicSchedule:
    """GMP (Zhu & Gupta, arXiv:1710.01878 eq. 1): s_t = s_f + (s_i - s_f)·(1 - (t - t0)/(nΔt))³.

    Args:
        initial: s_i, the sparsity up to t0, in [0, 1).
        start: t0 as a share of training.
        end: t0 + nΔt as a share of training; from here on the sparsity is s_f. Equal to `start`,
            the sparsity jumps.
        every: Δt, steps between changes of the sparsity.

    Raises:
        UsageError: an argument outside its range.
    """

    initial: float
    start: float
    end: float
    every: int

    def __post_init__(self) -> None:
        if not 0.0 <= self.initial < 1.0:
            raise UsageError(
                f"pruning schedule initial: got {self.initial:g}, allowed are fractions from 0 to "
                "below 1; 0 starts dense"
            )
        if not 0.0 <= self.start <= self.end <= 1.0:
            raise UsageError(
                f"pruning schedule start and end: got {self.start:g} and {self.end:g}, allowed are "
                "shares of training with 0 <= start <= end <= 1; for example 0 and 0.75"
            )
        check_interval("pruning schedule every", self.every)

    def sparsity(self, final: float, *, step: int, steps: int) -> float:
        """The sparsity at a step of a run that ends at sparsity `final`."""
        first, last = self.start * steps, self.end * steps
        if step >= last:
            return final
        if step < first:
            return self.initial
        done = floor((step - first) / self.every) * self.every / (last - first)
        return final + (self.initial - final) * (1.0 - done) ** 3


def check_interval(name: str, steps: int) -> int:
    """`steps` itself.

    Raises:
        UsageError: it is not a positive whole number.
    """
    if not isinstance(steps, int) or isinstance(steps, bool) or steps < 1:
        raise UsageError(
            f"{name}: got {steps!r}, allowed are whole numbers of steps from 1; 1 is every step"
        )
    return steps
