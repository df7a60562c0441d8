"""QuEST's trust estimator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import final

from torch import Tensor

from unified_laws.compression.gradient.base import GradientEstimator, check_levels
from unified_laws.compression.projection import Projection
from unified_laws.compression.stage import Stage


@final
class Trust(GradientEstimator):
    """The gradient passes where the projection moved the value by at most half a step.

    QuEST (arXiv:2502.05003): M = 1[|x̂ - x| <= T] with T half a step. Inside the grid this
    always holds, so on n levels M = 1[|y| <= limit·n/(n-1)] = 1[|y| <= reach]: trust is a clip
    half a step beyond the outermost level.

    Note:
        QuEST compares the rounded difference, which flips at the very edge of a cell; here the
        closed form is evaluated, and values on the edge pass.
    """

    def check(self, stages: Mapping[str, Stage]) -> None:
        """Refuse a quantizer without levels."""
        check_levels("trust", stages)

    def flow(self, y: Tensor, projection: Projection) -> Tensor | None:
        """True within the outermost cells; None without a grid."""
        return None if projection.reach is None else y.abs() <= projection.reach

    @property
    def is_identity(self) -> bool:
        """False."""
        return False

    def bind(self, in_features: int) -> Trust:  # noqa: ARG002
        """Itself: every width will do."""
        return self
