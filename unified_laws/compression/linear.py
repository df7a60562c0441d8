"""The linear layer that computes with compressed operands."""

from __future__ import annotations

from typing import Any, final

import torch
from torch import Tensor, nn
from torch.nn.functional import linear as linear_map

from unified_laws.compression.cached_weight import project_once, state_of
from unified_laws.compression.format import Format


@final
class CompressedLinear(nn.Linear):
    """C_a(x)·C_w(W)ᵀ + bias on the full-precision parameters of a linear layer.

    Training and evaluation compress alike. The parameters and their names are those of the layer
    it came from. Every forward pass projects the weight anew, unless it was cached (`weight_scope`
    does so for all layers of a model): then x̂ is that of `cache_weight` until `drop_weight`,
    another mode, device or dtype, or a state dict that is loaded.

    Args:
        linear: the layer whose parameters are used (not copied).
        format: what happens to its operands; bound to its width.

    Raises:
        UsageError: the format does not fit the width of the layer.
    """

    def __init__(self, linear: nn.Linear, format: Format) -> None:
        # nn.Linear's own would allocate weights and draw random numbers.
        nn.Module.__init__(self)
        self.in_features = linear.in_features
        self.out_features = linear.out_features
        self.weight = linear.weight
        self.register_parameter("bias", linear.bias)
        self.train(linear.training)
        self.format_name = format.name
        self._cached: Tensor | None = None
        self._cached_of: tuple[tuple[int, int], ...] = ()
        self.weight_compressor, self.activation_compressor = format.bind(linear.in_features)
        if self.weight_compressor is not None:
            self.weight_compressor.attach(linear.weight.detach(), is_weight=True)
            self.weight_compressor.begin_streams(linear.weight, of_ranks=False)
        if self.activation_compressor is not None:
            self.activation_compressor.begin_streams(linear.weight, of_ranks=True)

    def cache_weight(self) -> None:
        """Project the weight now, for the forward passes until `drop_weight`.

        Nothing happens if it is cached and neither it nor its compressor's state has changed.
        """
        compressor = self.weight_compressor
        if compressor is None:
            return
        state = state_of(compressor, self.weight)
        if self._usable_cache() is None or state != self._cached_of:
            self._cached = project_once(compressor, self.weight)
            # afterwards: a projection may write to its buffers
            self._cached_of = state_of(compressor, self.weight)

    def drop_weight(self) -> None:
        """Forget the projected weight: the next forward pass projects anew."""
        self._cached, self._cached_of = None, ()

    def _usable_cache(self) -> Tensor | None:
        """What was cached; None if there is nothing, or no gradient where one is wanted."""
        cached = self._cached
        if cached is None or (torch.is_grad_enabled() and not cached.requires_grad):
            return None
        return cached

    @classmethod
    def from_linear(cls, linear: nn.Linear, format: Format) -> CompressedLinear:
        """The compressed layer on the parameters of `linear`."""
        return cls(linear, format)

    def to_linear(self) -> nn.Linear:
        """A plain layer on the same parameters."""
        plain = nn.Linear(1, 1, bias=False, device="meta")
        plain.in_features = self.in_features
        plain.out_features = self.out_features
        plain.weight = self.weight
        plain.register_parameter("bias", self.bias)
        plain.train(self.training)
        return plain

    @property
    def block(self) -> int | None:
        """Block of the rotation of the operands: the weight's, else the activation's, else 1."""
        for compressor in (self.weight_compressor, self.activation_compressor):
            if compressor is not None and not compressor.transform.is_identity:
                return compressor.transform.block
        return 1

    def forward(self, input: Tensor) -> Tensor:
        """`input` (..., in_features) to (..., out_features)."""
        weight: Tensor = self.weight
        if self.activation_compressor is not None:
            input = self.activation_compressor(input)
        if self.weight_compressor is not None:
            cached = self._usable_cache()
            weight = self.weight_compressor(weight) if cached is None else cached
        return linear_map(input, weight, self.bias)

    @torch.no_grad()
    def projected_weight(self) -> Tensor:
        """C_w(W) (out_features, in_features) in the basis of W, also under a folded transform.

        For what compares the master weight and its projection between backward and optimizer step.
        What is cached and still up to date is not projected again.
        """
        if self.weight_compressor is None:
            return self.weight.detach()
        if self._cached is not None and self._cached_of == state_of(
            self.weight_compressor, self.weight
        ):
            transform = self.weight_compressor.transform
            cached = self._cached.detach()
            return transform.inverse(cached) if transform.folded else cached
        return self.weight_compressor.reconstruct(self.weight.detach())

    def train(self, mode: bool = True) -> CompressedLinear:
        """Switch the mode and forget the projected weight."""
        self._cached = None
        return super().train(mode)

    def _apply(self, *arguments: Any, **keywords: Any) -> CompressedLinear:
        self.drop_weight()
        return super()._apply(*arguments, **keywords)  # type: ignore[no-untyped-call, no-any-return]

    def _load_from_state_dict(self, *arguments: Any) -> None:
        self.drop_weight()
        super()._load_from_state_dict(*arguments)

    def __getstate__(self) -> dict[str, Any]:
        """Copies and pickles do without the projected weight, which is part of a graph."""
        return {**self.__dict__, "_cached": None, "_cached_of": ()}

    def extra_repr(self) -> str:
        """Shape and format."""
        return f"{super().extra_repr()}, format={self.format_name}"
