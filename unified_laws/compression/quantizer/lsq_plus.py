"""LSQ+: the uniform grid with a trained step and a trained offset."""

from __future__ import annotations

from typing import Literal, final

import numpy as np
import torch
from torch import Tensor

from unified_laws.compression.gaussian import Array, Spread, mid_rise_levels, optimal_clip
from unified_laws.compression.quantizer.learned import LearnedQuantizer, check_choice, kept_mean


@final
class LsqPlus(LearnedQuantizer):
    """LSQ on levels index·step + offset (Bhalgat et al., arXiv:2004.09576 eqs. 2 to 6).

    The derivative by the offset is 0 between the outermost levels and 1 beyond them.

    Args:
        bits: 1 to 8.
        init: "gaussian" (the best mid-rise grid for N(mean, variance)) or "minmax" (the paper's,
            for activations: the outermost levels are the smallest and the largest value).

    Raises:
        UsageError: an argument outside its range.
    """

    def __init__(self, bits: int, init: Literal["gaussian", "minmax"]) -> None:
        check_choice("LSQ+ quantizer", bits, 1, init, ("gaussian", "minmax"))
        super().__init__(bits, low=-(2 ** (bits - 1)), high=2 ** (bits - 1) - 1, shifts=True)
        self.init = init
        self.clip = optimal_clip(bits)
        self.count = 2**bits

    def start(self, y: Tensor, support: Tensor | None) -> tuple[Tensor, Tensor]:
        """Step and offset of a grid from the lowest to the highest level, of the kept values."""
        if self.init == "minmax":
            kept = y if support is None else torch.where(support, y, torch.inf)
            bottom = kept.amin()
            kept = y if support is None else torch.where(support, y, -torch.inf)
            top = kept.amax()
            none = bottom > top  # nothing is kept
            bottom, top = torch.where(none, 0.0, bottom), torch.where(none, 0.0, top)
        else:
            mean = kept_mean(y, support)
            half = self.clip * kept_mean((y - mean).square(), support).sqrt()
            bottom, top = mean - half, mean + half
        step = (top - bottom) / (self.count - 1)
        return step, bottom - self.low * step

    def slope(self, position: Tensor, index: Tensor, inside: Tensor) -> Tensor:
        """The rounding error inside, the index outside."""
        return torch.where(inside, index - position, index)

    def _gaussian_levels(self, spread: Spread) -> Array | None:
        if self.init == "minmax":
            return None
        return np.asarray(mid_rise_levels(self.clip * spread.kept, self.count), dtype=np.float64)
