"""N:M sparsity by tuples of neighbours."""

from __future__ import annotations

from math import comb
from typing import final

import numpy as np
from torch import Tensor

from unified_laws.compression.gaussian import Array
from unified_laws.compression.sparsifier.grouped import GroupSparsifier
from unified_laws.compression.sparsifier.semi_structured import SemiStructured


@final
class PairedSemiStructured(GroupSparsifier):
    """Keeps `kept` of every `group` consecutive values as whole pairs, those of largest 2-norm.

    QuEST (arXiv:2502.05003) trains INT4 with 4:8 so: the 2 largest of the 4 pairs of neighbours.
    Of equal norms the earlier pair is kept.

    Args:
        kept: N of N:M, even.
        group: M of N:M, even, a divisor of in_features.

    Raises:
        UsageError: not 0 < kept < group, or an odd number.

    Note:
        QuEST's code quantizes first, with the RMS of the unpruned row, and prunes then; here, as
        in arXiv:2506.01863, pruning comes first.
    """

    def __init__(self, kept: int, group: int) -> None:
        super().__init__("paired semi-structured", kept, group, tuple_size=2)
        self.pairs = SemiStructured(kept=kept // 2, group=group // 2)

    def support(self, y: Tensor) -> Tensor | None:
        """True for both values of the largest pairs of each group."""
        self.bind(y.shape[-1])
        power = y.float().square().reshape(*y.shape[:-1], -1, 2).sum(-1)
        chosen = self.pairs.support(power)
        return None if chosen is None else chosen.repeat_interleave(2, dim=-1)

    def keep_probability(self, magnitude: Array) -> Array | None:
        """The mean over the neighbour z of P(fewer than N/2 of the other M/2 - 1 pairs are larger).

        The squared norm of a pair exceeds s with probability q = exp(-s/2), here s = x² + z², and
        the mean of q^j over z ~ N(0,1) is exp(-j·x²/2)/√(1+j).
        """
        others, needed = self.group // 2 - 1, self.kept // 2
        square = np.square(np.asarray(magnitude, dtype=np.float64))
        total = np.zeros_like(square)
        for larger in range(needed):
            for power in range(others - larger + 1):  # q^larger·(1-q)^(others-larger), expanded
                j = larger + power
                count = comb(others, larger) * comb(others - larger, power) * (-1) ** power
                total += count * np.exp(-j * square / 2) / np.sqrt(1.0 + j)
        return total
