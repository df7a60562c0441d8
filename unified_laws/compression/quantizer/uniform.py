"""The uniform mid-rise grid of QuEST."""

from __future__ import annotations

from typing import Literal, final

import numpy as np
import torch
from torch import Tensor

from unified_laws.compression.gaussian import Array, Spread, mid_rise_levels, optimal_clip
from unified_laws.compression.projection import Projection
from unified_laws.compression.quantizer.base import Quantizer
from unified_laws.errors import UsageError


@final
class UniformQuantizer(Quantizer):
    """2^bits equidistant levels ±step/2, ±3·step/2, … ±limit, without zero.

    QuEST (arXiv:2502.05003): limit = alpha*(bits)·RMS with alpha* the best clip for N(0,1),
    step = 2·limit/(2^bits - 1), ties to even. The scale carries no gradient.

    Args:
        bits: 1 to 8.
        scale: "rms" (limit = alpha*·RMS) or "absmax" (limit = largest magnitude).
        scope: what shares a scale: "row" (each vector of the last dimension: an output row of a
            weight, a token of an activation) or "tensor".
        statistics: the values that set the scale: "dense" (before pruning), "masked" (after, zeros
            included) or "kept" (the kept alone). Without sparsity they are the same; "masked" and
            "kept" give one absmax.

    Raises:
        UsageError: an argument outside its range.

    Note:
        QuEST adds 1e-8 to the limit; here nothing is added, so that C(2x) = 2·C(x) exactly, and a
        row of zeros stays a row of zeros. arXiv:2506.01863 speaks of static scales where the QuEST
        code recomputes them at every call; so does this one.
    """

    def __init__(
        self,
        bits: int,
        scale: Literal["rms", "absmax"],
        scope: Literal["row", "tensor"],
        statistics: Literal["dense", "masked", "kept"],
    ) -> None:
        super().__init__()
        if not isinstance(bits, int) or isinstance(bits, bool) or not 1 <= bits <= 8:
            raise UsageError(
                f"uniform quantizer bits: got {bits!r}, allowed are whole numbers from 1 to 8; "
                "for no quantization take the identity quantizer"
            )
        for name, got, allowed in (
            ("scale", scale, ("rms", "absmax")),
            ("scope", scope, ("row", "tensor")),
            ("statistics", statistics, ("dense", "masked", "kept")),
        ):
            if got not in allowed:
                raise UsageError(
                    f"uniform quantizer {name}: got {got!r}, allowed are "
                    f"{', '.join(map(repr, allowed))}; choose one of them"
                )
        self._bits = bits
        self.levels = 2**bits
        self.scale = scale
        self.scope = scope
        self.statistics = statistics
        self.clip = optimal_clip(bits) if scale == "rms" else 1.0

    def _limit(self, y: Tensor, support: Tensor | None) -> Tensor:
        """The outermost level of each scope, float32 and broadcastable to `y`."""
        dims = [-1] if self.scope == "row" else list(range(y.dim()))
        if support is not None and self.statistics != "dense":
            y = torch.where(support, y, 0.0)
        if self.scale == "absmax":
            return y.abs().amax(dims, keepdim=True)
        if support is not None and self.statistics == "kept":
            count = support.sum(dims, keepdim=True).clamp(min=1)
            return self.clip * (y.square().sum(dims, keepdim=True) / count).sqrt()
        return self.clip * y.square().mean(dims, keepdim=True).sqrt()

    def project(self, y: Tensor, support: Tensor | None) -> Projection:
        """The nearest level of each kept value; zero elsewhere. Computed in float32."""
        wide = y.float()
        limit = self._limit(wide, support)
        step = limit * (2.0 / (self.levels - 1))
        divisor = torch.where(step > 0, step, 1.0)  # a scope of zeros has step 0 and value 0
        half = self.levels // 2
        index = (wide / divisor + 0.5).round_().clamp_(1 - half, half)
        value = index.sub_(0.5).mul_(step).to(y.dtype)
        if support is not None:
            value = torch.where(support, value, 0.0)
        return Projection(value=value, limit=limit, reach=limit + 0.5 * step)

    @property
    def is_identity(self) -> bool:
        """False."""
        return False

    @property
    def bits(self) -> float:
        """The bits of an index."""
        return float(self._bits)

    def scale_bits(self, in_features: int) -> float:  # noqa: ARG002
        """16 (bf16) for a scale per row, nothing for one per tensor."""
        return 16.0 if self.scope == "row" else 0.0

    def _gaussian_limit(self, spread: Spread) -> float:
        return self.clip * float(getattr(spread, self.statistics))

    def gaussian_values(self, y: Array, spread: Spread) -> Array | None:
        """The nearest level; None for absmax, whose scale grows with the number of values."""
        if self.scale == "absmax":
            return None
        step = 2.0 * self._gaussian_limit(spread) / (self.levels - 1)
        half = self.levels // 2
        index = np.clip(np.round(y / step + 0.5), 1 - half, half)
        return np.asarray((index - 0.5) * step, dtype=np.float64)

    def gaussian_edges(self, spread: Spread) -> tuple[float, ...] | None:
        """Midpoints of neighbouring levels; None for absmax."""
        if self.scale == "absmax":
            return None
        levels = mid_rise_levels(self._gaussian_limit(spread), self.levels)
        return tuple(float(edge) for edge in (levels[1:] + levels[:-1]) / 2)

    def bind(self, in_features: int) -> UniformQuantizer:  # noqa: ARG002
        """Itself: every width will do."""
        return self

    def extra_repr(self) -> str:
        """The arguments."""
        return (
            f"bits={self._bits}, scale={self.scale}, scope={self.scope}, "
            f"statistics={self.statistics}"
        )
