"""Any choice by the values, with a mask that outlives a step."""

from __future__ import annotations

from typing import Literal, final

import torch
from torch import Tensor

from unified_laws.compression.gaussian import Array
from unified_laws.compression.pruning_schedule import check_interval
from unified_laws.compression.sparsifier.base import Sparsifier
from unified_laws.compression.sparsifier.held import HeldSparsifier
from unified_laws.errors import UsageError


@final
class Refreshed(HeldSparsifier):
    """The mask of another sparsifier, N:M say, taken anew every `refresh` steps and held between.

    With refresh = 1 it is the other sparsifier, to the bit.

    Args:
        base: chooses the values to keep, from the values alone.
        refresh: steps between masks; the first is taken at step 0.

    Raises:
        UsageError: the base keeps everything or holds a mask itself, or `refresh` is no positive
            whole number.
    """

    def __init__(self, base: Sparsifier, refresh: int) -> None:
        super().__init__()
        if not isinstance(base, Sparsifier) or isinstance(base, HeldSparsifier) or base.is_identity:
            raise UsageError(
                f"refreshed base: got {type(base).__name__}, allowed are sparsifiers that choose "
                "by the values of a step alone; take semi_structured, paired_semi_structured or "
                "magnitude"
            )
        self.base = base
        self.refresh = check_interval("refreshed refresh", refresh)

    def final_support(self, y: Tensor) -> Tensor:
        """The mask of the base for these values."""
        found = self.base.support(y)
        return torch.ones_like(y, dtype=torch.bool) if found is None else found

    def before_forward(self, y: Tensor, *, step: int, steps: int) -> None:  # noqa: ARG002
        """Take a new mask every `refresh` steps."""
        if self.mask is not None and step % self.refresh == 0:
            self.mask.copy_(self.final_support(y))

    @property
    def is_identity(self) -> bool:
        """False."""
        return False

    @property
    def kept_fraction(self) -> float:
        """That of the base."""
        return self.base.kept_fraction

    @property
    def mask_entropy_bits(self) -> float:
        """That of the base."""
        return self.base.mask_entropy_bits

    def keep_probability(self, magnitude: Array) -> Array | None:
        """That of the base: the mask is fresh."""
        return self.base.keep_probability(magnitude)

    @property
    def by_rank(self) -> bool:
        """That of the base."""
        return self.base.by_rank

    @property
    def breakpoints(self) -> tuple[float, ...]:
        """Those of the base."""
        return self.base.breakpoints

    @property
    def threshold_scope(self) -> Literal["tensor", "row"] | None:
        """That of the base; None for a mask that may be older than the values."""
        return self.base.threshold_scope if self.refresh == 1 else None

    def bind(self, in_features: int) -> Refreshed:
        """The same around a base for rows of `in_features` values.

        Raises:
            UsageError: the base cannot work at this width.
        """
        bound = self.base.bind(in_features)
        assert isinstance(bound, Sparsifier)
        return Refreshed(bound, self.refresh)

    def extra_repr(self) -> str:
        """The interval."""
        return f"refresh={self.refresh}"
