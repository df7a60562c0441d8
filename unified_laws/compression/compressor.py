"""The stages of one operand in their order."""

from __future__ import annotations

from copy import deepcopy
from typing import Any, cast, final

import torch
from torch import Tensor, nn

from unified_laws.compression.backward_mask.base import BackwardMask
from unified_laws.compression.gradient.base import GradientEstimator
from unified_laws.compression.quantizer.base import Quantizer
from unified_laws.compression.sparsifier.base import Sparsifier
from unified_laws.compression.transform.base import Transform


@final
class Project(torch.autograd.Function):
    """Forward: `value`, exactly. Backward to `y`: the gradient times `multiplier`.

    `y + (value - y).detach()` would leave the grid by a rounding error.
    """

    @staticmethod
    def forward(y: Tensor, value: Tensor, multiplier: Tensor | None) -> Tensor:  # noqa: ARG004
        """`value`."""
        return value.view_as(value)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: ARG004
        """Keep the multiplier, a byte per value, or nothing."""
        multiplier = inputs[2]
        ctx.is_masked = multiplier is not None
        if multiplier is not None:
            ctx.save_for_backward(multiplier)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        """Gradient of `y`."""
        return (grad * ctx.saved_tensors[0] if ctx.is_masked else grad), None, None


@final
class Compressor(nn.Module):
    """One operand through transform, sparsifier, quantizer and back (arXiv:2506.01863).

    x → encode → y → support → projection of the support on the grid → decode → x̂. The paper
    prunes first and quantizes then; off the support the result is exactly zero. On its way to x the
    gradient at x̂ passes the transform and is multiplied by `gradient.flow · backward_mask.mask`.

    Args:
        transform: change of basis along the last dimension.
        sparsifier: which encoded values are kept.
        backward_mask: which encoded values get a gradient, as far as pruning goes.
        quantizer: projection of the kept values.
        gradient: which encoded values get a gradient, as far as quantization goes.
    """

    def __init__(
        self,
        transform: Transform,
        sparsifier: Sparsifier,
        backward_mask: BackwardMask,
        quantizer: Quantizer,
        gradient: GradientEstimator,
    ) -> None:
        super().__init__()
        self.transform = transform
        self.sparsifier = sparsifier
        self.backward_mask = backward_mask
        self.quantizer = quantizer
        self.gradient = gradient

    @property
    def is_identity(self) -> bool:
        """Whether the operand comes back as the very same tensor."""
        return (
            self.transform.is_identity
            and self.sparsifier.is_identity
            and self.quantizer.is_identity
        )

    def bind(self, in_features: int) -> Compressor:
        """A copy of its own for operands whose last dimension is `in_features`.

        Raises:
            UsageError: a stage cannot work at this width.
        """
        own = deepcopy(self)
        return Compressor(
            transform=own.transform.bind(in_features),
            sparsifier=own.sparsifier.bind(in_features),
            backward_mask=own.backward_mask.bind(in_features),
            quantizer=own.quantizer.bind(in_features),
            gradient=own.gradient.bind(in_features),
        )

    def forward(self, x: Tensor) -> Tensor:
        """x̂, shape and dtype of `x` (..., in_features); in the new basis if the transform folds."""
        if self.is_identity:
            return x
        y = self.transform.encode(x)
        with torch.no_grad():
            support = self.sparsifier.support(y)
            projection = self.quantizer.project(y, support)
            multiplier = self.backward_mask.mask(y, support)
            flow = self.gradient.flow(y, projection)
            if multiplier is None:
                multiplier = flow
            elif flow is not None:
                multiplier = multiplier * flow
        passed = Project.apply(y, projection.value, multiplier)  # type: ignore[no-untyped-call]
        return self.transform.decode(cast(Tensor, passed))

    @torch.no_grad()
    def encoded(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """The encoded operand, its projection and its support (None if dense), for diagnostics."""
        y = self.transform.encode(x)
        support = self.sparsifier.support(y)
        return y, self.quantizer.project(y, support).value, support

    @torch.no_grad()
    def reconstruct(self, x: Tensor) -> Tensor:
        """x̂ in the basis of `x`, whether or not the transform folds."""
        if self.is_identity:
            return x
        return self.transform.inverse(self.encoded(x)[1])
