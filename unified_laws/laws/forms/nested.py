"""Quartet's nested law."""

from __future__ import annotations

from typing import final

import numpy as np

from unified_laws.laws.forms.base import (
    IRREDUCIBLE,
    LawForm,
    Parameter,
    Term,
    Values,
    capacity,
    constant,
    exponent,
    power,
)
from unified_laws.laws.forms.observations import Observations
from unified_laws.laws.loss_law import Floats

# The sum inside is about L^(1/gamma), four powers of the loss at the published gamma.
INSIDE = (1e-12, 1e12)
GAMMA, GAMMA_STARTS = (0.05, 4.0), (0.15, 1.2)


@final
class Nested(LawForm):
    """arXiv:2505.14669: ``(A (N eff_N)^-alpha + B (D eff_D)^-beta)^gamma + E``.

    The outer exponent is Busbridge et al.'s (arXiv:2502.08606). eff_N belongs to the forward pass
    and is rho; eff_D belongs to the backward pass. gamma = 1 is the unified law.

    Args:
        capacities: which of eff_N and eff_D every compressed format has.
    """

    source = "arXiv:2505.14669, table 6; arXiv:2502.08606"

    def __init__(self, name: str, *capacities: str) -> None:
        self.name, self.capacities = name, capacities
        size = "(N eff_N[f])" if "eff_N" in capacities else "N"
        tokens = "(D eff_D[f])" if "eff_D" in capacities else "D"
        self.formula = f"(A {size}^-alpha + B {tokens}^-beta)^gamma + E"

    def parameters(self, runs: Observations) -> tuple[Parameter, ...]:
        """Six, and the capacities."""
        return (
            Parameter("A", *INSIDE, (0.1, 10.0), scale=(("alpha", "N", 1),)),
            Parameter("B", *INSIDE, (0.1, 10.0), scale=(("beta", "D", 1),)),
            IRREDUCIBLE,
            *(exponent("alpha"), exponent("beta"), exponent("gamma", GAMMA, GAMMA_STARTS)),
            *(capacity(name) for name in self.capacities if runs.formats),
        )

    def refusal(self, runs: Observations) -> str:
        """Without compressed formats eff_D has nothing to stand for."""
        if "eff_D" in self.capacities and not runs.formats:
            return "the runs have no compressed format"
        return super().refusal(runs)

    def _inside(self, values: Values, runs: Observations) -> tuple[Term, Term]:
        """The two terms below the outer exponent."""
        found = []
        for name, over, size, eff in (
            ("A", "alpha", runs.log_params, "eff_N"),
            ("B", "beta", runs.log_tokens, "eff_D"),
        ):
            if eff not in values.layout:
                found.append(power(values, name, over, size))
                continue
            term = power(values, name, over, size + values[eff])
            found.append(Term(name, term.log, {**term.slopes, eff: -values[over]}))
        return found[0], found[1]

    def terms(self, values: Values, runs: Observations) -> tuple[Term, ...]:
        """The power of the sum, and the irreducible loss."""
        first, second = self._inside(values, runs)
        total = np.logaddexp(first.log, second.log)
        gamma = values["gamma"]
        slopes: dict[str, Floats | float] = {"gamma": total}
        for term in (first, second):
            share = gamma * np.exp(term.log - total)
            slopes |= {name: share * slope for name, slope in term.slopes.items()}
        return (Term("A", gamma * total, slopes), constant(values))

    def prepare(self, theta: Floats, runs: Observations) -> Floats:
        """E at a drawn share of the smallest loss; then A and B are linear in (L - E)^(1/gamma)."""
        from unified_laws.laws.forms.starts import non_negative

        layout = self.layout(runs)
        at = {name: where.start for name, (_, where) in layout.items()}
        start = theta.copy()
        start[:, [at["A"], at["B"]]] = 0.0
        values = Values(start, runs, layout)
        first, second = self._inside(values, runs)
        left = runs.log_loss + np.log1p(-np.exp(values["E"] - runs.log_loss))
        target = left / values["gamma"]
        columns = np.stack([np.exp(term.log - target) for term in (first, second)], axis=2)
        start[:, [at["A"], at["B"]]] = np.log(non_negative(columns))
        return start


LAWS = (Nested("nested", "eff_N"), Nested("nested_tokens", "eff_N", "eff_D"))
