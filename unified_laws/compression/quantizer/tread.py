"""The uniform mid-tread grid: symmetric, with a zero."""

from __future__ import annotations

from math import log2
from typing import Unpack, final

import numpy as np
from torch import Tensor

from unified_laws.compression.optimal_grid import optimal_limit
from unified_laws.compression.quantizer.grid import GridQuantizer, check_bits
from unified_laws.compression.scaling import ScaleKeys, Scaling

OCTAVES = 4  # limits of one half to eight RMS hold the best one of every width


@final
class TreadQuantizer(GridQuantizer):
    """2^bits - 1 equidistant levels 0, ±step, … ±limit; two bits are ternary.

    The symmetric integers of hardware with the most negative code unused. Ties to even.

    Args:
        bits: 2 to 8.
        packed: whether storage is counted at log2(2^bits - 1) bits (trits: 1.585) or at `bits`.
        scale: "rms" (the best limit for N(0,1), times the RMS), "absmax", "mse" or "static"; it
            and the other keys of `ScaleKeys` say what shares a scale and how it is found, see
            `Scaling`.

    Raises:
        UsageError: an argument outside its range.
    """

    def __init__(self, bits: int, packed: bool, **scale: Unpack[ScaleKeys]) -> None:
        owner = "tread quantizer"
        check_bits(owner, bits, 2, "for one bit take the uniform quantizer, which has no zero")
        self.levels = 2**bits - 1
        top = self.levels // 2
        grid = np.arange(-top, top + 1, dtype=np.float64)
        limit = optimal_limit(tuple(grid.tolist()), OCTAVES)
        super().__init__(Scaling.of(owner, scale), grid, limit)
        self._bits = log2(self.levels) if packed else float(bits)

    def nearest(self, z: Tensor) -> Tensor:
        """The nearest whole number within the grid."""
        top = self.levels // 2
        return z.round_().clamp_(-top, top)

    @property
    def bits(self) -> float:
        """The bits of an index, packed or not."""
        return self._bits
