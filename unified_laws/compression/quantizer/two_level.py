"""NVIDIA's block formats: an FP8 scale per block under a float scale per tensor."""

from __future__ import annotations

from typing import Literal, final

import torch
from torch import Tensor

from unified_laws.compression.float_grid import FloatGrid
from unified_laws.compression.quantizer.block import BlockQuantizer
from unified_laws.errors import UsageError

SCALES = FloatGrid(4, 3, "nan")  # OCP e4m3
LEAST_SCALE = 2.0**SCALES.smallest_exponent  # torchao leaves the subnormal scales unused
FOUR_OVER_SIX = 6.0 / 4.0
# Quartet II: block scales up to 256 and not 448, so that 6/4 of the largest still fits in e4m3
HEADROOM = 256.0
LEAST_NORMAL = torch.finfo(torch.float32).tiny
GREATEST = torch.finfo(torch.float32).max


@final
class TwoLevelQuantizer(BlockQuantizer):
    """Four-bit elements under an e4m3 scale per block of 16 and a float32 scale per tensor.

    NVFP4 is e2m1, NVINT4 e1m2 (15 equidistant levels). With a the largest magnitude of a block, A
    of the tensor and m the largest element: S = A/(448·m), s = e4m3(a/m/S), x̂ = round(x/(s·S))·s·S.
    Bit for bit as torchao; s is not below 2^-6.

    Args:
        exponent: exponent bits of an element.
        mantissa: mantissa bits of an element.
        scale: "absmax".
        four_over_six: whether each block also tries 6/4 of its scale, so that its largest becomes 4
            and not 6, and takes what errs less (Quartet II, arXiv:2601.22813).
        group_size: values of a block.
        statistics: "dense" or "kept".

    Raises:
        UsageError: an argument outside its range, or four over six without a 4 and a 6.

    Note:
        The tensor scale covers all the operand: of an activation, every token of the batch. NaN or
        infinity anywhere makes the operand NaN. C(2x) = 2·C(x) exactly where S is a normal float32;
        where it is not, the operand becomes zero.
    """

    def __init__(
        self,
        exponent: int,
        mantissa: int,
        scale: Literal["absmax"],
        four_over_six: bool,
        group_size: int,
        statistics: Literal["dense", "kept"],
    ) -> None:
        owner = "two_level quantizer"
        numbers = FloatGrid(exponent, mantissa, "none")
        super().__init__(owner, numbers, group_size, scale, statistics)
        if four_over_six and (exponent, mantissa) != (2, 1):
            raise UsageError(
                f"{owner} four_over_six: got true for e{exponent}m{mantissa}, allowed is e2m1, "
                "whose largest numbers are 4 and 6; set four_over_six to false"
            )
        self.four_over_six = four_over_six

    def _with(self, blocks: Tensor, wanted: Tensor, tensor: Tensor) -> tuple[Tensor, Tensor]:
        """The projection under block scales near `wanted`, in units of the tensor's, and theirs."""
        scale = SCALES.round(wanted.clamp(min=LEAST_SCALE), None)
        # The order of the divisions is torchao's; the bounds act below normal float32 alone.
        inverse = torch.where(tensor >= LEAST_NORMAL, 1.0 / tensor, 0.0) / scale
        scale = tensor * scale
        return self.numbers.round(blocks * inverse.clamp(max=GREATEST), None).mul_(scale), scale

    def quantize(self, blocks: Tensor, support: Tensor | None) -> tuple[Tensor, Tensor]:
        """The nearest element times both scales; the product of the scales."""
        largest = self.scaling.absmax(blocks, support)
        top = HEADROOM if self.four_over_six else SCALES.largest
        tensor = largest.amax() / (top * self.numbers.largest)
        wanted = largest / self.numbers.largest / torch.where(tensor > 0, tensor, 1.0)
        value, scale = self._with(blocks, wanted, tensor)
        if not self.four_over_six:
            return value, scale
        other, wider = self._with(blocks, wanted * FOUR_OVER_SIX, tensor)
        error = [
            self.scaling.counted(tried - blocks, support).square_().sum(-1, keepdim=True)
            for tried in (value, other)
        ]
        better = error[1] < error[0]
        return torch.where(better, other, value), torch.where(better, wider, scale)

    def extra_repr(self) -> str:
        """The arguments."""
        numbers = self.numbers
        return (
            f"e{numbers.exponent_bits}m{numbers.mantissa_bits}, "
            f"four_over_six={self.four_over_six}, group_size={self.group_size}, "
            f"statistics={self.scaling.statistics}"
        )
