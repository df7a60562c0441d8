"""The linear layer that computes with compressed operands."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn
from torch.nn.functional import linear as linear_map

from unified_laws.compression.format import Format


@final
class CompressedLinear(nn.Linear):
    """C_a(x)·C_w(W)ᵀ + bias on the full-precision parameters of a linear layer.

    Training and evaluation compress alike. The parameters and their names are those of the layer
    it came from.

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
        self.weight_compressor, self.activation_compressor = format.bind(linear.in_features)
        if self.weight_compressor is not None:
            self.weight_compressor.attach(linear.weight.detach(), is_weight=True)

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
            weight = self.weight_compressor(weight)
        return linear_map(input, weight, self.bias)

    @torch.no_grad()
    def projected_weight(self) -> Tensor:
        """C_w(W) (out_features, in_features) in the basis of W, also under a folded transform.

        For what compares the master weight and its projection between backward and optimizer step.
        """
        if self.weight_compressor is None:
            return self.weight.detach()
        return self.weight_compressor.reconstruct(self.weight.detach())

    def extra_repr(self) -> str:
        """Shape and format."""
        return f"{super().extra_repr()}, format={self.format_name}"
