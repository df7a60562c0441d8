"""Small floating-point numbers by arithmetic."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from unified_laws.compression.gaussian import Array
from unified_laws.errors import UsageError

EXPONENT_FIELD = 0x7F800000  # of float32 (IEEE 754)
RESERVES = ("none", "nan", "ieee")


@dataclass(frozen=True)
class FloatGrid:
    """The values of a sign, `exponent_bits` and `mantissa_bits`, with subnormals.

    Bias 2^(exponent_bits - 1) - 1, as OCP MX v1.0 and IEEE 754. One exponent bit makes a uniform
    grid of 2^(mantissa_bits + 2) - 1 levels.

    Attributes:
        exponent_bits: 1 to 7.
        mantissa_bits: 0 to 7.
        reserve: codes that are no finite number, and so lower the largest: "none" (OCP's FP4 and
            FP6), "nan" (the last code of each sign, OCP's e4m3: 448 and not 480) or "ieee" (the
            last exponent, OCP's e5m2: 57344 and not 114688).

    Raises:
        UsageError: numbers outside their range, or no finite codes left.
    """

    exponent_bits: int
    mantissa_bits: int
    reserve: str

    def __post_init__(self) -> None:
        for name, got, low in (
            ("exponent", self.exponent_bits, 1),
            ("mantissa", self.mantissa_bits, 0),
        ):
            if not isinstance(got, int) or isinstance(got, bool) or not low <= got <= 7:
                raise UsageError(
                    f"floating-point {name} bits: got {got!r}, allowed are whole numbers from "
                    f"{low} to 7; for more bits leave the operand unquantized"
                )
        if self.reserve not in RESERVES:
            raise UsageError(
                f"floating-point reserve: got {self.reserve!r}, allowed are "
                f"{', '.join(map(repr, RESERVES))}; choose one of them"
            )
        needed = self.exponent_bits if self.reserve == "ieee" else 1 + self.mantissa_bits
        if self.reserve != "none" and needed < 2:
            raise UsageError(
                f"floating-point reserve: got {self.reserve!r} for e{self.exponent_bits}"
                f"m{self.mantissa_bits}, allowed is 'none', as too few numbers would be left; "
                "set reserve to none"
            )

    @property
    def kind(self) -> str:
        """Floating point, or integer where one exponent bit makes the grid uniform."""
        return "integer" if self.exponent_bits == 1 else "floating point"

    @property
    def smallest_exponent(self) -> int:
        """Of the normal numbers, and of the subnormal ones."""
        return 2 - (1 << (self.exponent_bits - 1))

    @property
    def largest_exponent(self) -> int:
        """Of the largest finite number."""
        return (1 << (self.exponent_bits - 1)) - (1 if self.reserve == "ieee" else 0)

    @property
    def largest(self) -> float:
        """The largest finite number."""
        lost = 2 if self.reserve == "nan" else 1
        return float(2.0**self.largest_exponent * (2.0 - lost * 2.0**-self.mantissa_bits))

    @property
    def bits(self) -> int:
        """Of a code."""
        return 1 + self.exponent_bits + self.mantissa_bits

    def levels(self) -> Array:
        """All finite values, ascending, zero once."""
        binades = np.arange(self.smallest_exponent, self.largest_exponent + 1)
        fractions = np.arange(2**self.mantissa_bits) / 2**self.mantissa_bits
        normal = (2.0 ** binades[:, None] * (1.0 + fractions)).ravel()
        positive = np.concatenate([2.0**self.smallest_exponent * fractions[1:], normal])
        positive = positive[positive <= self.largest]
        return np.concatenate([-positive[::-1], [0.0], positive])

    def round(self, z: Tensor, noise: Tensor | None) -> Tensor:
        """The nearest value, ties to the even multiple of the local step; NaN stays NaN.

        Beyond the largest number, infinity included, values saturate.

        Args:
            z: float32.
            noise: uniform on [0, 1), of the shape of `z`: added before the step below is taken,
                so that the mean over the noise is `z` (stochastic rounding). None for the nearest.

        Note:
            Without mantissa bits, halfway between two powers of two, the larger one is taken.
        """
        z = z.clamp(-self.largest, self.largest)
        # The exponent field alone is the power of two at or below |z|, and 0 below float32's range.
        binade = (z.view(torch.int32) & EXPONENT_FIELD).view(torch.float32)
        step = binade.clamp_(min=2.0**self.smallest_exponent).mul_(2.0**-self.mantissa_bits)
        z = z.div_(step)
        return (z.round_() if noise is None else z.add_(noise).floor_()).mul_(step)
