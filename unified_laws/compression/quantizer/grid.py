"""What quantizers on one symmetric grid of levels have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from unified_laws.compression.gaussian import Array, Spread
from unified_laws.compression.projection import Projection, zero_off
from unified_laws.compression.quantizer.base import Quantizer
from unified_laws.compression.scaling import Scaling
from unified_laws.compression.stage import Stage
from unified_laws.errors import UsageError

PART = 2**18  # values that are searched for together on a CPU, 1 MiB in float32
OTHERWISE = "for no quantization take the identity quantizer"


def check_bits(owner: str, bits: int, lowest: int, otherwise: str) -> int:
    """`bits` itself.

    Raises:
        UsageError: it is no whole number from `lowest` to 8; the text ends with `otherwise`.
    """
    if not isinstance(bits, int) or isinstance(bits, bool) or not lowest <= bits <= 8:
        raise UsageError(
            f"{owner} bits: got {bits!r}, allowed are whole numbers from {lowest} to 8; {otherwise}"
        )
    return bits


class GridQuantizer(Quantizer):
    """Rounds y/unit to a fixed grid; unit·(outermost level) is the limit that `scaling` finds.

    A scope of zeros stays zero, NaN stays visible, nothing is added to a scale.

    Args:
        scaling: how the limit is found.
        grid: ascending symmetric levels in units.
        clip: the best limit for N(0,1), in units of the RMS.
    """

    def __init__(self, scaling: Scaling, grid: Array, clip: float) -> None:
        super().__init__()
        self.scaling = scaling
        self.grid = grid
        self.scale = scaling.rule
        self.scope = scaling.scope
        self.statistics = scaling.statistics
        self.group_size = scaling.group_size
        self.clip = clip if scaling.rule in ("rms", "static") else 1.0
        self._top = float(grid[-1])
        self._margin = float(grid[-1] - grid[-2]) / 2

    @abstractmethod
    def nearest(self, z: Tensor) -> Tensor:
        """The level nearest to each value of `z` (float32, in units); may overwrite `z`."""

    def _round(self, wide: Tensor, limit: Tensor) -> Tensor:
        unit = limit * (1.0 / self._top)
        divisor = torch.where(unit > 0, unit, 1.0)  # a scope of zeros has unit 0 and value 0
        return self.nearest(wide / divisor).mul_(unit)

    def _limit(self, wide: Tensor, support: Tensor | None) -> Tensor:
        """The outermost level of each scope, float32 and broadcastable to split `wide`."""
        if self.scaling.rule == "static":
            assert self.scaling.rms is not None
            return wide.new_full([1] * wide.dim(), self.clip * self.scaling.rms)
        if self.scaling.rule == "rms":
            return self.clip * self.scaling.root_mean_square(wide, support)
        largest = self.scaling.absmax(wide, support)
        if self.scaling.rule == "absmax":
            return largest
        return self._search(wide, support, largest)

    def _search(self, wide: Tensor, support: Tensor | None, largest: Tensor) -> Tensor:
        """The shrunk limit of least squared error; of equals the widest.

        On a CPU rows are taken in parts: the trials repeat in the cache of a core, twice as fast.
        """
        parts = wide.numel() // PART
        if self.scope == "row" and wide.is_cpu and parts > 1 and not torch.compiler.is_compiling():
            rows = [tensor.flatten(0, -2).chunk(parts) for tensor in (wide, largest)]
            kept = [None] * parts if support is None else support.flatten(0, -2).chunk(parts)
            found = map(self._search_rows, rows[0], kept, rows[1])
            return torch.cat(list(found)).view(largest.shape)
        return self._search_rows(wide, support, largest)

    def _search_rows(self, wide: Tensor, support: Tensor | None, largest: Tensor) -> Tensor:
        assert self.scaling.search_steps is not None
        assert self.scaling.search_floor is not None
        best, limit = torch.full_like(largest, torch.inf), largest
        for factor in np.linspace(1.0, self.scaling.search_floor, self.scaling.search_steps):
            tried = largest * float(factor)
            error = self._round(wide, tried).sub_(wide)
            error = self.scaling.counted(error, support).square_()
            total = error.sum(self.scaling.dims(error), keepdim=True)
            limit = torch.where(total < best, tried, limit)
            best = torch.minimum(total, best)
        return limit

    def project(self, y: Tensor, support: Tensor | None) -> Projection:
        """The nearest level of each kept value; zero elsewhere. Computed in float32."""
        wide = self.scaling.split(y.float())
        kept = None if support is None else self.scaling.split(support)
        limit = self._limit(wide, kept)
        value = self.scaling.join(self._round(wide, limit)).to(y.dtype)
        reach = limit + self._margin * (limit * (1.0 / self._top))
        spread = self.scaling.spread
        return Projection(value=zero_off(value, support), limit=spread(limit), reach=spread(reach))

    def check(self, stages: Mapping[str, Stage]) -> None:
        """Refuse statistics that would change nothing."""
        self.scaling.check_sparsity(stages)

    @property
    def is_identity(self) -> bool:
        """False."""
        return False

    def scale_bits(self, in_features: int) -> float:
        """16 (bf16) for each scale of a row, nothing for one per tensor."""
        return self.scaling.scale_bits(in_features)

    def _gaussian_levels(self, spread: Spread) -> Array | None:
        if not self.scaling.converges:
            return None
        rms = self.scaling.rms or float(getattr(spread, self.scaling.statistics))
        return np.asarray(self.grid * (self.clip * rms / self._top), dtype=np.float64)

    def gaussian_values(self, y: Array, spread: Spread) -> Array | None:
        """The nearest level; None where the scale depends on how many values share it."""
        levels = self._gaussian_levels(spread)
        if levels is None:
            return None
        return np.asarray(levels[np.searchsorted((levels[1:] + levels[:-1]) / 2, y)])

    def gaussian_edges(self, spread: Spread) -> tuple[float, ...] | None:
        """Midpoints of neighbouring levels; None together with the values."""
        levels = self._gaussian_levels(spread)
        if levels is None:
            return None
        return tuple(float(edge) for edge in (levels[1:] + levels[:-1]) / 2)

    def bind(self, in_features: int) -> GridQuantizer:
        """Itself.

        Raises:
            UsageError: the groups do not divide `in_features`.
        """
        self.scaling.check(in_features)
        return self

    def extra_repr(self) -> str:
        """The arguments."""
        return (
            f"bits={self.bits:g}, scale={self.scale}, scope={self.scope}, "
            f"group_size={self.group_size}, statistics={self.statistics}"
        )
