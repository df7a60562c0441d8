"""No change of basis."""

from __future__ import annotations

from typing import final

from torch import Tensor

from unified_laws.compression.transform.base import Transform


@final
class Identity(Transform):
    """Operands are projected in the basis they come in."""

    def encode(self, x: Tensor) -> Tensor:
        """`x` itself."""
        return x

    def inverse(self, y: Tensor) -> Tensor:
        """`y` itself."""
        return y

    @property
    def folded(self) -> bool:
        """False: there is nothing to undo."""
        return False

    @property
    def is_orthonormal(self) -> bool:
        """True."""
        return True

    @property
    def is_identity(self) -> bool:
        """True."""
        return True

    @property
    def block(self) -> int | None:
        """1: every coordinate is its own block."""
        return 1

    def bind(self, in_features: int) -> Identity:  # noqa: ARG002
        """Itself: every width will do."""
        return self
