"""The unified law with a logistic capacity."""

from __future__ import annotations

from typing import final

import numpy as np

from unified_laws.laws.forms.base import Parameter, Slopes, Values
from unified_laws.laws.forms.capacity_form import CapacityForm
from unified_laws.laws.forms.observations import Observations
from unified_laws.laws.loss_law import Floats


@final
class GmseLogistic(CapacityForm):
    """``rho = 1 / (1 + b GMSE^a)``, a product over weights and activations.

    The logistic form of arXiv:2506.01863, appendix C; its A and B are a and b here.
    """

    name = "gmse_logistic"
    formula = "A (N rho)^-alpha + B D^-beta + E, rho = prod 1 / (1 + b GMSE^a)"
    source = "arXiv:2506.01863 eq. 1 and appendix C"
    needs = ("gmse",)

    def capacity_parameters(self, runs: Observations) -> tuple[Parameter, ...]:  # noqa: ARG002
        """A and b, shared by all formats."""
        return (Parameter("a", 1e-2, 1e1, (0.3, 1.5)), Parameter("b", 1e-3, 1e4, (1.0, 30.0)))

    def log_capacity(self, values: Values, runs: Observations) -> tuple[Floats, Slopes]:
        """Sum over the compressed operands."""
        power, log_factor = np.exp(values["a"]), values["b"]
        total = by_power = by_factor = np.zeros(len(runs))
        for name in ("gmse", "gmse_activation"):
            if name == "gmse_activation" and runs.unknown(name):
                continue
            error = runs.covariate(name)
            compressed = error > 0
            log_error = np.log(np.where(compressed, error, 0.5))
            odds = log_factor + power * log_error
            lost = np.where(compressed, 1.0 / (1.0 + np.exp(-odds)), 0.0)
            total = total - np.where(compressed, np.logaddexp(0.0, odds), 0.0)
            by_factor = by_factor - lost
            by_power = by_power - lost * power * log_error
        return total, {"a": by_power, "b": by_factor}


LAWS = (GmseLogistic(),)
