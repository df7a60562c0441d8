"""How far a product of capacities misses the capacity of the combination."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np

from unified_laws.laws.loss_law import Floats
from unified_laws.laws.published.read import read_matrix

# arXiv:2506.01863v1, Fig. 6 and Fig. 7.
INTERACTIONS, NOISE = "weight_activation_bits", "weight_bits_sparsity"
# Row of Fig. 7 whose quantizer costs next to nothing.
NEARLY_DENSE = "8"


def product_misses(name: str) -> dict[tuple[str, ...], tuple[float, float]]:
    """Of each cell of a published matrix: miss of the product, and the smaller factor's loss.

    Both in log rho; the factors are the cells that compress one operand alone.
    """
    matrix = read_matrix(name)
    log_rho = {cell.levels: float(np.log(cell.rho)) for cell in matrix.cells}
    dense = matrix.dense
    found = {}
    for levels, value in log_rho.items():
        if any(level == own for level, own in zip(levels, dense, strict=True)):
            continue
        alone = [log_rho[levels[0], dense[1]], log_rho[dense[0], levels[1]]]
        found[levels] = (value - sum(alone), min(abs(each) for each in alone))
    return found


@functools.cache
def _share_and_floor() -> tuple[float, float]:
    miss, smaller = np.array(list(product_misses(INTERACTIONS).values())).T
    share = _rms(miss / smaller)
    floor = [
        value for levels, (value, _) in product_misses(NOISE).items() if levels[0] == NEARLY_DENSE
    ]
    return share, _rms(np.array(floor))


def _rms(values: Floats) -> float:
    return float(np.sqrt(np.square(values).mean()))


def factor_spread(log_rho: Sequence[float]) -> float:
    """Standard error of log rho of a product beyond that of its factors.

    In Fig. 6 products fall short of the measured capacity by about half of the smaller of the two
    losses of capacity (in logs), from 1 to 4 bits alike; so the more both factors cost, the less
    the product is to be trusted. Where one factor costs next to nothing the misses of Fig. 7 at 8
    bits remain, which are noise of the fits. For more factors all losses but the largest are added.

    Args:
        log_rho: log capacity of each factor.
    """
    share, floor = _share_and_floor()
    losses = sorted(abs(value) for value in log_rho)
    return float(np.hypot(floor, share * sum(losses[:-1])))
