"""Vector quantization on a Gaussian-optimal codebook."""

from __future__ import annotations

from collections.abc import Mapping
from math import log2, sqrt
from typing import Literal, final

import numpy as np
import torch
from torch import Tensor

from unified_laws.compression.gaussian import Array, Spread
from unified_laws.compression.grids.codebook import codebook
from unified_laws.compression.grids.nearest import nearest_code
from unified_laws.compression.projection import Projection, zero_off
from unified_laws.compression.quantizer.base import Quantizer
from unified_laws.compression.scaling import Scaling
from unified_laws.compression.stage import Stage
from unified_laws.errors import UsageError


@final
class VectorQuantizer(Quantizer):
    """Each `dimension` consecutive values become the nearest of `codes` vectors, times a scale.

    proj_grid of arXiv:2506.01863 App. E, Algorithms 1 and 2, with the scale of HIGGS
    (arXiv:2411.17525): the RMS, so that what a Hadamard rotation leaves is close to N(0, I), for
    which the codebook was trained. HIGGS takes ‖w‖/√b of each Hadamard block of b values, which is
    the RMS of a group of b.

    Args:
        dimension: values per vector: 1, 2, 4 or 8.
        codes: vectors of the codebook; a shipped pair of dimension and codes.
        scope: what shares a scale: "row" or "tensor"; see `Scaling`.
        group_size: values of a row that share a scale, whole vectors; None for all.
        statistics: the values that set the scale: "dense", "masked" or "kept".

    Raises:
        UsageError: the codebook is not shipped, or an argument is outside its range.

    Note:
        The algorithms print w_h = HT(w), ŵ_h = proj(w_h), y = x·ŵ_hᵀ, and backward
        dw = IHT(M ⊙ dŵ_h): the weight is rotated and x is not, so the layer computes with a
        rotated weight and the parameter lives in the other basis. Both readings are transforms of
        the weight: hadamard with fold (as printed) or without (ŵ = IHT(ŵ_h), the default of the
        formats). M belongs to the gradient estimator `Sphere`.
    """

    def __init__(
        self,
        dimension: int,
        codes: int,
        scope: Literal["row", "tensor"],
        group_size: int | None,
        statistics: Literal["dense", "masked", "kept"],
    ) -> None:
        super().__init__()
        book = codebook(dimension, codes)
        self.scaling = Scaling(
            owner="vector quantizer",
            rule="rms",
            scope=scope,
            group_size=group_size,
            statistics=statistics,
            rms=None,
            search_steps=None,
            search_floor=None,
        )
        if group_size is not None and group_size % dimension:
            raise UsageError(
                f"vector quantizer group_size: got {group_size} in dimension {dimension}, allowed "
                f"are multiples of {dimension}, as a vector has one scale; choose one of them"
            )
        self.dimension = dimension
        self.codes = codes
        self._codes = book.codes
        # As QuEST's trust: the outermost code, and the RMS length of an error beyond.
        self.radius = float(book.codes.norm(dim=1).max()) + sqrt(dimension * book.mse)

    def check(self, stages: Mapping[str, Stage]) -> None:
        """Refuse statistics that would change nothing."""
        self.scaling.check_sparsity(stages)

    def project(self, y: Tensor, support: Tensor | None) -> Projection:
        """The nearest code of each vector after pruning; zero off the support. In float32."""
        wide = self.scaling.split(y.float())
        kept = None if support is None else self.scaling.split(support)
        scale = self.scaling.root_mean_square(wide, kept)
        if kept is not None:
            wide = wide * kept
        points = (wide / torch.where(scale > 0, scale, 1.0)).reshape(-1, self.dimension)
        codes = self._codes.to(points.device)
        value = codes.index_select(0, nearest_code(points, codes)).view(wide.shape) * scale
        value = zero_off(self.scaling.join(value).to(y.dtype), support)
        return Projection(value=value, limit=None, reach=None, points=points, radius=self.radius)

    @property
    def kind(self) -> str:
        """Vector."""
        return "vector"

    @property
    def has_levels(self) -> bool:
        """False: codes are vectors."""
        return False

    @property
    def is_identity(self) -> bool:
        """False."""
        return False

    @property
    def bits(self) -> float:
        """log2(codes)/dimension."""
        return log2(self.codes) / self.dimension

    def scale_bits(self, in_features: int) -> float:
        """16 (bf16) for each scale of a row, nothing for one per tensor."""
        return self.scaling.scale_bits(in_features)

    def _gaussian_levels(self, spread: Spread) -> Array | None:
        if self.dimension > 1 or not self.scaling.converges:
            return None
        levels = np.sort(self._codes[:, 0].double().numpy())
        return np.asarray(levels * float(getattr(spread, self.scaling.statistics)))

    def gaussian_values(self, y: Array, spread: Spread) -> Array | None:
        """The nearest level in dimension 1; None above, where values are not projected alone."""
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

    def bind(self, in_features: int) -> VectorQuantizer:
        """Itself.

        Raises:
            UsageError: rows of `in_features` are not whole vectors, or not whole groups.
        """
        if in_features % self.dimension:
            raise UsageError(
                f"vector quantizer of dimension {self.dimension}: got in_features {in_features}, "
                f"allowed are multiples of {self.dimension}; take a dimension that divides it"
            )
        self.scaling.check(in_features)
        return self

    def extra_repr(self) -> str:
        """The arguments."""
        return (
            f"dimension={self.dimension}, codes={self.codes}, scope={self.scaling.scope}, "
            f"group_size={self.scaling.group_size}, statistics={self.scaling.statistics}"
        )
