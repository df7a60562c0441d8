"""The dense law, blind to formats."""

from __future__ import annotations

from typing import final

from unified_laws.laws.forms.base import (
    IRREDUCIBLE,
    PARAMS,
    TOKENS,
    LawForm,
    Parameter,
    Term,
    Values,
    coefficient,
    constant,
    exponent,
    power,
)
from unified_laws.laws.forms.observations import Observations


@final
class Chinchilla(LawForm):
    """arXiv:2203.15556, eq. 2; tied, it is the over-training law of arXiv:2403.08540.

    ``E + (a M^eta + b M^-eta) C^-eta`` with M = D/N and C = 6ND is the tied law with
    alpha = beta = 2 eta.

    Args:
        tied: one exponent for both terms.
    """

    def __init__(self, *, tied: bool) -> None:
        self.tied = tied
        self.name = "chinchilla_tied" if tied else "chinchilla"
        self.formula = (
            "A N^-alpha + B D^-alpha + E, whatever the format"
            if tied
            else "A N^-alpha + B D^-beta + E, whatever the format"
        )
        self.source = "arXiv:2403.08540" if tied else "arXiv:2203.15556 eq. 2"

    def parameters(self, runs: Observations) -> tuple[Parameter, ...]:  # noqa: ARG002
        """Five, or four with one exponent."""
        if self.tied:
            tokens = coefficient("B", ("alpha", "D", 1))
            return (PARAMS, tokens, IRREDUCIBLE, exponent("alpha"))
        return (PARAMS, TOKENS, IRREDUCIBLE, exponent("alpha"), exponent("beta"))

    def terms(self, values: Values, runs: Observations) -> tuple[Term, ...]:
        """Parameter term, token term, irreducible loss."""
        return (
            power(values, "A", "alpha", runs.log_params),
            power(values, "B", "alpha" if self.tied else "beta", runs.log_tokens),
            constant(values),
        )


LAWS = (Chinchilla(tied=False), Chinchilla(tied=True))
