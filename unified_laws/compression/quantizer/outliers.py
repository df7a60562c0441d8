"""Outliers in high precision around another quantizer."""

from __future__ import annotations

from collections.abc import Mapping
from math import log2
from typing import final

import torch
from torch import Tensor

from unified_laws.compression.gaussian import Array, Spread
from unified_laws.compression.kth_value import kth_value
from unified_laws.compression.projection import Projection
from unified_laws.compression.quantizer.base import Quantizer
from unified_laws.compression.quantizer.block import BlockQuantizer
from unified_laws.compression.quantizer.grid import GridQuantizer
from unified_laws.compression.quantizer.identity import DENSE_BITS
from unified_laws.compression.sparsifier.base import Sparsifier
from unified_laws.compression.stage import Stage
from unified_laws.errors import UsageError


@final
class OutlierQuantizer(Quantizer):
    """Keeps the largest magnitudes of each row as they are and quantizes the others.

    arXiv:2506.01863 Fig. 4 keeps 5 %. Of a row of n values the round(share·n) largest are kept, and
    their ties. For the base they are pruned: its statistics "kept" and "masked" leave them out.

    Args:
        share: fraction of a row that is kept, in (0, 1).
        base: quantizer of the others.

    Raises:
        UsageError: the share is no fraction, or the base is no grid for single values.

    Note:
        Storage counts 16 bits for an outlier and the entropy of their places. Limit and reach are
        infinite at outliers: they get their gradient. With sparsity the share is still one of
        the row, so that 5 % outliers of a row pruned by half are a tenth of what is kept.
    """

    def __init__(self, share: float, base: GridQuantizer | BlockQuantizer) -> None:
        super().__init__()
        if not 0.0 < share < 1.0:
            raise UsageError(
                f"outliers share: got {share:g}, allowed is a fraction strictly between 0 and 1; "
                "for 5 % write 0.05, for none take the base quantizer alone"
            )
        if not isinstance(base, GridQuantizer | BlockQuantizer):
            raise UsageError(
                f"outliers base: got {type(base).__name__}, allowed are quantizers of single "
                "values on a grid that is not learned; take uniform or another"
            )
        self.share = float(share)
        self.base = base
        self._kept_fraction = 1.0

    def _outliers(self, y: Tensor, support: Tensor | None) -> Tensor:
        """True at the outliers, all of them within the support."""
        magnitude = y.abs()
        if support is not None:
            magnitude = torch.where(support, magnitude, 0.0)
        width = y.shape[-1]
        count = round(self.share * width)
        if count == 0:
            return torch.zeros_like(y, dtype=torch.bool)
        threshold = kth_value(magnitude, width - count + 1)
        # A row with fewer kept values than outliers has threshold 0, and zeros need no place.
        return (magnitude >= threshold) & (magnitude > 0)

    def project(self, y: Tensor, support: Tensor | None) -> Projection:
        """Outliers as they are, the other kept values on the grid of the base."""
        outliers = self._outliers(y, support)
        rest = ~outliers if support is None else support & ~outliers
        inner = self.base.project(y, rest)

        def open_at_outliers(radius: Tensor | None) -> Tensor | None:
            return None if radius is None else torch.where(outliers, torch.inf, radius)

        return Projection(
            value=torch.where(outliers, y, inner.value),
            limit=open_at_outliers(inner.limit),
            reach=open_at_outliers(inner.reach),
        )

    @property
    def kind(self) -> str:
        """The kind of the base, with outliers."""
        return f"{self.base.kind} with outliers"

    @property
    def is_identity(self) -> bool:
        """False."""
        return False

    @property
    def bits(self) -> float:
        """Bits of the base and 16 by their shares of what is kept, and the entropy of places."""
        s = min(1.0, self.share / self._kept_fraction)
        if s == 1.0:
            return DENSE_BITS
        places = -s * log2(s) - (1.0 - s) * log2(1.0 - s)
        return (1.0 - s) * self.base.bits + s * DENSE_BITS + places

    def check(self, stages: Mapping[str, Stage]) -> None:
        """Learn how many values are kept, of which the outliers are a larger share."""
        sparsifier = stages["sparsifier"]
        assert isinstance(sparsifier, Sparsifier)
        self._kept_fraction = sparsifier.kept_fraction

    def scale_bits(self, in_features: int) -> float:
        """Those of the base."""
        return self.base.scale_bits(in_features)

    def gaussian_values(self, y: Array, spread: Spread) -> Array | None:  # noqa: ARG002
        """None: the threshold is a quantile of the row, and differs by what it is drawn from."""
        return None

    def gaussian_edges(self, spread: Spread) -> tuple[float, ...] | None:  # noqa: ARG002
        """None."""
        return None

    def bind(self, in_features: int) -> OutlierQuantizer:
        """The same around a base for rows of `in_features` values.

        Raises:
            UsageError: the base cannot work at this width, or no value would be an outlier.
        """
        if round(self.share * in_features) == 0:
            raise UsageError(
                f"outliers share {self.share:g}: got in_features {in_features}, allowed are widths "
                "of which the share is at least one value; raise the share"
            )
        return OutlierQuantizer(self.share, self.base.bind(in_features))

    def extra_repr(self) -> str:
        """The share."""
        return f"share={self.share}"
