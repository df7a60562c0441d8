"""What a model of N parameters in a format costs: to store, to train, to run."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from unified_laws.errors import UsageError

DENSE_BITS = 16.0
COUNTINGS = ("linear", "quadratic")
BITS_PER_BYTE = 8.0
# Forward and backward multiplications of each parameter and token: arXiv:2001.08361, §2.1.
FLOPS_PER_PARAMETER_AND_TOKEN = 6.0


@dataclass(frozen=True)
class FormatBits:
    """The numbers of a format that its costs are made of.

    Attributes:
        format: label.
        bits_per_weight: stored bits of a weight, with scales and mask.
        weight_bits: bits of a weight in a multiplication; 16 if it is not quantized.
        activation_bits: bits of an activation in a multiplication.
        kept_fraction: share of the multiplications that a sparse format leaves.
    """

    format: str
    bits_per_weight: float
    weight_bits: float = DENSE_BITS
    activation_bits: float = DENSE_BITS
    kept_fraction: float = 1.0

    def flop_share(self, counting: str) -> float:
        """Cost of a multiplication relative to a dense one of 16 bits.

        ``linear``: kept · max(weight bits, activation bits) / 16, for hardware whose speed goes
        with the wider operand. ``quadratic``: kept · weight bits · activation bits / 16², for a
        multiplier whose area goes with the product.

        Raises:
            UsageError: no such counting.

        Note:
            arXiv:2502.16440 compares formats by linear and by quadratic FLOPs; how it counts
            unequal operands was not at hand. With equal bits b both are the obvious b/16 and
            (b/16)². Weights alone in few bits save no linear FLOPs here.
        """
        if counting == "linear":
            return self.kept_fraction * max(self.weight_bits, self.activation_bits) / DENSE_BITS
        if counting == "quadratic":
            return self.kept_fraction * self.weight_bits * self.activation_bits / DENSE_BITS**2
        raise UsageError(f"counting is {counting!r}; allowed: {', '.join(COUNTINGS)}")


@dataclass(frozen=True)
class Serving:
    """How a model is run, for the bytes of inference.

    Attributes:
        batch: sequences decoded together.
        context: tokens of each that are attended to.
        vocab_size: rows of the head, which stays in 16 bits.
        aspect_ratio: width over layers; N = 12 layers width² then gives both.
    """

    batch: float
    context: float
    vocab_size: float
    aspect_ratio: float


def weight_bytes(bits: FormatBits, num_params: float, num_tokens: float) -> float:
    """Bytes of the N weights; the number of tokens does not matter."""
    del num_tokens
    return num_params * bits.bits_per_weight / BITS_PER_BYTE


def training_flops(counting: str) -> Callable[[FormatBits, float, float], float]:
    """6 N D times `FormatBits.flop_share`: all three multiplications run in the format."""

    def cost(bits: FormatBits, num_params: float, num_tokens: float) -> float:
        share = bits.flop_share(counting)
        return FLOPS_PER_PARAMETER_AND_TOKEN * share * num_params * num_tokens

    return cost


def inference_bytes(serving: Serving) -> Callable[[FormatBits, float, float], float]:
    """Bytes moved per decoded token: weights and head once per batch, 16-bit keys and values.

    N / b · bits/8 + 2 V d / b + 2 · 2 · layers · d · context, with d from N = 12 layers d² and
    d = aspect_ratio · layers. Few bits allow more parameters, whose wider layers have more keys.
    """

    def cost(bits: FormatBits, num_params: float, num_tokens: float) -> float:
        width = math.cbrt(num_params * serving.aspect_ratio / 12.0)
        layers = width / serving.aspect_ratio
        half = DENSE_BITS / BITS_PER_BYTE
        shared = weight_bytes(bits, num_params, num_tokens) + half * serving.vocab_size * width
        return shared / serving.batch + 2.0 * half * layers * width * serving.context

    return cost
