"""No quantization."""

from __future__ import annotations

from typing import final

from torch import Tensor

from unified_laws.compression.gaussian import Array, Spread
from unified_laws.compression.projection import Projection
from unified_laws.compression.quantizer.base import Quantizer

DENSE_BITS = 16.0  # of a value that is not quantized: bf16


@final
class IdentityQuantizer(Quantizer):
    """Kept values stay as they are; storage is counted at 16 bits (bf16)."""

    def project(self, y: Tensor, support: Tensor | None) -> Projection:
        """`y` on its support, without a grid."""
        value = y if support is None else y * support
        return Projection(value=value, limit=None, reach=None)

    @property
    def has_levels(self) -> bool:
        """False: there is no grid."""
        return False

    @property
    def is_identity(self) -> bool:
        """True."""
        return True

    @property
    def bits(self) -> float:
        """16."""
        return DENSE_BITS

    def scale_bits(self, in_features: int) -> float:  # noqa: ARG002
        """0: there are no scales."""
        return 0.0

    def gaussian_values(self, y: Array, spread: Spread) -> Array | None:  # noqa: ARG002
        """`y` itself."""
        return y

    def gaussian_edges(self, spread: Spread) -> tuple[float, ...] | None:  # noqa: ARG002
        """None of them: the identity is smooth."""
        return ()

    def bind(self, in_features: int) -> IdentityQuantizer:  # noqa: ARG002
        """Itself: every width will do."""
        return self
