"""Random noise of a given error in place of a projection."""

from __future__ import annotations

from collections.abc import Mapping
from math import log2, sqrt
from typing import Literal, final

from torch import Tensor

from unified_laws.compression.gaussian import Array, Spread
from unified_laws.compression.projection import Projection, zero_off
from unified_laws.compression.quantizer.base import Quantizer
from unified_laws.compression.random_source import RandomSource
from unified_laws.compression.scaling import Scaling
from unified_laws.compression.stage import Stage
from unified_laws.errors import UsageError


@final
class NoiseQuantizer(Quantizer):
    """x̂ = x + sqrt(gmse)·RMS·n, with n of zero mean and unit variance, independent of x.

    The control of arXiv:2506.01863 Fig. 1: noise of the relative error of a format, in its place.
    The noise is drawn anew at every call, in evaluation too (see `RandomSource` for what a training
    step is); zeros stay zero where all are.

    Args:
        gmse: relative squared error on the kept values, in (0, 1).
        distribution: of n: "gaussian" or "uniform" (on ±sqrt(3)).
        seed: of the generator, see `RandomSource`.
        scope: "row" or "tensor"; what shares an RMS.
        statistics: "dense", "masked" or "kept"; see `Scaling`.

    Raises:
        UsageError: an argument outside its range.

    Note:
        Storage is counted at the rate of the ideal code of this error, log2(1/gmse)/2 bits per
        value (Shannon, for a Gaussian): the noise stands for a format that sits on the bound. There
        is no grid, so that every gradient estimator is straight-through.
    """

    def __init__(
        self,
        gmse: float,
        distribution: Literal["gaussian", "uniform"],
        seed: int,
        scope: Literal["row", "tensor"],
        statistics: Literal["dense", "masked", "kept"],
    ) -> None:
        super().__init__()
        owner = "noise quantizer"
        if not 0.0 < gmse < 1.0:
            raise UsageError(
                f"{owner} gmse: got {gmse:g}, allowed are numbers between 0 and 1; 0.0115 is the "
                "error of int4"
            )
        if distribution not in ("gaussian", "uniform"):
            raise UsageError(
                f"{owner} distribution: got {distribution!r}, allowed are 'gaussian' and "
                "'uniform'; choose one of them"
            )
        self.scaling = Scaling(
            owner=owner,
            rule="rms",
            scope=scope,
            group_size=None,
            statistics=statistics,
            rms=None,
            search_steps=None,
            search_floor=None,
        )
        self.gmse = float(gmse)
        self.distribution = distribution
        self.random = RandomSource(owner, seed)

    def project(self, y: Tensor, support: Tensor | None) -> Projection:
        """`y` and its noise, zero off the support. Computed in float32."""
        wide = y.float()
        if self.distribution == "gaussian":
            noise = self.random.normal(wide)
        else:
            noise = self.random.uniform(wide).sub_(0.5).mul_(sqrt(12.0))
        rms = self.scaling.root_mean_square(wide, support)
        value = noise.mul_(sqrt(self.gmse) * rms).add_(wide).to(y.dtype)
        return Projection(value=zero_off(value, support), limit=None, reach=None)

    def check(self, stages: Mapping[str, Stage]) -> None:
        """Refuse statistics that would change nothing."""
        self.scaling.check_sparsity(stages)

    @property
    def has_levels(self) -> bool:
        """False: there is no grid."""
        return False

    @property
    def kind(self) -> str:
        """Noise."""
        return "noise"

    @property
    def is_identity(self) -> bool:
        """False."""
        return False

    @property
    def bits(self) -> float:
        """log2(1/gmse)/2."""
        return -0.5 * log2(self.gmse)

    def scale_bits(self, in_features: int) -> float:
        """16 for the RMS of a row."""
        return self.scaling.scale_bits(in_features)

    def gaussian_values(self, y: Array, spread: Spread) -> Array | None:  # noqa: ARG002
        """None: the values are drawn."""
        return None

    def gaussian_edges(self, spread: Spread) -> tuple[float, ...] | None:  # noqa: ARG002
        """None."""
        return None

    def bind(self, in_features: int) -> NoiseQuantizer:  # noqa: ARG002
        """Itself: every width will do."""
        return self

    def extra_repr(self) -> str:
        """The arguments."""
        return f"gmse={self.gmse}, distribution={self.distribution}, seed={self.random.seed}"
