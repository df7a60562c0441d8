"""How far a product of capacities misses the capacity of the combination."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from unified_laws.laws.loss_law import Floats

# Capacities as printed in arXiv:2506.01863v1. Fig. 6: bits of weights (rows) and activations
# (columns) 1, 2, 3, 4, 16.
FIGURE_6 = np.array(
    [
        [0.09, 0.15, 0.19, 0.20, 0.21],
        [0.15, 0.30, 0.40, 0.45, 0.45],
        [0.19, 0.42, 0.62, 0.70, 0.74],
        [0.20, 0.46, 0.72, 0.85, 0.90],
        [0.21, 0.48, 0.76, 0.91, 1.00],
    ]
)
# Fig. 7, its rows of 8 and 16 bits at sparsity 0, .25, .5, .75.
FIGURE_7_EIGHT = np.array([0.99, 0.90, 0.75, 0.51])
FIGURE_7_DENSE = np.array([1.00, 0.84, 0.70, 0.50])


def product_misses(matrix: Floats) -> tuple[Floats, Floats]:
    """Miss of the product in log rho, and the smaller of the two losses of capacity, (cells,).

    Args:
        matrix: capacities whose last row and column are those of the factors alone.
    """
    rows, columns = np.log(matrix[:-1, -1:]), np.log(matrix[-1:, :-1])
    miss = np.log(matrix[:-1, :-1]) - rows - columns
    return miss.ravel(), np.minimum(-rows, -columns).ravel()


def factor_spread(log_rho: Sequence[float]) -> float:
    """Standard error of log rho of a product beyond that of its factors.

    In Fig. 6 products fall short of the measured capacity by about half of the smaller of the two
    losses of capacity (in logs), from 1 to 4 bits alike; so the more both factors cost, the less
    the product is to be trusted. Where one factor costs next to nothing the misses of Fig. 7 at 8
    bits remain, which are noise of the fits. For more factors all losses but the largest are added.

    Args:
        log_rho: log capacity of each factor.
    """
    miss, smaller = product_misses(FIGURE_6)
    share = float(np.sqrt(np.square(miss / smaller).mean()))
    floor_miss = np.log(FIGURE_7_EIGHT[1:] / FIGURE_7_EIGHT[0] / FIGURE_7_DENSE[1:])
    floor = float(np.sqrt(np.square(floor_miss).mean()))
    losses = sorted(abs(value) for value in log_rho)
    return float(np.hypot(floor, share * sum(losses[:-1])))
