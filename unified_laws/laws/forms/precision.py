"""Kumar et al.'s law of training precision."""

from __future__ import annotations

from collections.abc import Iterator
from typing import final

import numpy as np

from unified_laws.laws.forms.base import Parameter, Slopes, Values, exponent
from unified_laws.laws.forms.capacity_form import CapacityForm
from unified_laws.laws.forms.observations import Observations
from unified_laws.laws.loss_law import Floats

OPERANDS = {"w": "weight_bits", "a": "activation_bits"}


@final
class Precision(CapacityForm):
    """arXiv:2411.04330: ``N_eff = N prod_x (1 - exp(-(P_x - n_x) / gamma_x))``.

    x runs over weights and activations. Its term for quantization after training (delta_PTQ) is
    zero here: runs are evaluated in the format they were trained in. The published
    exponents are tied (alpha = beta); ours are free.

    Note:
        The published offsets n_x (appendix K, table 2) are not given with their place in the
        exponent in what we could read; here n_x is in bits and subtracted.

    Args:
        offset: with n_x, otherwise n_x = 0.
    """

    needs = ("weight_bits",)
    source = "arXiv:2411.04330, appendix K"

    def __init__(self, *, offset: bool) -> None:
        self.offset = offset
        self.name = "precision_offset" if offset else "precision"
        inside = "(P_x - n_x)" if offset else "P_x"
        self.formula = (
            f"A (N rho)^-alpha + B D^-beta + E, rho = prod_x (1 - exp(-{inside} / gamma_x))"
        )

    def _operands(self, runs: Observations) -> Iterator[tuple[str, Floats]]:
        """Operands whose precision differs over the runs."""
        for name, column in OPERANDS.items():
            if runs.varies(column):
                yield name, runs.covariate(column)

    def refusal(self, runs: Observations) -> str:
        """Needs runs that differ in precision."""
        found = super().refusal(runs)
        if found:
            return found
        return "" if any(self._operands(runs)) else "all runs have the same precision"

    def capacity_parameters(self, runs: Observations) -> tuple[Parameter, ...]:
        """A scale gamma (in bits), and an offset n, per operand."""
        found = []
        for name, bits in self._operands(runs):
            found.append(Parameter(f"gamma_{name}", 1e-2, 1e2, (0.5, 5.0)))
            if self.offset:
                least = float(bits.min())
                limits, starts = (-20.0, least - 1e-3), (-2.0, 0.9 * least)
                found.append(exponent(f"n_{name}", limits, starts))
        return tuple(found)

    def log_capacity(self, values: Values, runs: Observations) -> tuple[Floats, Slopes]:
        """Sum over the operands."""
        total, slopes = np.zeros(len(runs)), {}
        for name, bits in self._operands(runs):
            scale = np.exp(values[f"gamma_{name}"])
            above = bits - values[f"n_{name}"] if self.offset else bits
            ratio = above / scale
            total = total + np.log(-np.expm1(-ratio))
            steep = 1.0 / np.expm1(np.minimum(ratio, 700.0))
            slopes[f"gamma_{name}"] = -steep * ratio
            if self.offset:
                slopes[f"n_{name}"] = -steep / scale
        return total, slopes


LAWS = (Precision(offset=False), Precision(offset=True))
