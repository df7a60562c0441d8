"""The interface of a change of basis."""

from __future__ import annotations

from abc import abstractmethod
from typing import final

from torch import Tensor

from unified_laws.compression.stage import Stage


class Transform(Stage):
    """An invertible linear map of the last dimension, in which an operand is projected.

    A folded transform is not undone: both operands of the product stay in the new basis, which
    leaves the product unchanged when the transform is orthonormal and both fold the same one.
    """

    @abstractmethod
    def encode(self, x: Tensor) -> Tensor:
        """`x` (..., in_features) in the new basis, same shape and dtype."""

    @abstractmethod
    def inverse(self, y: Tensor) -> Tensor:
        """`y` (..., in_features) back in the basis of the operand, folded or not."""

    @property
    @abstractmethod
    def folded(self) -> bool:
        """Whether `decode` leaves the operand in the new basis."""

    @property
    @abstractmethod
    def is_orthonormal(self) -> bool:
        """Whether lengths are preserved, so that N(0,1) stays N(0,1) and errors keep their size."""

    @property
    @abstractmethod
    def block(self) -> int | None:
        """Width of one diagonal block; None when it is not known before `bind`."""

    @property
    def basis(self) -> tuple[object, ...]:
        """What two folded transforms must share to leave the product unchanged."""
        return type(self).__name__, self.block

    def attach(self, x: Tensor, *, is_weight: bool) -> None:
        """Start parameters of the transform, if it has any, for this operand; once per layer.

        Raises:
            UsageError: the transform cannot work on this operand.
        """

    @abstractmethod
    def bind(self, in_features: int) -> Transform:
        """The same transform with its block resolved for `in_features`."""

    @final
    def decode(self, y: Tensor) -> Tensor:
        """`inverse(y)`, or `y` itself when folded."""
        return y if self.folded else self.inverse(y)
