"""A law of floating-point training from the widths of exponent, mantissa and block."""

from __future__ import annotations

from typing import final

import numpy as np

from unified_laws.laws.forms.base import (
    IRREDUCIBLE,
    PARAMS,
    TOKENS,
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

# Published 3.19 and 2.95 (arXiv:2501.02423).
WIDTH_EXPONENTS, WIDTH_STARTS = (1e-4, 20.0), (0.5, 5.0)


@final
class FloatingPoint(LawForm):
    """arXiv:2501.02423: Chinchilla and a term that grows with the data.

    The term is ``(D^beta / N^alpha) log2(B) / (gamma (e + 1/2)^delta (m + 1/2)^nu)``: e and m are
    exponent and mantissa bits, B the block size (channel-wise scales count as log2 B = 13.1567).

    Note:
        k stands for their 1/gamma. Dense runs do not have the last term.
    """

    name = "floating_point"
    formula = (
        "A N^-alpha + B D^-beta + E "
        "+ k (D^beta / N^alpha) log2(block) / ((e + 1/2)^delta (m + 1/2)^nu)"
    )
    source = "arXiv:2501.02423"
    needs = ("exponent_bits", "mantissa_bits", "block_size")

    def parameters(self, runs: Observations) -> tuple[Parameter, ...]:  # noqa: ARG002
        """Five of the base law, k, and the exponents of the two widths."""
        return (
            *(PARAMS, TOKENS, IRREDUCIBLE, exponent("alpha"), exponent("beta")),
            coefficient("k", ("alpha", "N", 1), ("beta", "D", -1)),
            exponent("delta", WIDTH_EXPONENTS, WIDTH_STARTS),
            exponent("nu", WIDTH_EXPONENTS, WIDTH_STARTS),
        )

    def refusal(self, runs: Observations) -> str:
        """Needs a compressed format."""
        return super().refusal(runs) or ("" if runs.formats else "no run has a compressed format")

    def terms(self, values: Values, runs: Observations) -> tuple[Term, ...]:
        """Three of the base law and the damage."""
        filled = {name: np.where(runs.is_dense, 2.0, runs.covariate(name)) for name in self.needs}
        log_e, log_m = (np.log(filled[name] + 0.5) for name in self.needs[:2])
        log = values["k"] + values["beta"] * runs.log_tokens - values["alpha"] * runs.log_params
        log = log + np.log(np.log2(filled["block_size"]))
        log = log - values["delta"] * log_e - values["nu"] * log_m
        slopes: Slopes = {
            "k": 1.0,
            "beta": runs.log_tokens,
            "alpha": -runs.log_params,
            "delta": -log_e,
            "nu": -log_m,
        }
        return (
            power(values, "A", "alpha", runs.log_params),
            power(values, "B", "beta", runs.log_tokens),
            constant(values),
            Term("k", np.where(runs.is_dense, -np.inf, log), slopes),
        )


LAWS = (FloatingPoint(),)
