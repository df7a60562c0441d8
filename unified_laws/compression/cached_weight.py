"""The projection of a weight that several forward and backward passes use."""

from __future__ import annotations

from typing import Any, cast, final

import torch
from torch import Tensor, nn

from unified_laws.compression.compressor import Compressor


@final
class ProjectOnce(torch.autograd.Function):
    """x̂ of a weight, with a backward that may run once for every micro-batch.

    The graph from weight to x̂ is built once and kept until x̂ is dropped; each backward runs through
    it, so that every micro-batch gives the weight, and what its compressor learns, the very
    gradients that a projection of its own would have given.
    """

    @staticmethod
    def forward(ctx: Any, compressor: Compressor, weight: Tensor, *learned: nn.Parameter) -> Tensor:
        """`compressor(weight)`."""
        with torch.enable_grad():
            own = weight.detach().requires_grad_(weight.requires_grad)
            ctx.value = compressor(own)
        ctx.inputs = (own, *learned)
        return cast(Tensor, ctx.value).detach()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """The gradients of the weight and of the learned numbers."""
        needed = ctx.needs_input_grad[1:]
        wanted = [tensor for tensor, needs in zip(ctx.inputs, needed, strict=True) if needs]
        found = iter(
            torch.autograd.grad(ctx.value, wanted, grad, retain_graph=True, allow_unused=True)
        )
        return None, *(next(found) if needs else None for needs in needed)


def project_once(compressor: Compressor, weight: Tensor) -> Tensor:
    """`compressor(weight)` for any number of backward passes; without graph under `no_grad`."""
    if not torch.is_grad_enabled():
        return compressor(weight)  # type: ignore[no-any-return]
    learned = tuple(compressor.parameters())
    return cast(Tensor, ProjectOnce.apply(compressor, weight, *learned))  # type: ignore[no-untyped-call]


def state_of(compressor: Compressor, weight: Tensor) -> tuple[tuple[int, int], ...]:
    """What tells that a weight, or a tensor of its compressor, was replaced or written to.

    A second line of defence: an optimizer that writes past autograd's counters goes unnoticed, and
    so the cache is dropped after every step whatever this says.
    """
    tensors = (weight, *compressor.parameters(), *compressor.buffers())
    return tuple((id(t), 0 if t.is_inference() else t._version) for t in tensors)
