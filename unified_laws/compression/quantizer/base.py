"""The interface of a projection on a grid."""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor

from unified_laws.compression.gaussian import Array, Spread
from unified_laws.compression.projection import Projection
from unified_laws.compression.stage import Stage


class Quantizer(Stage):
    """Projects the kept values of an operand on a grid. Pure; called without autograd."""

    @abstractmethod
    def project(self, y: Tensor, support: Tensor | None) -> Projection:
        """The operand on its grid, exactly zero off the support.

        Args:
            y: encoded operand (..., in_features), not yet pruned.
            support: True = kept; None when everything is kept.
        """

    @property
    def is_learned(self) -> bool:
        """Whether it owns numbers that are trained."""
        return False

    @property
    def kind(self) -> str:
        """The kind of compression: formats of one kind share a capacity curve."""
        return "integer"

    @property
    def has_levels(self) -> bool:
        """Whether single values have an outermost level, which a gradient may end at."""
        return True

    @property
    @abstractmethod
    def bits(self) -> float:
        """Storage bits of one kept value, scales apart."""

    @abstractmethod
    def scale_bits(self, in_features: int) -> float:
        """Storage bits of the scales of one row of `in_features` values."""

    @abstractmethod
    def gaussian_values(self, y: Array, spread: Spread) -> Array | None:
        """The projection of `y` when the scale takes its limit on N(0,1); None if there is none."""

    @abstractmethod
    def gaussian_edges(self, spread: Spread) -> tuple[float, ...] | None:
        """Where `gaussian_values` jumps; None together with it."""

    @abstractmethod
    def bind(self, in_features: int) -> Quantizer:
        """The same projection for rows of `in_features` values."""
