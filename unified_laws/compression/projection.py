"""What a quantizer returns."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn


def zero_off(value: Tensor, support: Tensor | None) -> Tensor:
    """`value`, written to, with zeros off the support; itself where there is none.

    By a product, as `torch.where` takes four times as long on a mask that is hard to foresee: NaN
    stays NaN, and a zero may be a negative one.
    """
    return value if support is None else value.mul_(support)


@dataclass(frozen=True)
class Learned:
    """How a projection depends on one trained number of its quantizer.

    Attributes:
        parameter: the number, a scalar parameter.
        slope: derivative of every value by it, float32, shape of the operand.
        levels: highest index of the grid.
        count: values that a gradient scale counts: weights of the layer, or features of its input.
    """

    parameter: nn.Parameter
    slope: Tensor
    levels: int
    count: int


@dataclass(frozen=True)
class Projection:
    """An operand on its grid, with the radii that gradient estimators ask for.

    Attributes:
        value: projected operand, shape and dtype of the input.
        limit: magnitude of the outermost level, broadcastable to `value`; None without a grid.
        reach: `limit` plus half a step: the edge of the outermost cell; None without a grid.
        points: of a codebook of vectors, what was projected, in units of the scale: float32
            (vectors, dimension) in the order of `value`; None otherwise.
        radius: of a codebook of vectors, as `reach`, in units of the scale; None otherwise.
        inside: True where a value was not clipped; None where `limit` says so.
        learned: the trained numbers that `value` depends on.
    """

    value: Tensor
    limit: Tensor | None
    reach: Tensor | None
    points: Tensor | None = None
    radius: float | None = None
    inside: Tensor | None = None
    learned: tuple[Learned, ...] = ()
