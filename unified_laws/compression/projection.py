"""What a quantizer returns."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Projection:
    """An operand on its grid, with the two radii that gradient estimators ask for.

    Attributes:
        value: projected operand, shape and dtype of the input.
        limit: magnitude of the outermost level, broadcastable to `value`; None without a grid.
        reach: `limit` plus half a step: the edge of the outermost cell; None without a grid.
    """

    value: Tensor
    limit: Tensor | None
    reach: Tensor | None
