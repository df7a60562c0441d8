"""N:M sparsity."""

from __future__ import annotations

from math import comb, log2
from typing import final

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import bdtr, ndtr
from torch import Tensor

from unified_laws.compression.sparsifier.base import Sparsifier
from unified_laws.errors import UsageError


@final
class SemiStructured(Sparsifier):
    """Keeps exactly `kept` of every `group` consecutive values of the last dimension, by magnitude.

    Of equal magnitudes the earlier one is kept.

    Args:
        kept: N of N:M.
        group: M of N:M, a divisor of in_features.

    Raises:
        UsageError: not 0 < kept < group, or `group` does not divide in_features.
    """

    def __init__(self, kept: int, group: int) -> None:
        super().__init__()
        if not (isinstance(kept, int) and isinstance(group, int) and 0 < kept < group):
            raise UsageError(
                f"semi-structured sparsity: got {kept!r}:{group!r}, allowed are whole numbers "
                "with 0 < kept < group; for example kept 2, group 4"
            )
        self.kept = kept
        self.group = group

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

    @property
    def is_identity(self) -> bool:
        """False."""
        return False

    @property
    def kept_fraction(self) -> float:
        """N/M."""
        return self.kept / self.group

    @property
    def mask_entropy_bits(self) -> float:
        """log2(M choose N)/M."""
        return log2(comb(self.group, self.kept)) / self.group

    def keep_probability(self, magnitude: NDArray[np.float64]) -> NDArray[np.float64] | None:
        """P(fewer than N of the M-1 neighbours are larger): a binomial tail."""
        larger = 2.0 * ndtr(-np.asarray(magnitude, dtype=np.float64))
        return np.asarray(bdtr(float(self.kept - 1), self.group - 1, larger), dtype=np.float64)

    @property
    def by_rank(self) -> bool:
        """True."""
        return True

    @property
    def breakpoints(self) -> tuple[float, ...]:
        """None: the probability is smooth."""
        return ()

    def bind(self, in_features: int) -> SemiStructured:
        """Itself, if the groups fit."""
        if in_features % self.group != 0:
            raise UsageError(
                f"semi-structured sparsity {self.kept}:{self.group}: got in_features "
                f"{in_features}, allowed are multiples of {self.group}; change the width or the "
                "group"
            )
        return self

    def extra_repr(self) -> str:
        """The arguments."""
        return f"kept={self.kept}, group={self.group}"
