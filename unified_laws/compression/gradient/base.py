"""The interface of a gradient estimator."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping

from torch import Tensor

from unified_laws.compression.projection import Projection
from unified_laws.compression.quantizer.base import Quantizer
from unified_laws.compression.stage import Stage
from unified_laws.errors import UsageError


def check_levels(gradient: str, stages: Mapping[str, Stage]) -> None:
    """Refuse a quantizer without an outermost level: the gradient would pass everything.

    Raises:
        UsageError: the quantizer has none.
    """
    quantizer = stages["quantizer"]
    if isinstance(quantizer, Quantizer) and not quantizer.has_levels:
        raise UsageError(
            f"gradient {gradient}: got the quantizer {type(quantizer).__name__}, allowed are those "
            "with an outermost level, where it ends; take the gradient straight_through, or sphere "
            "for vectors"
        )


class GradientEstimator(Stage):
    """Chooses how much of the gradient at the projected operand reaches the operand."""

    @abstractmethod
    def flow(self, y: Tensor, projection: Projection) -> Tensor | None:
        """Multiplier of the gradient of `y`, same shape; None for all ones."""

    def parameter_scale(self, *, levels: int, count: int) -> float:  # noqa: ARG002
        """Multiplier of the gradient of a learned number; see `Learned` for the arguments."""
        return 1.0

    @abstractmethod
    def bind(self, in_features: int) -> GradientEstimator:
        """The same estimator for rows of `in_features` values."""
