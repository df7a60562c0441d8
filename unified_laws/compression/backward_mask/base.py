"""The interface of a backward mask."""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor

from unified_laws.compression.stage import Stage


class BackwardMask(Stage):
    """Chooses the values of a sparse operand that get a gradient (arXiv:2506.01863 App. H.3)."""

    @abstractmethod
    def mask(self, y: Tensor, support: Tensor | None) -> Tensor | None:
        """Multiplier of the gradient of `y`, same shape; None for all ones.

        Args:
            y: encoded operand (..., in_features).
            support: True = kept in the forward pass; None when nothing is pruned.
        """

    @abstractmethod
    def bind(self, in_features: int) -> BackwardMask:
        """The same choice for rows of `in_features` values."""
