"""A law in which the damage of quantization grows with the training data."""

from __future__ import annotations

from typing import final

import numpy as np

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
from unified_laws.laws.loss_law import Floats

# Published gamma_N, gamma_D, gamma_G lie between .03 and 1 (arXiv:2505.14302, table 2); negative
# values are allowed, so that the data may deny the growth.
DAMAGE_EXPONENTS, DAMAGE_STARTS = (-3.0, 3.0), (0.02, 0.6)


@final
class QuantizationError(LawForm):
    """arXiv:2505.14302: Chinchilla plus ``k D^gamma_D (log2 G)^gamma_G / N^gamma_N``.

    k is one per compressed format, the exponents are shared (the paper fits both anew for every
    operand). The group size G of a format is part of its k; gamma_G can only be told from runs of
    one format that differ in G, and enters where there are some.
    """

    name = "quantization_error"
    formula = "A N^-alpha + B D^-beta + E + k[f] D^gamma_D [(log2 G)^gamma_G] / N^gamma_N"
    source = "arXiv:2505.14302"

    def parameters(self, runs: Observations) -> tuple[Parameter, ...]:
        """Five of the base law, then those of the damage."""
        damage = coefficient("k", ("gamma_N", "N", 1), ("gamma_D", "D", -1), group="compressed")
        names = ["gamma_N", "gamma_D"] + ["gamma_G"] * runs.varies_within("group_size")
        return (
            *(PARAMS, TOKENS, IRREDUCIBLE, exponent("alpha"), exponent("beta"), damage),
            *(exponent(name, DAMAGE_EXPONENTS, DAMAGE_STARTS) for name in names),
        )

    def terms(self, values: Values, runs: Observations) -> tuple[Term, ...]:
        """Three of the base law and the damage, which dense runs do not have."""
        grows, falls = values["gamma_D"], values["gamma_N"]
        log = values["k"] + grows * runs.log_tokens - falls * runs.log_params
        slopes: dict[str, Floats | float] = {
            "k": 1.0,
            "gamma_D": runs.log_tokens,
            "gamma_N": -runs.log_params,
        }
        if "gamma_G" in values.layout:
            group = np.where(runs.is_dense, 2.0, runs.covariate("group_size"))
            size = np.log(np.log2(group))
            slopes["gamma_G"] = size
            log = log + values["gamma_G"] * size
        return (
            power(values, "A", "alpha", runs.log_params),
            power(values, "B", "beta", runs.log_tokens),
            constant(values),
            Term("k", np.where(runs.is_dense, -np.inf, log), slopes),
        )


LAWS = (QuantizationError(),)
