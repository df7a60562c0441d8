"""Small floating-point numbers with a scale."""

from __future__ import annotations

from typing import Literal, Unpack, final

from torch import Tensor

from unified_laws.compression.float_grid import FloatGrid
from unified_laws.compression.gaussian import Array, Spread
from unified_laws.compression.optimal_grid import optimal_limit
from unified_laws.compression.quantizer.grid import GridQuantizer
from unified_laws.compression.random_source import RandomSource
from unified_laws.compression.scaling import ScaleKeys, Scaling
from unified_laws.errors import UsageError

OCTAVES = 12  # more binades than N(0,1) can tell apart at 7 mantissa bits


@final
class FloatingPointQuantizer(GridQuantizer):
    """Sign, exponent and mantissa on a float scale; saturating, with subnormals.

    arXiv:2506.01863 Fig. 3 compares E2M1, E4M1, E3M2, E2M3, E6M1, E5M2, E4M3, E3M4 and E2M5.

    Args:
        exponent: exponent bits, 1 to 7.
        mantissa: mantissa bits, 0 to 7.
        reserve: codes that are no finite number: "none", "nan" (OCP e4m3) or "ieee" (OCP e5m2);
            they set the largest number, see `FloatGrid`.
        rounding: "nearest" (ties to even) or "stochastic" (unbiased within the range, drawn anew at
            every call).
        seed: of stochastic rounding; None otherwise.
        scale: "rms" (the best limit for N(0,1), times the RMS), "absmax", "mse" or "static"; it
            and the other keys of `ScaleKeys` say what shares a scale and how it is found, see
            `Scaling`.

    Raises:
        UsageError: an argument outside its range, a seed without use, or none where it is needed.

    Note:
        The limit is the best one for rounding to nearest, also under stochastic rounding.
    """

    def __init__(
        self,
        exponent: int,
        mantissa: int,
        reserve: Literal["none", "nan", "ieee"],
        rounding: Literal["nearest", "stochastic"],
        seed: int | None,
        **scale: Unpack[ScaleKeys],
    ) -> None:
        owner = "floating_point quantizer"
        numbers = FloatGrid(exponent, mantissa, reserve)
        scaling = Scaling.of(owner, scale)
        if rounding not in ("nearest", "stochastic"):
            raise UsageError(
                f"{owner} rounding: got {rounding!r}, allowed are 'nearest' and 'stochastic'; "
                "choose one of them"
            )
        if (seed is None) == (rounding == "stochastic"):
            raise UsageError(
                f"{owner} seed: got {seed} under rounding {rounding!r}, allowed are a whole number "
                "under 'stochastic' and null under 'nearest'; change one of them"
            )
        if rounding == "stochastic" and scaling.rule == "mse":
            raise UsageError(
                f"{owner} rounding: got 'stochastic' under scale 'mse', allowed are the other "
                "scales, as the search would pick the luckiest draw; set scale to rms or absmax"
            )
        levels = numbers.levels()
        clip = optimal_limit(tuple(levels.tolist()), min(4 + 2**exponent, OCTAVES))
        super().__init__(scaling, levels, clip)
        self.numbers = numbers
        self.random = None if seed is None else RandomSource(owner, seed)

    def nearest(self, z: Tensor) -> Tensor:
        """The nearest number, or one of the two neighbours."""
        return self.numbers.round(z, None if self.random is None else self.random.uniform(z))

    @property
    def kind(self) -> str:
        """The kind of the numbers."""
        return self.numbers.kind

    @property
    def bits(self) -> float:
        """The bits of a code."""
        return float(self.numbers.bits)

    def gaussian_values(self, y: Array, spread: Spread) -> Array | None:
        """The nearest level; None for what depends on the number of values, or is drawn."""
        return None if self.random is not None else super().gaussian_values(y, spread)

    def gaussian_edges(self, spread: Spread) -> tuple[float, ...] | None:
        """Midpoints of neighbouring levels; None together with the values."""
        return None if self.random is not None else super().gaussian_edges(spread)
