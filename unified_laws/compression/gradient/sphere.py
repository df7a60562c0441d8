"""The trust estimator of vector quantization."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, final

import torch
from torch import Tensor

from unified_laws.compression.gradient.base import GradientEstimator
from unified_laws.compression.product import product
from unified_laws.compression.projection import Projection
from unified_laws.compression.quantizer.vector import VectorQuantizer
from unified_laws.compression.stage import Stage
from unified_laws.errors import UsageError


@final
class Sphere(GradientEstimator):
    """The gradient passes for vectors with ‖x‖² <= R² (arXiv:2506.01863 App. E, Algorithm 2).

    x is a vector as it is projected: after rotation and pruning, in units of its scale (the RMS).

    Args:
        radius: R in units of the RMS, positive; "auto" takes the length of the outermost code plus
            the RMS length of the error of the codebook.

    Raises:
        UsageError: the radius is not positive.

    Note:
        The paper does not print R. "auto" is ours, in analogy to QuEST's trust, which reaches half
        a step beyond the outermost level.
    """

    def __init__(self, radius: float | Literal["auto"]) -> None:
        super().__init__()
        if radius != "auto" and not (not isinstance(radius, str) and radius > 0):
            raise UsageError(
                f"sphere radius: got {radius!r}, allowed are positive numbers in units of the RMS, "
                "and 'auto'; take auto to follow the codebook"
            )
        self.radius = radius

    def check(self, stages: Mapping[str, Stage]) -> None:
        """Refuse a quantizer of scalars, which trust and clip are for."""
        quantizer = stages["quantizer"]
        if not isinstance(quantizer, VectorQuantizer):
            raise UsageError(
                f"sphere gradient: got a {type(quantizer).__name__}, allowed is the vector "
                "quantizer, whose codes have a radius; take gradient trust or clip"
            )

    def flow(self, y: Tensor, projection: Projection) -> Tensor | None:
        """True within the sphere, alike for all values of a vector; None without a codebook."""
        points, radius = projection.points, projection.radius
        if points is None or radius is None:
            return None
        if not isinstance(self.radius, str):
            radius = float(self.radius)
        ones = torch.ones(points.shape[1], device=points.device)
        squared = product(points.square(), ones)  # eight times as fast as a sum of short rows
        return (squared <= radius**2)[:, None].expand_as(points).reshape(y.shape)

    @property
    def is_identity(self) -> bool:
        """False."""
        return False

    def bind(self, in_features: int) -> Sphere:  # noqa: ARG002
        """Itself: every width will do."""
        return self

    def extra_repr(self) -> str:
        """The argument."""
        return f"radius={self.radius}"
