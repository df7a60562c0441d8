"""Frantar et al.'s law of sparse training."""

from __future__ import annotations

from typing import final

import numpy as np

from unified_laws.laws.forms.base import (
    IRREDUCIBLE,
    LawForm,
    Parameter,
    Slopes,
    Term,
    Values,
    coefficient,
    constant,
    exponent,
    power,
)
from unified_laws.laws.forms.observations import Observations


@final
class Sparsity(LawForm):
    """arXiv:2309.08520, eq. 1: ``(a_S (1-S)^b_S + c_S) N^-b_N + (a_D / D)^b_D + c``.

    Their N counts non-zero parameters; our table has all of them, so N becomes N (1-S). Of a format
    that also quantizes, the law sees the sparsity only.

    Note:
        B stands for their a_D^b_D, which keeps the coefficients of one kind, and E for their c.
    """

    name = "sparsity"
    formula = "(a_S (1-S)^b_S + c_S) (N (1-S))^-b_N + B D^-b_D + E"
    source = "arXiv:2309.08520 eq. 1"
    needs = ("sparsity",)

    def parameters(self, runs: Observations) -> tuple[Parameter, ...]:  # noqa: ARG002
        """Seven."""
        return (
            coefficient("a_S", ("b_N", "N", 1)),
            coefficient("c_S", ("b_N", "N", 1)),
            coefficient("B", ("b_D", "D", 1)),
            IRREDUCIBLE,
            exponent("b_S", (1e-4, 20.0), (0.1, 3.0)),
            exponent("b_N"),
            exponent("b_D"),
        )

    def refusal(self, runs: Observations) -> str:
        """Needs runs that differ in sparsity."""
        found = super().refusal(runs)
        return found or ("" if runs.varies("sparsity") else "all runs have the same sparsity")

    def terms(self, values: Values, runs: Observations) -> tuple[Term, ...]:
        """Two parameter terms, one of which knows the sparsity."""
        kept = np.log1p(-runs.covariate("sparsity"))
        second = power(values, "c_S", "b_N", runs.log_params + kept)
        first = values["a_S"] + values["b_S"] * kept + second.log - values["c_S"]
        slopes: Slopes = {"a_S": 1.0, "b_S": kept, "b_N": second.slopes["b_N"]}
        return (
            Term("a_S", first, slopes),
            second,
            power(values, "B", "b_D", runs.log_tokens),
            constant(values),
        )


LAWS = (Sparsity(),)
