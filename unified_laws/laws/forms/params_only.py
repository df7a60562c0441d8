"""Laws of the number of parameters alone."""

from __future__ import annotations

from typing import final

from unified_laws.laws.forms.base import (
    IRREDUCIBLE,
    PARAMS,
    LawForm,
    Parameter,
    Term,
    Values,
    capacity,
    coefficient,
    constant,
    exponent,
    power,
)
from unified_laws.laws.forms.observations import Observations


@final
class ParamsOnly(LawForm):
    """``A (N rho)^-alpha + E`` (arXiv:2509.23500), for runs at one number of tokens per parameter.

    Args:
        shared: one exponent and a rho per format; otherwise every format has its own coefficient
            and exponent, and rho would depend on N.
    """

    def __init__(self, *, shared: bool) -> None:
        self.shared = shared
        self.name = "params_only" if shared else "params_only_free"
        self.formula = "A (N rho[f])^-alpha + E" if shared else "A[f] N^-alpha[f] + E"
        self.source = "arXiv:2509.23500" + ("" if shared else ", an exponent per format")

    def parameters(self, runs: Observations) -> tuple[Parameter, ...]:  # noqa: ARG002
        """A, E, alpha and rho per format; or A and alpha per format and E."""
        if self.shared:
            return (PARAMS, IRREDUCIBLE, exponent("alpha"), capacity("rho"))
        own = coefficient("A", ("alpha", "N", 1), group="label")
        return (own, IRREDUCIBLE, exponent("alpha", group="label"))

    def refusal(self, runs: Observations) -> str:
        """Exponents per format need compressed formats."""
        return super().refusal(runs) or ("" if runs.formats else "the runs have one format")

    def terms(self, values: Values, runs: Observations) -> tuple[Term, ...]:
        """Parameter term and irreducible loss."""
        if not self.shared:
            return (power(values, "A", "alpha", runs.log_params), constant(values))
        first = power(values, "A", "alpha", runs.log_params + values["rho"])
        slopes = {**first.slopes, "rho": -values["alpha"]}
        return (Term("A", first.log, slopes), constant(values))


LAWS = (ParamsOnly(shared=True), ParamsOnly(shared=False))
