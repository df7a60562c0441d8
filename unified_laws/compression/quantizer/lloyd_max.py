"""The grid of least error on N(0,1)."""

from __future__ import annotations

from typing import Literal, final

import numpy as np
from torch import Tensor

from unified_laws.compression.nearest_level import NearestLevel
from unified_laws.compression.optimal_grid import lloyd_max_levels
from unified_laws.compression.quantizer.grid import GridQuantizer
from unified_laws.compression.scaling import Scaling
from unified_laws.errors import UsageError


@final
class LloydMaxQuantizer(GridQuantizer):
    """2^bits levels of least squared error on N(0,1), without zero (Max 1960, Lloyd 1982).

    Args:
        bits: 1 to 8.
        scale: "rms" (levels times the RMS), "absmax" (outermost level = largest magnitude), "mse"
            or "static"; see `Scaling` for this and for what follows.
        scope: "row" or "tensor".
        group_size: values of a row that share a scale; None for all.
        statistics: "dense", "masked" or "kept".
        rms: of the scale "static"; None otherwise.
        search_steps: of the scale "mse"; None otherwise.
        search_floor: of the scale "mse"; None otherwise.

    Raises:
        UsageError: an argument outside its range.

    Note:
        The cells are not equally wide; `reach` is half the last step beyond the outermost level.
    """

    def __init__(
        self,
        bits: int,
        scale: Literal["rms", "absmax", "mse", "static"],
        scope: Literal["row", "tensor"],
        group_size: int | None,
        statistics: Literal["dense", "masked", "kept"],
        rms: float | None,
        search_steps: int | None,
        search_floor: float | None,
    ) -> None:
        if not isinstance(bits, int) or isinstance(bits, bool) or not 1 <= bits <= 8:
            raise UsageError(
                f"lloyd_max quantizer bits: got {bits!r}, allowed are whole numbers from 1 to 8; "
                "for no quantization take the identity quantizer"
            )
        scaling = Scaling(
            owner="lloyd_max quantizer",
            rule=scale,
            scope=scope,
            group_size=group_size,
            statistics=statistics,
            rms=rms,
            search_steps=search_steps,
            search_floor=search_floor,
        )
        grid = np.asarray(lloyd_max_levels(bits), dtype=np.float64)
        super().__init__(scaling, grid, float(grid[-1]))
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
