"""The stages of one operand in their order."""

from __future__ import annotations

from copy import deepcopy
from typing import Any, cast, final

import torch
from torch import Tensor, nn

from unified_laws.compression.backward_mask.base import BackwardMask
from unified_laws.compression.gradient.base import GradientEstimator
from unified_laws.compression.quantizer.base import Quantizer
from unified_laws.compression.quantizer.learned import LearnedQuantizer
from unified_laws.compression.random_source import sources
from unified_laws.compression.sparsifier.base import Sparsifier
from unified_laws.compression.sparsifier.held import HeldSparsifier
from unified_laws.compression.stage import Stage
from unified_laws.compression.transform.base import Transform


@final
class Project(torch.autograd.Function):
    """Forward: `value`, exactly. Backward to `y`: the gradient times `multiplier`.

    Learned numbers follow in pairs of parameter and slope; the gradient of a parameter is the sum
    of the gradient times the slope. `y + (value - y).detach()` would leave the grid by a rounding
    error.
    """

    @staticmethod
    def forward(y: Tensor, value: Tensor, multiplier: Tensor | None, *learned: Tensor) -> Tensor:  # noqa: ARG004
        """`value`."""
        return value.view_as(value)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: ARG004
        """Keep the multiplier, a byte per value, or nothing; and the slopes."""
        _, _, multiplier, *learned = inputs
        ctx.is_masked = multiplier is not None
        ctx.save_for_backward(*learned[1::2], *([multiplier] if ctx.is_masked else []))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of `y` and of the learned numbers."""
        slopes = ctx.saved_tensors[:-1] if ctx.is_masked else ctx.saved_tensors
        passed = grad * ctx.saved_tensors[-1] if ctx.is_masked else grad
        learned: list[Tensor | None] = []
        for slope in slopes:
            learned += [(grad.float() * slope).sum(), None]
        return (passed, None, None, *learned)


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

    Raises:
        UsageError: two of the stages mean nothing together.
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
        stages: dict[str, Stage] = {
            "transform": transform,
            "sparsifier": sparsifier,
            "backward_mask": backward_mask,
            "quantizer": quantizer,
            "gradient": gradient,
        }
        for stage in stages.values():
            stage.check(stages)

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

    @torch.no_grad()
    def attach(self, x: Tensor, *, is_weight: bool) -> None:
        """Let stages with a state start it from their operand; without any, nothing happens.

        Called once, on the weight of a layer or on its first input. What is not attached, as in a
        GMSE, derives its state from every operand anew.
        """
        self.transform.attach(x, is_weight=is_weight)
        held, quantizer = self.sparsifier, self.quantizer
        if not isinstance(held, HeldSparsifier) and not isinstance(quantizer, LearnedQuantizer):
            return
        y = self.transform.encode(x)
        if isinstance(held, HeldSparsifier):
            held.attach(y)
        if isinstance(quantizer, LearnedQuantizer):
            support = None if y.is_meta else held.support(y)
            quantizer.begin(y, support, is_of_weight=is_weight)

    def begin_streams(self, like: Tensor, *, of_ranks: bool) -> None:
        """Let what draws random numbers take its stream from a tensor; see `RandomSource.begin`."""
        for source in sources(self):
            source.begin(like, of_ranks=of_ranks)

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
            learned: list[Tensor] = []
            for number in projection.learned:
                scale = self.gradient.parameter_scale(levels=number.levels, count=number.count)
                learned += [number.parameter, number.slope * scale]
        # Where nothing takes a gradient torch 2.13 traces a Function of *args with its inputs
        # shifted by one: a compiled evaluation would return the operand uncompressed.
        if not torch.is_grad_enabled() or not any(n.requires_grad for n in (y, *learned[::2])):
            return self.transform.decode(projection.value)
        if projection.value is y and multiplier is None:  # torch.compile refuses y twice
            return self.transform.decode(y)
        passed = Project.apply(y, projection.value, multiplier, *learned)  # type: ignore[no-untyped-call]
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
