"""The uniform mid-tread grid: symmetric, with a zero."""

from __future__ import annotations

from math import log2
from typing import Literal, final

import numpy as np
from torch import Tensor

from unified_laws.compression.optimal_grid import optimal_limit
from unified_laws.compression.quantizer.grid import GridQuantizer
from unified_laws.compression.scaling import Scaling
from unified_laws.errors import UsageError

OCTAVES = 4  # limits of one half to eight RMS hold the best one of every width


@final
class TreadQuantizer(GridQuantizer):
    """2^bits - 1 equidistant levels 0, ±step, … ±limit; two bits are ternary.

    The symmetric integers of hardware with the most negative code unused. Ties to even.

    Args:
        bits: 2 to 8.
        packed: whether storage is counted at log2(2^bits - 1) bits (trits: 1.585) or at `bits`.
        scale: "rms" (the best limit for N(0,1), times the RMS), "absmax", "mse" or "static"; see
            `Scaling` for this and for what follows.
        scope: "row" or "tensor".
        group_size: values of a row that share a scale; None for all.
        statistics: "dense", "masked" or "kept".
        rms: of the scale "static"; None otherwise.
        search_steps: of the scale "mse"; None otherwise.
        search_floor: of the scale "mse"; None otherwise.

    Raises:
        UsageError: an argument outside its range.
    """

    def __init__(
        self,
        bits: int,
        packed: bool,
        scale: Literal["rms", "absmax", "mse", "static"],
        scope: Literal["row", "tensor"],
        group_size: int | None,
        statistics: Literal["dense", "masked", "kept"],
        rms: float | None,
        search_steps: int | None,
        search_floor: float | None,
    ) -> None:
        if not isinstance(bits, int) or isinstance(bits, bool) or not 2 <= bits <= 8:
            raise UsageError(
                f"tread quantizer bits: got {bits!r}, allowed are whole numbers from 2 to 8; for "
                "one bit take the uniform quantizer, which has no zero"
            )
        scaling = Scaling(
            owner="tread quantizer",
            rule=scale,
            scope=scope,
            group_size=group_size,
            statistics=statistics,
            rms=rms,
            search_steps=search_steps,
            search_floor=search_floor,
        )
        self.levels = 2**bits - 1
        top = self.levels // 2
        grid = np.arange(-top, top + 1, dtype=np.float64)
        super().__init__(scaling, grid, optimal_limit(tuple(grid.tolist()), OCTAVES))
        self._bits = log2(self.levels) if packed else float(bits)

    def nearest(self, z: Tensor) -> Tensor:
        """The nearest whole number within the grid."""
        top = self.levels // 2
        return z.round_().clamp_(-top, top)

    @property
    def bits(self) -> float:
        """The bits of an index, packed or not."""
        return self._bits
