"""The grid of least error on N(0,1)."""

from __future__ import annotations

from typing import Unpack, final

import numpy as np
from torch import Tensor

from unified_laws.compression.nearest_level import NearestLevel
from unified_laws.compression.optimal_grid import lloyd_max_levels
from unified_laws.compression.quantizer.grid import OTHERWISE, GridQuantizer, check_bits
from unified_laws.compression.scaling import ScaleKeys, Scaling


@final
class LloydMaxQuantizer(GridQuantizer):
    """2^bits levels of least squared error on N(0,1), without zero (Max 1960, Lloyd 1982).

    Args:
        bits: 1 to 8.
        scale: "rms" (levels times the RMS), "absmax" (outermost level = largest magnitude), "mse"
            or "static"; it and the other keys of `ScaleKeys` say what shares a scale and how it is
            found, see `Scaling`.

    Raises:
        UsageError: an argument outside its range.

    Note:
        The cells are not equally wide; `reach` is half the last step beyond the outermost level.
    """

    def __init__(self, bits: int, **scale: Unpack[ScaleKeys]) -> None:
        owner = "lloyd_max quantizer"
        grid = np.asarray(lloyd_max_levels(check_bits(owner, bits, 1, OTHERWISE)), dtype=np.float64)
        super().__init__(Scaling.of(owner, scale), grid, float(grid[-1]))
        self._bits = bits
        self._nearest = NearestLevel(grid)

    def nearest(self, z: Tensor) -> Tensor:
        """The level of the cell of each value; an edge belongs to the cell below."""
        return self._nearest(z)

    @property
    def kind(self) -> str:
        """Nonuniform."""
        return "nonuniform"

    @property
    def bits(self) -> float:
        """The bits of an index."""
        return float(self._bits)
