"""Starting points of any law: a Latin hypercube over its constants, coefficients solved for."""

from __future__ import annotations

import numpy as np
from scipy.optimize import nnls

from unified_laws.laws.forms.base import LawForm, Parameter, Values
from unified_laws.laws.forms.observations import Observations
from unified_laws.laws.loss_law import Floats

# A term starts with at least this share of the loss: from nothing it would never grow.
LEAST_SHARE = 1e-3


def draw_starts(form: LawForm, runs: Observations, count: int, seed: int) -> Floats:
    """``count`` parameter vectors, (count, p), spread over the laws' start ranges.

    Every range is cut into ``count`` cells of which each is used once; constants of one kind (one
    per format) start at the same value.
    """
    generator = np.random.default_rng(seed)
    smallest = float(runs.log_loss.min())
    columns = []
    for parameter, where in form.layout(runs).values():
        cells = (generator.permutation(count) + generator.random(count)) / count
        value = _spread(cells, parameter)
        if parameter.coefficient:
            value = value + smallest
        columns.append(np.repeat(value[:, None], where.stop - where.start, axis=1))
    return np.concatenate(columns, axis=1)


def _spread(unit: Floats, parameter: Parameter) -> Floats:
    """Cells of [0, 1) to values in the optimiser's scale."""
    low, high = parameter.starts
    if low <= 0.0:
        return low + unit * (high - low)
    logs = np.log(low) + unit * (np.log(high) - np.log(low))
    found: Floats = logs if parameter.logarithmic else np.exp(logs)
    return found


def non_negative(columns: Floats) -> Floats:
    """Positive coefficients whose combination of each (n, m) matrix is nearest to one, (S, m)."""
    ones = np.ones(columns.shape[1])
    least = LEAST_SHARE / np.maximum(columns.max(axis=1), 1e-300)
    found = np.empty((len(columns), columns.shape[2]))
    for index, matrix in enumerate(columns):
        size = np.maximum(matrix.max(axis=0), 1e-300)
        found[index] = nnls(matrix / size, ones)[0] / size
    positive: Floats = np.maximum(found, least)
    return positive


def solve_coefficients(form: LawForm, theta: Floats, runs: Observations) -> Floats:
    """The given vectors with the coefficients of all terms by non-negative least squares."""
    layout = form.layout(runs)
    start = theta.copy()
    for parameter, where in layout.values():
        if parameter.coefficient:
            start[:, where] = 0.0
    columns, places = [], []
    for term in form.terms(Values(start, runs, layout), runs):
        parameter, where = layout[term.coefficient]
        part = np.exp(np.broadcast_to(term.log, (len(theta), len(runs))) - runs.log_loss)
        columns.append(part[:, :, None] * runs.one_hot(parameter.group))
        places += list(range(where.start, where.stop))
    start[:, places] = np.log(non_negative(np.concatenate(columns, axis=2)))
    return start
