"""N:M sparsity by tuples of neighbours."""

from __future__ import annotations

from math import comb, log2
from typing import final

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from unified_laws.compression.sparsifier.base import Sparsifier
from unified_laws.compression.sparsifier.semi_structured import SemiStructured
from unified_laws.errors import UsageError


@final
class PairedSemiStructured(Sparsifier):
    """Keeps `kept` of every `group` consecutive values as whole pairs, those of largest 2-norm.

    QuEST (arXiv:2502.05003) trains INT4 with 4:8 so: the 2 largest of the 4 pairs of neighbours.
    Of equal norms the earlier pair is kept.

    Args:
        kept: N of N:M, even.
        group: M of N:M, even, a divisor of in_features.

    Raises:
        UsageError: not 0 < kept < group, an odd number, or `group` does not divide in_features.

    Note:
        QuEST's code quantizes first, with the RMS of the unpruned row, and prunes then; here, as
        in arXiv:2506.01863, pruning comes first.
    """

    def __init__(self, kept: int, group: int) -> None:
        super().__init__()
        whole = isinstance(kept, int) and isinstance(group, int)
        if not (whole and 0 < kept < group and kept % 2 == group % 2 == 0):
            raise UsageError(
                f"paired semi-structured sparsity: got {kept!r}:{group!r}, allowed are even "
                "numbers with 0 < kept < group; for example kept 4, group 8"
            )
        self.kept = kept
        self.group = group
        self.pairs = SemiStructured(kept=kept // 2, group=group // 2)

    def support(self, y: Tensor) -> Tensor | None:
        """True for both values of the largest pairs of each group."""
        self.bind(y.shape[-1])
        power = y.float().square().reshape(*y.shape[:-1], -1, 2).sum(-1)
        chosen = self.pairs.support(power)
        return None if chosen is None else chosen.repeat_interleave(2, dim=-1)

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
        """log2(M/2 choose N/2)/M."""
        return log2(comb(self.group // 2, self.kept // 2)) / self.group

    def keep_probability(self, magnitude: NDArray[np.float64]) -> NDArray[np.float64] | None:
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

    @property
    def breakpoints(self) -> tuple[float, ...]:
        """None: the probability is smooth."""
        return ()

    def bind(self, in_features: int) -> PairedSemiStructured:
        """Itself, if the groups fit."""
        if in_features % self.group != 0:
            raise UsageError(
                f"paired semi-structured sparsity {self.kept}:{self.group}: got in_features "
                f"{in_features}, allowed are multiples of {self.group}; change the width or the "
                "group"
            )
        return self

    def extra_repr(self) -> str:
        """The arguments."""
        return f"kept={self.kept}, group={self.group}"
