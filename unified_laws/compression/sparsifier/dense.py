"""Everything is kept."""

from __future__ import annotations

from typing import final

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from unified_laws.compression.sparsifier.base import Sparsifier


@final
class Dense(Sparsifier):
    """No sparsity."""

    def support(self, y: Tensor) -> Tensor | None:  # noqa: ARG002
        """None: everything is kept."""
        return None

    @property
    def is_identity(self) -> bool:
        """True."""
        return True

    @property
    def kept_fraction(self) -> float:
        """1."""
        return 1.0

    @property
    def mask_entropy_bits(self) -> float:
        """0: there is no mask to store."""
        return 0.0

    def keep_probability(self, magnitude: NDArray[np.float64]) -> NDArray[np.float64] | None:
        """1 everywhere."""
        return np.ones_like(magnitude)

    @property
    def by_rank(self) -> bool:
        """True."""
        return True

    @property
    def breakpoints(self) -> tuple[float, ...]:
        """None."""
        return ()

    def bind(self, in_features: int) -> Dense:  # noqa: ARG002
        """Itself: every width will do."""
        return self
