"""The microscaling (MX) formats of OCP."""

from __future__ import annotations

from typing import Literal, final

import torch
from torch import Tensor

from unified_laws.compression.float_grid import FloatGrid
from unified_laws.compression.quantizer.block import BlockQuantizer
from unified_laws.errors import UsageError

FRACTION_BITS, FRACTION, BIAS = 23, 0x7FFFFF, 127  # of float32
RULES = ("floor", "rceil", "ceil", "even")


@final
class MicroscalingQuantizer(BlockQuantizer):
    """Elements of 4 to 8 bits under a power of two (E8M0) per block of 32 (OCP MX v1.0).

    MXFP4 is e2m1, MXFP6 e3m2 or e2m3, MXFP8 e4m3 (reserve "nan") or e5m2 (reserve "ieee"), MXINT8
    e1m6: 255 equidistant levels, the code of -2 unused. Bit for bit as torchao, under each rule.

    Args:
        exponent: exponent bits of an element.
        mantissa: mantissa bits of an element.
        reserve: its codes that are no finite number, see `FloatGrid`.
        scale: "absmax".
        scale_rule: with a the largest magnitude of the block, m the largest element and e its
            exponent, the scale is 2^(⌊log2 a⌋ - e) ("floor", OCP), 2^⌈log2(a/m)⌉ ("rceil", NVIDIA),
            2^(⌈log2 a⌉ - e) ("ceil"), or floor with `a` first rounded to the mantissa of an element
            ("even", which rounds ties up).
        four_thirds: whether the scale is 4/3 of the "floor" one (arXiv:2509.23202: the block's
            largest then lies in [3, 6) of e2m1 and nothing saturates). One constant for the tensor.
        group_size: values of a block.
        statistics: "dense" or "kept".

    Raises:
        UsageError: an argument outside its range, or 4/3 of another rule.

    Note:
        NaN makes its block NaN. Infinity gives its block the largest scale, and the others
        underflow to zero. Scales stop at 2^-126, the least normal float32 (torchao in eager; E8M0
        has 2^-127), so that C(2x) = 2·C(x) holds exactly where the scale lies above. torchao
        computes log2 in float32 under "rceil", which one ulp above a power of two rounds down; here
        it rounds up.
    """

    def __init__(
        self,
        exponent: int,
        mantissa: int,
        reserve: Literal["none", "nan", "ieee"],
        scale: Literal["absmax"],
        scale_rule: Literal["floor", "rceil", "ceil", "even"],
        four_thirds: bool,
        group_size: int,
        statistics: Literal["dense", "kept"],
    ) -> None:
        owner = "microscaling quantizer"
        numbers = FloatGrid(exponent, mantissa, reserve)
        super().__init__(owner, numbers, group_size, scale, statistics)
        if scale_rule not in RULES:
            raise UsageError(
                f"{owner} scale_rule: got {scale_rule!r}, allowed are "
                f"{', '.join(map(repr, RULES))}; choose one of them"
            )
        if four_thirds and scale_rule != "floor":
            raise UsageError(
                f"{owner} four_thirds: got true under scale_rule {scale_rule!r}, allowed is it "
                "under 'floor' alone, whose saturation it removes; change one of them"
            )
        self.scale_rule = scale_rule
        self.four_thirds = four_thirds

    def _scale(self, largest: Tensor) -> Tensor:
        """The power of two of each block, from the bits of its largest magnitude."""
        if self.scale_rule == "rceil":
            largest = largest / self.numbers.largest
        bits = largest.view(torch.int32)
        if self.scale_rule == "even":
            bits = bits + (1 << (FRACTION_BITS - self.numbers.mantissa_bits - 1))
        exponent = bits >> FRACTION_BITS
        if self.scale_rule in ("rceil", "ceil"):
            exponent = exponent + ((bits & FRACTION) > 0)
        if self.scale_rule != "rceil":
            exponent = exponent - self.numbers.largest_exponent
        scale = (exponent.clamp(1, 2 * BIAS) << FRACTION_BITS).view(torch.float32)
        scale = torch.where(largest.isnan(), largest, scale)
        return scale * (4.0 / 3.0) if self.four_thirds else scale

    def quantize(self, blocks: Tensor, support: Tensor | None) -> tuple[Tensor, Tensor]:
        """The nearest element times the scale; the scale."""
        scale = self._scale(self.scaling.absmax(blocks, support))
        return self.numbers.round(blocks / scale, None).mul_(scale), scale

    def extra_repr(self) -> str:
        """The arguments."""
        numbers = self.numbers
        return (
            f"e{numbers.exponent_bits}m{numbers.mantissa_bits}, reserve={numbers.reserve}, "
            f"scale_rule={self.scale_rule}, four_thirds={self.four_thirds}, "
            f"group_size={self.group_size}, statistics={self.scaling.statistics}"
        )
