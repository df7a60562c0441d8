"""The straight-through estimator."""

from __future__ import annotations

from typing import final

from torch import Tensor

from unified_laws.compression.gradient.base import GradientEstimator
from unified_laws.compression.projection import Projection


@final
class StraightThrough(GradientEstimator):
    """The gradient passes unchanged."""

    def flow(self, y: Tensor, projection: Projection) -> Tensor | None:  # noqa: ARG002
        """None: all ones."""
        return None

    @property
    def is_identity(self) -> bool:
        """True."""
        return True

    def bind(self, in_features: int) -> StraightThrough:  # noqa: ARG002
        """Itself: every width will do."""
        return self
