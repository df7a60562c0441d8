"""The gradient between the outermost levels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import final

from torch import Tensor

from unified_laws.compression.gradient.base import GradientEstimator, check_levels
from unified_laws.compression.projection import Projection
from unified_laws.compression.stage import Stage


@final
class Unclipped(GradientEstimator):
    """The gradient passes strictly between the outermost levels, wherever they are.

    PACT (arXiv:1805.06085 eq. 3) trains its operand so. On a symmetric grid it is `Clip` of scale
    1, but for the outermost levels themselves.
    """

    def check(self, stages: Mapping[str, Stage]) -> None:
        """Refuse a quantizer without levels."""
        check_levels("unclipped", stages)

    def flow(self, y: Tensor, projection: Projection) -> Tensor | None:
        """True between the outermost levels; None without a grid."""
        if projection.inside is not None:
            return projection.inside
        return None if projection.limit is None else y.abs() < projection.limit

    @property
    def is_identity(self) -> bool:
        """False."""
        return False

    def bind(self, in_features: int) -> Unclipped:  # noqa: ARG002
        """Itself: every width will do."""
        return self
