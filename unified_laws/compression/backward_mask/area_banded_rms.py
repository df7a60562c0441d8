"""The backward mask whose band without gradient is a share of what is pruned."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, final

import torch
from torch import Tensor
from torch.special import ndtr, ndtri

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
class AreaBandedRmsMask(BackwardMask):
    """`a-b-rms`: no gradient between T_a and T_k, the upper share a of what is pruned.

    arXiv:2506.01863 App. H.3: T_a = RMS·Φ⁻¹((1-a)·(Φ(T_k/RMS) - 1/2) + 1/2), and |y| < T_a or
    |y| > T_k get a gradient. On N(0,1) pruned to sparsity s that is a fraction 1 - a·s.

    Args:
        a: area of the band over that of [0, T_k], in [0, 1].
        scope: "tensor" or "row": what shares an RMS; that of the sparsifier's threshold.

    Raises:
        UsageError: an argument outside its range, or a sparsifier without such a threshold.

    Note:
        Erratum: a sentence of the paper says "a = 0 turns into fw, a = 1 gives all ones". Its
        formula, its worked example (Φ(T_k) = .8, a = .5, T_a = Φ⁻¹(.65)) and its figure say the
        opposite, as does this mask: a = 0 is all ones, a = 1 is `fw`.

        With the strict inequality of the paper the value at T_k itself would get no gradient; the
        support is taken instead.
    """

    def __init__(self, a: float, scope: Scope) -> None:
        super().__init__()
        self.a = check_fraction("a-b-rms", "a", a)
        self.scope: Literal["tensor", "row"] = check_scope("a-b-rms", scope)

    def check(self, stages: Mapping[str, Stage]) -> None:
        """Refuse a sparsifier without a threshold."""
        check_threshold("a-b-rms", self.scope, stages)

    def mask(self, y: Tensor, support: Tensor | None) -> Tensor | None:
        """False inside the band."""
        if support is None or self.a == 0.0:
            return None  # T_a would be T_k up to rounding
        spread = rms(y, self.scope).double()
        ratio = smallest_kept(y, support, self.scope) / torch.where(spread > 0, spread, 1.0)
        cut: Tensor = spread * ndtri((1.0 - self.a) * (ndtr(ratio) - 0.5) + 0.5)
        return support | (y.float().abs() < cut.float())

    @property
    def is_identity(self) -> bool:
        """Whether all values get a gradient."""
        return self.a == 0.0

    def bind(self, in_features: int) -> AreaBandedRmsMask:  # noqa: ARG002
        """Itself: every width will do."""
        return self

    def extra_repr(self) -> str:
        """The arguments."""
        return f"a={self.a}, scope={self.scope}"
