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
        # One row per place in the group: comparing long rows is ten times faster than short ones.
        magnitude = y.abs().reshape(-1, self.group).T.contiguous()
        larger = torch.zeros_like(magnitude, dtype=torch.int16)
        for place, own in enumerate(magnitude):
            larger[:place] += own > magnitude[:place]
            larger[place + 1 :] += own >= magnitude[place + 1 :]
        return (larger < self.kept).T.reshape(y.shape)

    def keep_probability(self, magnitude: Array) -> Array | None:
        """P(fewer than N of the M-1 neighbours are larger): a binomial tail."""
        larger = 2.0 * ndtr(-np.asarray(magnitude, dtype=np.float64))
        return np.asarray(bdtr(float(self.kept - 1), self.group - 1, larger), dtype=np.float64)

    @property
    def by_rank(self) -> bool:
        """True."""
        return True
