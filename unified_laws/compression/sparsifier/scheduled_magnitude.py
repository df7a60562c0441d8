"""Magnitude pruning with a growing sparsity, or with a mask that outlives a step."""

from __future__ import annotations

from typing import Literal, final

import torch
from torch import Tensor

from unified_laws.compression.gaussian import Array
from unified_laws.compression.pruning_schedule import CubicSchedule, check_interval
from unified_laws.compression.sparsifier.held import HeldSparsifier
from unified_laws.compression.sparsifier.magnitude import Magnitude


@final
class ScheduledMagnitude(HeldSparsifier):
    """Top-k by magnitude at the sparsity of a schedule, the mask kept for `refresh` steps.

    With a constant sparsity and refresh = 1 it is `Magnitude`, to the bit.

    Args:
        sparsity: fraction pruned at the end, in (0, 1).
        scope: "tensor" or "row", as for `Magnitude`.
        schedule: the sparsity of each step.
        refresh: steps between masks; the first is taken at step 0.

    Raises:
        UsageError: an argument outside its range.
    """

    def __init__(
        self,
        sparsity: float,
        scope: Literal["tensor", "row"],
        schedule: CubicSchedule,
        refresh: int,
    ) -> None:
        super().__init__()
        self.final = Magnitude(sparsity=sparsity, scope=scope)
        self.schedule = schedule
        self.refresh = check_interval("scheduled magnitude refresh", refresh)

    def final_support(self, y: Tensor) -> Tensor:
        """The largest magnitudes, at the sparsity of the end."""
        return self._at(self.final.sparsity, y)

    def _at(self, sparsity: float, y: Tensor) -> Tensor:
        if sparsity == 0.0:
            return torch.ones_like(y, dtype=torch.bool)
        found = Magnitude(sparsity=sparsity, scope=self.final.scope).support(y)
        assert found is not None  # it always prunes
        return found

    def before_forward(self, y: Tensor, *, step: int, steps: int) -> None:
        """Take a new mask every `refresh` steps."""
        if self.mask is not None and step % self.refresh == 0:
            sparsity = self.schedule.sparsity(self.final.sparsity, step=step, steps=steps)
            self.mask.copy_(self._at(sparsity, y))

    @property
    def is_identity(self) -> bool:
        """False."""
        return False

    @property
    def kept_fraction(self) -> float:
        """1 - sparsity, at the end."""
        return self.final.kept_fraction

    @property
    def mask_entropy_bits(self) -> float:
        """H2(sparsity), at the end."""
        return self.final.mask_entropy_bits

    def keep_probability(self, magnitude: Array) -> Array | None:
        """That of `Magnitude`, at the end."""
        return self.final.keep_probability(magnitude)

    @property
    def by_rank(self) -> bool:
        """True."""
        return self.final.by_rank

    @property
    def breakpoints(self) -> tuple[float, ...]:
        """The threshold, at the end."""
        return self.final.breakpoints

    @property
    def threshold_scope(self) -> Literal["tensor", "row"] | None:
        """Its scope; None for a mask that may be older than the values."""
        return self.final.scope if self.refresh == 1 else None

    def bind(self, in_features: int) -> ScheduledMagnitude:  # noqa: ARG002
        """Itself: every width will do."""
        return self

    def extra_repr(self) -> str:
        """The arguments."""
        return f"schedule={self.schedule}, refresh={self.refresh}"
