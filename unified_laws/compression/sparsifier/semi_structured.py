"""N:M sparsity."""

from __future__ import annotations

from typing import final

import numpy as np
import torch
from scipy.special import bdtr, ndtr
from torch import Tensor

from unified_laws.compression.gaussian import Array
from unified_laws.compression.sparsifier.grouped import GroupSparsifier


@final
class SemiStructured(GroupSparsifier):
    """Keeps exactly `kept` of every `group` consecutive values of the last dimension, by magnitude.

    Of equal magnitudes the earlier one is kept.

    Args:
        kept: N of N:M.
        group: M of N:M, a divisor of in_features.

    Raises:
        UsageError: not 0 < kept < group.
    """

    def __init__(self, kept: int, group: int) -> None:
        super().__init__("semi-structured", kept, group, tuple_size=1)

    def support(self, y: Tensor) -> Tensor | None:
        """True for the `kept` largest magnitudes of each group."""
        self.bind(y.shape[-1])
        magnitude = y.abs().reshape(-1, y.shape[-1])
        wins = torch.zeros(magnitude.shape, dtype=torch.uint8, device=y.device)
        place = torch.arange(y.shape[-1], device=y.device) % self.group
        # Neighbours at every distance, whole rows at once: short rows, or one row per place of the
        # group, which have to be transposed, take twice to four times as long.
        for distance in range(1, self.group):
            within = place[distance:] >= distance
            earlier = magnitude[:, :-distance] >= magnitude[:, distance:]
            wins[:, :-distance] += (earlier & within).view(torch.uint8)
            wins[:, distance:] += (earlier < within).view(torch.uint8)  # not earlier, and within
        return (wins >= self.group - self.kept).view(y.shape)

    def keep_probability(self, magnitude: Array) -> Array | None:
        """P(fewer than N of the M-1 neighbours are larger): a binomial tail."""
        larger = 2.0 * ndtr(-np.asarray(magnitude, dtype=np.float64))
        return np.asarray(bdtr(float(self.kept - 1), self.group - 1, larger), dtype=np.float64)

    @property
    def by_rank(self) -> bool:
        """True."""
        return True
