"""The backward mask with a band without gradient between two thresholds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, final

import torch
from scipy.special import ndtri
from torch import Tensor

from unified_laws.compression.backward_mask.base import BackwardMask
from unified_laws.compression.backward_mask.threshold import (
    Scope,
    check_fraction,
    check_scope,
    check_threshold,
    rms,
    smallest_kept,
)
from unified_laws.compression.stage import Stage


@final
class BandedRmsMask(BackwardMask):
    """`b-rms`: no gradient between T_p = RMS·Φ⁻¹(1/2 + p) and T_k (arXiv:2506.01863 App. H.3).

    T_k is the smallest kept magnitude; |y| < min(T_p, T_k) and |y| > max(T_p, T_k) get a gradient.
    On N(0,1) pruned to sparsity s that is a fraction 1 - |2p - s|; p = 0 is `fw`, p = s/2 is all
    ones, and with p > s/2 some kept values get none.

    Args:
        p: probability between the median and T_p, in [0, 1/2).
        scope: "tensor" or "row": what shares an RMS; that of the sparsifier's threshold.

    Raises:
        UsageError: an argument outside its range, or a sparsifier without such a threshold.

    Note:
        With the strict inequality of the paper the value at T_k itself would get no gradient. As
        long as T_p <= T_k the support is taken above the band, so that p = 0 is `fw` exactly.
    """

    def __init__(self, p: float, scope: Scope) -> None:
        super().__init__()
        self.p = check_fraction("b-rms", "p", p, below=0.5)
        self.scope: Literal["tensor", "row"] = check_scope("b-rms", scope)
        self.quantile = float(ndtri(0.5 + self.p))

    def check(self, stages: Mapping[str, Stage]) -> None:
        """Refuse a sparsifier without a threshold."""
        check_threshold("b-rms", self.scope, stages)

    def mask(self, y: Tensor, support: Tensor | None) -> Tensor | None:
        """False inside the band."""
        if support is None:
            return None
        magnitude = y.float().abs()
        kept, cut = smallest_kept(y, support, self.scope), self.quantile * rms(y, self.scope)
        above = torch.where(cut <= kept, support, magnitude > cut)
        return above | (magnitude < torch.minimum(cut, kept))

    @property
    def is_identity(self) -> bool:
        """False."""
        return False

    def bind(self, in_features: int) -> BandedRmsMask:  # noqa: ARG002
        """Itself: every width will do."""
        return self

    def extra_repr(self) -> str:
        """The arguments."""
        return f"p={self.p}, scope={self.scope}"
