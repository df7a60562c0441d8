"""Starting points of the fit: a low-discrepancy cover of alpha, beta and E; the rest is solved."""

from __future__ import annotations

import numpy as np
from scipy.stats import qmc

from unified_laws.laws.loss_law import Floats
from unified_laws.laws.newton import Box
from unified_laws.laws.objective import ALPHA, BETA, LOG_A, LOG_B, LOG_E, NUM_LAW, Objective

# Ranges of the starts: published exponents lie in .05-.8 (papers.md §1.2, §3.2, §4), and E from
# nothing to nearly the smallest loss. They are where descents begin, not bounds.
ALPHA_RANGE = (0.03, 1.2)
BETA_RANGE = (0.05, 1.5)
SHARE_OF_MIN_LOSS = (0.0, 0.97)


def make_starts(objective: Objective, box: Box, held: Floats, count: int) -> Floats:
    """Starting points, (count, p): a Halton sequence over (alpha, beta, E), the rest solved for.

    For each (alpha, beta, E) the dense rows give A and B by non-negative least squares in relative
    loss, and inverting that law gives each format's median log rho.

    Args:
        objective: what will be minimised.
        box: its bounds.
        held: values of the held parameters, (p,).
        count: number of starts.
    """
    cover = qmc.Halton(d=3, scramble=False).random(count)
    loss = np.exp(objective.log_loss)
    theta = np.zeros((count, objective.num_parameters))
    theta[:, ALPHA] = _spread(cover[:, 0], ALPHA_RANGE, logarithmic=True)
    theta[:, BETA] = _spread(cover[:, 1], BETA_RANGE, logarithmic=True)
    share = _spread(cover[:, 2], SHARE_OF_MIN_LOSS, logarithmic=False)
    theta[:, LOG_E] = np.log(np.maximum(share * loss.min(), np.exp(box.low[LOG_E])))
    theta[:, :NUM_LAW] = np.where(box.held[:NUM_LAW], held[:NUM_LAW], theta[:, :NUM_LAW])
    dense = objective.design.sum(axis=1) == 0
    first, second = _coefficients(objective, theta, dense, loss)
    theta[:, LOG_A], theta[:, LOG_B] = np.log(first), np.log(second)
    theta[:, NUM_LAW:] = _capacities(objective, theta, loss)
    free = ~box.held
    theta[:, free] = np.clip(theta[:, free], box.low[free], box.high[free])
    return theta


def _spread(unit: Floats, limits: tuple[float, float], *, logarithmic: bool) -> Floats:
    low, high = np.log(limits) if logarithmic else limits
    value = low + unit * (high - low)
    return np.exp(value) if logarithmic else value


def _coefficients(
    objective: Objective, theta: Floats, dense: np.ndarray, loss: Floats
) -> tuple[Floats, Floats]:
    """A and B of the dense rows at each start: two-column non-negative least squares."""
    x = np.exp(-theta[:, [ALPHA]] * objective.log_params[dense]) / loss[dense]
    z = np.exp(-theta[:, [BETA]] * objective.log_tokens[dense]) / loss[dense]
    y = 1.0 - np.exp(theta[:, [LOG_E]]) / loss[dense]
    xx, zz, xz = (x * x).sum(axis=1), (z * z).sum(axis=1), (x * z).sum(axis=1)
    xy, zy = (x * y).sum(axis=1), (z * y).sum(axis=1)
    determinant = np.maximum(xx * zz - xz**2, 1e-9 * xx * zz)
    first = (zz * xy - xz * zy) / determinant
    second = (xx * zy - xz * xy) / determinant
    # Where one coefficient would be negative, the terms share the rest of the loss instead.
    bad = (first <= 0) | (second <= 0)
    first = np.where(bad, 0.5 * np.maximum(xy, 1e-6) / xx, first)
    second = np.where(bad, 0.5 * np.maximum(zy, 1e-6) / zz, second)
    return first, second


def _capacities(objective: Objective, theta: Floats, loss: Floats) -> Floats:
    """Median log rho of each format by inverting the law of each start, (count, F)."""
    second = np.exp(theta[:, [LOG_B]] - theta[:, [BETA]] * objective.log_tokens)
    left = np.maximum(loss - np.exp(theta[:, [LOG_E]]) - second, 1e-3 * loss)
    log_rho = (theta[:, [LOG_A]] - np.log(left)) / theta[:, [ALPHA]] - objective.log_params
    members = [objective.design[:, i] > 0 for i in range(len(objective.formats))]
    medians = [np.median(log_rho[:, member], axis=1) for member in members]
    return np.column_stack(medians) if medians else np.zeros((len(theta), 0))
