"""The backward mask of plain magnitude pruning."""

from __future__ import annotations

from typing import final

from torch import Tensor

from unified_laws.compression.backward_mask.base import BackwardMask


@final
class ForwardMask(BackwardMask):
    """`fw`: pruned values get no gradient (arXiv:2506.01863 App. H.3, the baseline M_BW = M_FW)."""

    def mask(self, y: Tensor, support: Tensor | None) -> Tensor | None:  # noqa: ARG002
        """The support itself."""
        return support

    @property
    def is_identity(self) -> bool:
        """False."""
        return False

    def bind(self, in_features: int) -> ForwardMask:  # noqa: ARG002
        """Itself: every width will do."""
        return self
