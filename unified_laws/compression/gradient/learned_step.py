"""LSQ's gradient: that of the operand, and the scale of that of the step."""

from __future__ import annotations

from collections.abc import Mapping
from math import sqrt
from typing import final

from torch import Tensor

from unified_laws.compression.gradient.base import GradientEstimator
from unified_laws.compression.projection import Projection
from unified_laws.compression.quantizer.base import Quantizer
from unified_laws.compression.stage import Stage
from unified_laws.errors import UsageError


@final
class LearnedStep(GradientEstimator):
    """The gradient passes strictly between the outermost levels; that of the step is scaled.

    LSQ (arXiv:1902.08153 eq. 5 and §2.2): the gradient of the step is multiplied by
    g = 1/√(count·levels), with the weights of the layer, or the features of its input, as count and
    the highest index as levels. Under Adam, which divides by its size, g only matters for how much
    of the clipped global norm the steps take up.
    """

    def flow(self, y: Tensor, projection: Projection) -> Tensor | None:  # noqa: ARG002
        """True between the outermost levels."""
        return projection.inside

    def check(self, stages: Mapping[str, Stage]) -> None:
        """Refuse a quantizer without a learned step."""
        quantizer = stages["quantizer"]
        if not (isinstance(quantizer, Quantizer) and quantizer.is_learned):
            raise UsageError(
                f"gradient learned_step: got the quantizer {type(quantizer).__name__}, allowed are "
                "those with a learned step, lsq, lsq_plus and pact; take one of them, or the "
                "gradient trust"
            )

    def parameter_scale(self, *, levels: int, count: int) -> float:
        """1/√(count·levels)."""
        return 1.0 / sqrt(count * levels)

    @property
    def is_identity(self) -> bool:
        """False."""
        return False

    def bind(self, in_features: int) -> LearnedStep:  # noqa: ARG002
        """Itself: every width will do."""
        return self
