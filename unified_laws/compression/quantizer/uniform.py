"""The uniform mid-rise grid of QuEST."""

from __future__ import annotations

from typing import Literal, final

import numpy as np
from torch import Tensor

from unified_laws.compression.gaussian import optimal_clip
from unified_laws.compression.quantizer.grid import GridQuantizer
from unified_laws.compression.scaling import Scaling
from unified_laws.errors import UsageError


@final
class UniformQuantizer(GridQuantizer):
    """2^bits equidistant levels ±step/2, ±3·step/2, … ±limit, without zero.

    QuEST (arXiv:2502.05003): limit = alpha*(bits)·RMS with alpha* the best clip for N(0,1),
    step = 2·limit/(2^bits - 1), ties to even. The scale carries no gradient.

    Args:
        bits: 1 to 8.
        scale: "rms" (limit = alpha*·RMS), "absmax", "mse" or "static"; see `Scaling` for this and
            for what follows.
        scope: "row" or "tensor".
        statistics: "dense", "masked" or "kept".
        group_size: values of a row that share a scale; None for all.
        rms: of the scale "static".
        search_steps: of the scale "mse".
        search_floor: of the scale "mse".

    Raises:
        UsageError: an argument outside its range.

    Note:
        QuEST adds 1e-8 to the limit; here nothing is added, so that C(2x) = 2·C(x) exactly, and a
        row of zeros stays a row of zeros. arXiv:2506.01863 speaks of static scales where the QuEST
        code recomputes them at every call; so does this one, unless the scale is "static".
    """

    def __init__(
        self,
        bits: int,
        scale: Literal["rms", "absmax", "mse", "static"],
        scope: Literal["row", "tensor"],
        statistics: Literal["dense", "masked", "kept"],
        group_size: int | None = None,
        rms: float | None = None,
        search_steps: int | None = None,
        search_floor: float | None = None,
    ) -> None:
        if not isinstance(bits, int) or isinstance(bits, bool) or not 1 <= bits <= 8:
            raise UsageError(
                f"uniform quantizer bits: got {bits!r}, allowed are whole numbers from 1 to 8; "
                "for no quantization take the identity quantizer"
            )
        scaling = Scaling(
            owner="uniform quantizer",
            rule=scale,
            scope=scope,
            group_size=group_size,
            statistics=statistics,
            rms=rms,
            search_steps=search_steps,
            search_floor=search_floor,
        )
        self.levels = 2**bits
        super().__init__(
            scaling, np.arange(self.levels) - (self.levels - 1) / 2, optimal_clip(bits)
        )
        self._bits = bits

    def nearest(self, z: Tensor) -> Tensor:
        """The nearest odd multiple of one half."""
        half = self.levels // 2
        return z.add_(0.5).round_().clamp_(1 - half, half).sub_(0.5)

    @property
    def bits(self) -> float:
        """The bits of an index."""
        return float(self._bits)
