"""The backward mask that masks nothing."""

from __future__ import annotations

from typing import final

from torch import Tensor

from unified_laws.compression.backward_mask.base import BackwardMask


@final
class FullMask(BackwardMask):
    """All values get their gradient, the pruned ones too (straight-through sparsity)."""

    def mask(self, y: Tensor, support: Tensor | None) -> Tensor | None:  # noqa: ARG002
        """None: all ones."""
        return None

    @property
    def is_identity(self) -> bool:
        """True."""
        return True

    def bind(self, in_features: int) -> FullMask:  # noqa: ARG002
        """Itself: every width will do."""
        return self
