"""Laws in which a format acts through the number of parameters alone."""

from __future__ import annotations

from abc import abstractmethod

from unified_laws.laws.forms.base import (
    IRREDUCIBLE,
    PARAMS,
    TOKENS,
    LawForm,
    Parameter,
    Slopes,
    Term,
    Values,
    constant,
    exponent,
    power,
)
from unified_laws.laws.forms.observations import Observations
from unified_laws.laws.loss_law import Floats


class CapacityForm(LawForm):
    """``L = A (N rho)^-alpha + B D^-beta + E`` with a rho that subclasses define."""

    @abstractmethod
    def capacity_parameters(self, runs: Observations) -> tuple[Parameter, ...]:
        """Constants of rho."""

    @abstractmethod
    def log_capacity(self, values: Values, runs: Observations) -> tuple[Floats, Slopes]:
        """Log rho, broadcastable to (S, n), and its derivative by each of its constants."""

    def parameters(self, runs: Observations) -> tuple[Parameter, ...]:
        """The five of the base law, then those of rho."""
        law = (PARAMS, TOKENS, IRREDUCIBLE, exponent("alpha"), exponent("beta"))
        return (*law, *self.capacity_parameters(runs))

    def terms(self, values: Values, runs: Observations) -> tuple[Term, ...]:
        """Parameter term, token term, irreducible loss."""
        log_rho, slopes = self.log_capacity(values, runs)
        alpha = values["alpha"]
        first = power(values, "A", "alpha", runs.log_params + log_rho)
        inner = {name: -alpha * slope for name, slope in slopes.items()}
        return (
            Term("A", first.log, {**first.slopes, **inner}),
            power(values, "B", "beta", runs.log_tokens),
            constant(values),
        )
