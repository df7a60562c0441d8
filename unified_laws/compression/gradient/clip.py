"""The clipped straight-through estimator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import final

from torch import Tensor

from unified_laws.compression.gradient.base import GradientEstimator, check_levels
from unified_laws.compression.projection import Projection
from unified_laws.compression.stage import Stage
from unified_laws.errors import UsageError


@final
class Clip(GradientEstimator):
    """The gradient passes where |y| <= clip_scale · (outermost level).

    QuEST (arXiv:2502.05003, code) trains one bit so, with s* = 1.30 behind a Hadamard rotation and
    1.25 without one.

    Args:
        clip_scale: the factor, positive.

    Raises:
        UsageError: the factor is not positive.
    """

    def __init__(self, clip_scale: float) -> None:
        super().__init__()
        if not clip_scale > 0:
            raise UsageError(
                f"clip_scale: got {clip_scale:g}, allowed are positive numbers; 1 passes the "
                "gradient up to the outermost level"
            )
        self.clip_scale = float(clip_scale)

    def check(self, stages: Mapping[str, Stage]) -> None:
        """Refuse a quantizer without levels."""
        check_levels("clip", stages)

    def flow(self, y: Tensor, projection: Projection) -> Tensor | None:
        """True within the clipped range; None without a grid."""
        if projection.limit is None:
            return None
        return y.abs() <= self.clip_scale * projection.limit

    @property
    def is_identity(self) -> bool:
        """False."""
        return False

    def bind(self, in_features: int) -> Clip:  # noqa: ARG002
        """Itself: every width will do."""
        return self

    def extra_repr(self) -> str:
        """The argument."""
        return f"clip_scale={self.clip_scale}"
