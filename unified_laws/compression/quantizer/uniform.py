"""The uniform mid-rise grid of QuEST."""

from __future__ import annotations

from typing import Unpack, final

import numpy as np
from torch import Tensor

from unified_laws.compression.gaussian import optimal_clip
from unified_laws.compression.quantizer.grid import OTHERWISE, GridQuantizer, check_bits
from unified_laws.compression.scaling import ScaleKeys, Scaling


@final
class UniformQuantizer(GridQuantizer):
    """2^bits equidistant levels ±step/2, ±3·step/2, … ±limit, without zero.

    QuEST (arXiv:2502.05003): limit = alpha*(bits)·RMS with alpha* the best clip for N(0,1),
    step = 2·limit/(2^bits - 1), ties to even. The scale carries no gradient.

    Args:
        bits: 1 to 8.
        scale: "rms" (limit = alpha*·RMS), "absmax", "mse" or "static"; it and the other keys of
            `ScaleKeys` say what shares a scale and how it is found, see `Scaling`.

    Raises:
        UsageError: an argument outside its range.

    Note:
        QuEST adds 1e-8 to the limit; here nothing is added, so that C(2x) = 2·C(x) exactly, and a
        row of zeros stays a row of zeros. arXiv:2506.01863 speaks of static scales where the QuEST
        code recomputes them at every call; so does this one, unless the scale is "static".
    """

    def __init__(self, bits: int, **scale: Unpack[ScaleKeys]) -> None:
        owner = "uniform quantizer"
        self.levels = 2 ** check_bits(owner, bits, 1, OTHERWISE)
        grid = np.arange(self.levels) - (self.levels - 1) / 2
        super().__init__(Scaling.of(owner, scale), grid, optimal_clip(bits))
        self._bits = bits

    def nearest(self, z: Tensor) -> Tensor:
        """The nearest odd multiple of one half."""
        half = self.levels // 2
        return z.add_(0.5).round_().clamp_(1 - half, half).sub_(0.5)

    @property
    def bits(self) -> float:
        """The bits of an index."""
        return float(self._bits)
