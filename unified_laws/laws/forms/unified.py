"""The unified law with a free capacity per format."""

from __future__ import annotations

from typing import final

from unified_laws.laws.forms.base import Parameter, Slopes, Values, capacity
from unified_laws.laws.forms.capacity_form import CapacityForm
from unified_laws.laws.forms.observations import Observations
from unified_laws.laws.loss_law import Floats


@final
class Unified(CapacityForm):
    """arXiv:2506.01863, eq. 1, which is arXiv:2502.16440's law with eff(C) written rho.

    The older paper prints ``a (N eff(C))^-b + c D^-d + e``: the same formula, so one law with two
    sources. It is QuEST's too (arXiv:2502.05003). rho may exceed 1.
    """

    name = "unified"
    formula = "A (N rho[f])^-alpha + B D^-beta + E"
    source = "arXiv:2506.01863 eq. 1; arXiv:2502.16440, eff(C) = rho; arXiv:2502.05003"

    def capacity_parameters(self, runs: Observations) -> tuple[Parameter, ...]:  # noqa: ARG002
        """One rho per compressed format."""
        return (capacity("rho"),)

    def log_capacity(self, values: Values, runs: Observations) -> tuple[Floats, Slopes]:  # noqa: ARG002
        """The format's own."""
        return values["rho"], {"rho": 1.0}


LAWS = (Unified(),)
