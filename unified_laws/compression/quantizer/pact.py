"""PACT: the uniform grid with a trained clip."""

from __future__ import annotations

from typing import Literal, final

import numpy as np
import torch
from torch import Tensor

from unified_laws.compression.gaussian import Array, Spread
from unified_laws.compression.optimal_grid import optimal_limit
from unified_laws.compression.quantizer.learned import LearnedQuantizer, check_choice, kept_mean

OCTAVES = 4  # limits of one half to eight RMS hold the best one of every width


@final
class Pact(LearnedQuantizer):
    """2^bits - 1 levels from -alpha over 0 to alpha, alpha trained (Choi et al., arXiv:1805.06085).

    The derivative by alpha is 0 where |y| < alpha and the sign of y elsewhere (eq. 3); the gradient
    `unclipped` lets y pass where |y| < alpha.

    Args:
        bits: 2 to 8.
        init: the first alpha: "gaussian" (of least error for N(0,1), times the RMS) or "absmax"
            (the largest magnitude: nothing is clipped at first).

    Raises:
        UsageError: an argument outside its range.

    Note:
        The paper clips the output of a ReLU to [0, alpha]; inputs of the linears of a Llama have
        both signs. Its L2 penalty on alpha is left out: learned numbers of a format do not decay.

        QuEST's code inverts the mask, so that no gradient reaches y at all; this one does not.
    """

    def __init__(self, bits: int, init: Literal["gaussian", "absmax"]) -> None:
        check_choice("PACT quantizer", bits, 2, init, ("gaussian", "absmax"))
        high = 2 ** (bits - 1) - 1
        super().__init__(bits, low=-high, high=high, shifts=False)
        self.init = init
        self.indices = np.arange(-high, high + 1, dtype=np.float64)
        self.ratio = optimal_limit(tuple(self.indices.tolist()), OCTAVES)

    def start(self, y: Tensor, support: Tensor | None) -> tuple[Tensor, Tensor]:
        """A multiple of the RMS, or the largest magnitude, of the kept values; no offset."""
        if self.init == "absmax":
            alpha = (y if support is None else torch.where(support, y, 0.0)).abs().amax()
        else:
            alpha = self.ratio * kept_mean(y.square(), support).sqrt()
        return alpha / self.high, torch.zeros_like(alpha)

    def slope(self, position: Tensor, index: Tensor, inside: Tensor) -> Tensor:  # noqa: ARG002
        """0 inside, the index outside: step·index is ±alpha there."""
        return torch.where(inside, 0.0, index)

    def _gaussian_levels(self, spread: Spread) -> Array | None:
        if self.init == "absmax":
            return None
        limit = self.ratio * spread.kept
        return np.asarray(self.indices * (limit / self.high), dtype=np.float64)
