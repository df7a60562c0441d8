"""The interface of a choice of the values to keep."""

from __future__ import annotations

from abc import abstractmethod
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from unified_laws.compression.stage import Stage


class Sparsifier(Stage):
    """Chooses the values of an operand that are kept; the others become exactly zero."""

    @abstractmethod
    def support(self, y: Tensor) -> Tensor | None:
        """Boolean tensor of the shape of `y`, True = kept; None when everything is kept."""

    @property
    @abstractmethod
    def kept_fraction(self) -> float:
        """Kept values per value."""

    @property
    @abstractmethod
    def mask_entropy_bits(self) -> float:
        """Bits per value that an ideal code needs to store the support."""

    @abstractmethod
    def keep_probability(self, magnitude: NDArray[np.float64]) -> NDArray[np.float64] | None:
        """P(kept | |x| = magnitude) for x ~ N(0,1) in a large tensor; None if unknown."""

    @property
    def by_rank(self) -> bool:
        """Whether `keep_probability` depends on P(|x| <= magnitude) alone.

        Then it holds for every distribution, read at the magnitude of the same rank under N(0,1).
        """
        return False

    @property
    @abstractmethod
    def breakpoints(self) -> tuple[float, ...]:
        """Positive magnitudes at which `keep_probability` jumps."""

    @property
    def threshold_scope(self) -> Literal["tensor", "row"] | None:
        """What shares a threshold T_k with kept = (|y| >= T_k); None if nothing does."""
        return None

    @abstractmethod
    def bind(self, in_features: int) -> Sparsifier:
        """The same choice for rows of `in_features` values."""
