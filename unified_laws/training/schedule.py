"""Learning-rate schedules: pure functions of the step."""

from __future__ import annotations

import math
from dataclasses import dataclass

from unified_laws.errors import UsageError


@dataclass(frozen=True)
class OneCycleCosine:
    """Cosine-shaped warm-up, then cosine decay (QuEST: OneCycleLR with anneal_strategy="cos").

    Args:
        warmup_share: share of the steps that warm up (0.1 in arXiv:2506.01863 §4).
        start_factor: first learning rate over the highest (QuEST: 1/100).
        final_factor: last learning rate over the highest (QuEST: 1/10).

    Raises:
        UsageError: warmup_share is outside [0, 1) or a factor outside [0, 1].
    """

    warmup_share: float
    start_factor: float
    final_factor: float

    def __post_init__(self) -> None:
        if not 0 <= self.warmup_share < 1:
            raise UsageError(f"schedule.warmup_share is {self.warmup_share}; allowed is [0, 1)")
        for name in ("start_factor", "final_factor"):
            if not 0 <= getattr(self, name) <= 1:
                raise UsageError(f"schedule.{name} is {getattr(self, name)}; allowed is [0, 1]")

    def __call__(self, step: int, steps: int) -> float:
        """Learning rate at ``step`` of ``steps`` as a multiple of the highest.

        The peak is at step warmup_share * steps - 1 and the end at steps - 1, as in PyTorch's
        OneCycleLR (checked against it in the tests).
        """
        peak = self.warmup_share * steps - 1
        last = steps - 1
        if step <= peak:
            return self._between(self.start_factor, 1.0, step / peak if peak > 0 else 1.0)
        start = max(peak, 0.0)
        share = (step - start) / (last - start) if last > start else 1.0
        return self._between(1.0, self.final_factor, min(share, 1.0))

    @staticmethod
    def _between(first: float, second: float, share: float) -> float:
        return second + (first - second) * (1 + math.cos(math.pi * share)) / 2
