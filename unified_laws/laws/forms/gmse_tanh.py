"""The unified law with its capacity from the Gaussian error."""

from __future__ import annotations

from typing import final

import numpy as np

from unified_laws.laws.forms.base import Parameter, Slopes, Values
from unified_laws.laws.forms.capacity_form import CapacityForm
from unified_laws.laws.forms.observations import Observations
from unified_laws.laws.loss_law import Floats


@final
class GmseTanh(CapacityForm):
    """``rho = tanh(F log_{1/4} GMSE)^C``, a product over weights and activations.

    arXiv:2506.01863, eq. 3, with L = 1 so that rho(0) = 1, and its §3: capacities multiply.
    """

    name = "gmse_tanh"
    formula = "A (N rho)^-alpha + B D^-beta + E, rho = prod tanh(F log_{1/4} GMSE)^C"
    source = "arXiv:2506.01863 eq. 1 and 3, L = 1"
    needs = ("gmse",)

    def capacity_parameters(self, runs: Observations) -> tuple[Parameter, ...]:  # noqa: ARG002
        """F and C, shared by all formats; published .25 to .52 and .46 to 4.1 by kind."""
        return (Parameter("F", 1e-3, 1e2, (0.1, 1.5)), Parameter("C", 1e-2, 1e2, (0.4, 4.0)))

    def log_capacity(self, values: Values, runs: Observations) -> tuple[Floats, Slopes]:
        """Sum over the compressed operands."""
        rate, curve = np.exp(values["F"]), np.exp(values["C"])
        total = by_rate = np.zeros(len(runs))
        for name in ("gmse", "gmse_activation"):
            if name == "gmse_activation" and runs.unknown(name):
                continue
            error = runs.covariate(name)
            compressed = error > 0
            bits = -0.5 * np.log2(np.where(compressed, error, 0.5))
            inside = rate * bits
            total = total + np.where(compressed, np.log(np.tanh(inside)), 0.0)
            # d log tanh(x) / d log x = 2x / sinh(2x); e^-700 is still a double.
            double = np.minimum(2.0 * inside, 700.0)
            by_rate = by_rate + np.where(compressed, double / np.sinh(double), 0.0)
        return curve * total, {"F": curve * by_rate, "C": curve * total}


LAWS = (GmseTanh(),)
