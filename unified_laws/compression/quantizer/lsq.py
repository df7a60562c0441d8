"""LSQ: the uniform grid with a trained step."""

from __future__ import annotations

from math import sqrt
from typing import Literal, final

import numpy as np
import torch
from torch import Tensor

from unified_laws.compression.gaussian import Array, Spread
from unified_laws.compression.optimal_grid import optimal_limit
from unified_laws.compression.quantizer.learned import LearnedQuantizer, check_choice, kept_mean

OCTAVES = 4  # limits of one half to eight RMS hold the best one of every width


@final
class Lsq(LearnedQuantizer):
    """Levels -2^(bits-1)·step, …, 0, …, (2^(bits-1) - 1)·step (Esser et al., arXiv:1902.08153).

    The derivative by the step is round(v) - v with v = y/step between the outermost levels (eq. 3),
    and the index of the outermost level beyond them.

    Args:
        bits: 2 to 8.
        init: the first step: "gaussian" (of least error for N(0,1), times the RMS) or "mean" (the
            paper's 2·mean|y|/√(2^(bits-1) - 1), whose error at 4 bits is 2.6 times as large).

    Raises:
        UsageError: an argument outside its range.
    """

    def __init__(self, bits: int, init: Literal["gaussian", "mean"]) -> None:
        check_choice("LSQ quantizer", bits, 2, init, ("gaussian", "mean"))
        super().__init__(bits, low=-(2 ** (bits - 1)), high=2 ** (bits - 1) - 1, shifts=False)
        self.init = init
        self.indices = np.arange(self.low, self.high + 1, dtype=np.float64)
        self.ratio = optimal_limit(tuple(self.indices.tolist()), OCTAVES) / self.high

    def start(self, y: Tensor, support: Tensor | None) -> tuple[Tensor, Tensor]:
        """A multiple of the RMS or of the mean magnitude of the kept values; no offset."""
        if self.init == "mean":
            step = 2.0 / sqrt(self.high) * kept_mean(y.abs(), support)
        else:
            step = self.ratio * kept_mean(y.square(), support).sqrt()
        return step, torch.zeros_like(step)

    def slope(self, position: Tensor, index: Tensor, inside: Tensor) -> Tensor:
        """The rounding error inside, the index outside."""
        return torch.where(inside, index - position, index)

    def _gaussian_levels(self, spread: Spread) -> Array | None:
        if self.init == "mean":
            return None
        return np.asarray(self.indices * self.ratio * spread.kept, dtype=np.float64)
