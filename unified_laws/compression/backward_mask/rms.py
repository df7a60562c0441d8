"""The backward mask that is cut at a quantile of the RMS."""

from __future__ import annotations

from typing import Literal, final

from scipy.special import ndtri
from torch import Tensor

from unified_laws.compression.backward_mask.base import BackwardMask
from unified_laws.compression.backward_mask.threshold import (
    Scope,
    check_fraction,
    check_scope,
    rms,
)


@final
class RmsMask(BackwardMask):
    """`rms`: the gradient passes where |y| > T_p = RMS·Φ⁻¹(1/2 + p) (arXiv:2506.01863 App. H.3).

    Independent of what the forward pass keeps. On N(0,1) a fraction 1 - 2p gets a gradient.

    Args:
        p: probability between the median and T_p, in [0, 1/2).
        scope: what shares an RMS: "tensor" or "row".

    Raises:
        UsageError: an argument outside its range.
    """

    def __init__(self, p: float, scope: Scope) -> None:
        super().__init__()
        self.p = check_fraction("rms", "p", p, below=0.5)
        self.scope: Literal["tensor", "row"] = check_scope("rms", scope)
        self.quantile = float(ndtri(0.5 + self.p))

    def mask(self, y: Tensor, support: Tensor | None) -> Tensor | None:  # noqa: ARG002
        """True beyond T_p."""
        return y.float().abs() > self.quantile * rms(y, self.scope)

    @property
    def is_identity(self) -> bool:
        """False."""
        return False

    def bind(self, in_features: int) -> RmsMask:  # noqa: ARG002
        """Itself: every width will do."""
        return self

    def extra_repr(self) -> str:
        """The arguments."""
        return f"p={self.p}, scope={self.scope}"
