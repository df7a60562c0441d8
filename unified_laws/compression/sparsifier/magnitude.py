"""Unstructured magnitude pruning."""

from __future__ import annotations

from math import log2
from typing import Literal, final

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import ndtri
from torch import Tensor

from unified_laws.compression.kth_value import kth_value
from unified_laws.compression.sparsifier.base import Sparsifier
from unified_laws.errors import UsageError


@final
class Magnitude(Sparsifier):
    """Keeps the round((1 - sparsity)·n) largest magnitudes of n values, and their ties.

    arXiv:2506.01863 §5.2: top-k by magnitude in each layer, recomputed at every step. The threshold
    T_k is the smallest kept magnitude, and |y| >= T_k is kept.

    Args:
        sparsity: fraction pruned, in (0, 1).
        scope: "tensor" (one threshold for the operand) or "row" (one for each vector of the last
            dimension).

    Raises:
        UsageError: the sparsity is not a fraction, or the scope is unknown.
    """

    def __init__(self, sparsity: float, scope: Literal["tensor", "row"]) -> None:
        super().__init__()
        if not 0.0 < sparsity < 1.0:
            hint = (
                f"write {sparsity / 100:g} for {sparsity:g} %"
                if 1.0 < sparsity < 100.0
                else "for no sparsity take the dense sparsifier"
            )
            raise UsageError(
                f"magnitude sparsity: got {sparsity:g}, allowed is a fraction strictly between "
                f"0 and 1; {hint}"
            )
        if scope not in ("tensor", "row"):
            raise UsageError(
                f"magnitude scope: got {scope!r}, allowed are 'tensor' and 'row'; take 'tensor' "
                "for one threshold per layer"
            )
        self.sparsity = float(sparsity)
        self.scope: Literal["tensor", "row"] = scope

    def support(self, y: Tensor) -> Tensor | None:
        """True where |y| reaches the threshold of its scope."""
        magnitude = y.abs()
        total = y.shape[-1] if self.scope == "row" else y.numel()
        kept = round((1.0 - self.sparsity) * total)
        if kept == 0:
            return torch.zeros_like(y, dtype=torch.bool)
        flat = magnitude if self.scope == "row" else magnitude.reshape(-1)
        return magnitude >= kth_value(flat, total - kept + 1)

    @property
    def is_identity(self) -> bool:
        """False."""
        return False

    @property
    def kept_fraction(self) -> float:
        """1 - sparsity."""
        return 1.0 - self.sparsity

    @property
    def mask_entropy_bits(self) -> float:
        """The entropy of one pruned-or-kept bit, H2(sparsity)."""
        s = self.sparsity
        return -s * log2(s) - (1.0 - s) * log2(1.0 - s)

    def keep_probability(self, magnitude: NDArray[np.float64]) -> NDArray[np.float64] | None:
        """A step at the quantile of |N(0,1)|."""
        return (magnitude >= self.breakpoints[0]).astype(np.float64)

    @property
    def by_rank(self) -> bool:
        """True."""
        return True

    @property
    def breakpoints(self) -> tuple[float, ...]:
        """The threshold Φ⁻¹((1 + sparsity)/2)."""
        return (float(ndtri(0.5 + self.sparsity / 2)),)

    @property
    def threshold_scope(self) -> Literal["tensor", "row"] | None:
        """Its scope."""
        return self.scope

    def bind(self, in_features: int) -> Magnitude:  # noqa: ARG002
        """Itself: every width will do."""
        return self

    def extra_repr(self) -> str:
        """The arguments."""
        return f"sparsity={self.sparsity}, scope={self.scope}"
