"""Runs that every law can carry, and constants to plant."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tests.laws.planted_runs import make_table
from unified_laws.laws.forms.base import LawForm
from unified_laws.laws.forms.observations import Observations, observe
from unified_laws.laws.loss_law import Floats
from unified_laws.laws.table import RunTable

SIZES = (1e6, 2e6, 4e6, 8e6)
RATIOS = (10.0, 40.0, 160.0)
# Made-up formats whose covariates all differ, so that every law tells them apart.
FORMATS: dict[str, dict[str, float]] = {
    "f4": {"sparsity": 0.0, "weight_bits": 4, "activation_bits": 4, "exponent_bits": 2},
    "f6": {"sparsity": 0.25, "weight_bits": 6, "activation_bits": 3, "exponent_bits": 3},
    "f3": {"sparsity": 0.5, "weight_bits": 3, "activation_bits": 8, "exponent_bits": 1},
    "f5": {"sparsity": 0.75, "weight_bits": 5, "activation_bits": 6, "exponent_bits": 2},
    "f2": {"sparsity": 0.9, "weight_bits": 2, "activation_bits": 5, "exponent_bits": 1},
}
MORE: dict[str, tuple[float, ...]] = {
    "mantissa_bits": (1, 2, 1, 3, 0),
    "block_size": (16, 64, 32, 512, 128),
    "gmse": (0.012, 0.004, 0.05, 0.02, 0.12),
    "gmse_activation": (0.012, 0.04, 0.0, 0.002, 0.006),
}
for column, numbers in MORE.items():
    for described, number in zip(FORMATS.values(), numbers, strict=True):
        described[column] = number
# In internal units, of the order of the published ones: loss about 3 in the middle of the grid.
PLANTED = {
    **{"A": 1.0, "B": 0.6, "E": 1.6, "alpha": 0.25, "beta": 0.3, "gamma": 0.6},
    **{"a_S": 0.5, "c_S": 0.6, "b_S": 1.2, "b_N": 0.25, "b_D": 0.3},
    **{"F": 0.45, "C": 1.4, "a": 0.8, "b": 8.0},
    **{"gamma_w": 2.7, "gamma_a": 2.2, "n_w": 0.3, "n_a": 0.5},
    **{"k": 0.3, "gamma_N": 0.3, "gamma_D": 0.2, "gamma_G": 0.5, "delta": 1.5, "nu": 1.2},
}
SPREAD = {"rho": (0.9, 0.3), "eff_N": (0.9, 0.3), "eff_D": (0.5, 0.95), "k": (0.1, 0.4)}
SPREAD |= {"alpha": (0.2, 0.4), "A": (1.0, 2.0)}


def planted_theta(form: LawForm, runs: Observations) -> Floats:
    """One vector of constants that are neither at a bound nor alike, (p,)."""
    values: list[float] = []
    for parameter, where in form.layout(runs).values():
        width = where.stop - where.start
        if parameter.group:
            own = np.linspace(*SPREAD[parameter.name], width)
        else:
            own = np.array([PLANTED[parameter.name]])
        values += (np.log(own) if parameter.logarithmic else own).tolist()
    return np.array(values)


def with_loss(log_loss: Floats) -> RunTable:
    """The grid with the given losses."""
    names = ["bf16", *FORMATS]
    rows = [(name, n, n * ratio) for name in names for n in SIZES for ratio in RATIOS]
    formats = [row[0] for row in rows]
    num_params, num_tokens = (np.array([row[i] for row in rows]) for i in (1, 2))
    table = make_table(formats, num_params, num_tokens, np.exp(log_loss))
    # Group sizes that follow neither N nor D nor the format.
    index = np.arange(len(rows))
    group = np.exp2(4.0 + 2.0 * ((index + index // 3 + index // 12) % 3)).astype(np.float64)
    group[np.array(formats) == "bf16"] = np.nan
    return replace(table, covariates={"group_size": group})


def reordered(table: RunTable, order: NDArray[np.intp]) -> RunTable:
    """The same runs in another order."""
    moved = {
        name: getattr(table, name)[order]
        for name in ("num_params", "num_tokens", "val_loss", "seed", "epochs")
    }
    covariates = {name: values[order] for name, values in table.covariates.items()}
    formats = tuple(table.formats[i] for i in order)
    return replace(table, formats=formats, covariates=covariates, **moved)


def grid() -> Observations:
    """The grid without meaningful losses."""
    return observe(with_loss(np.zeros(6 * 12)), dense="bf16", by_format=FORMATS)


def planted(form: LawForm, noise: float = 0.0, seed: int = 0) -> RunTable:
    """Runs that follow one law, with Gaussian noise on the log loss."""
    runs = grid()
    log_loss = form.log_loss(planted_theta(form, runs)[None], runs)[0]
    generator = np.random.default_rng(seed)
    return with_loss(log_loss + noise * generator.standard_normal(len(runs)))
