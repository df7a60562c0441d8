"""Which one further run would say most about a parameter that is not identified."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from unified_laws.laws.curvature import Curvature, invert_information
from unified_laws.laws.estimate import Estimate
from unified_laws.laws.loss_law import Floats
from unified_laws.laws.objective import LOG_E
from unified_laws.laws.table import RunTable

# Candidates: dense runs in factors of two from the smallest N and D to four times the largest, at
# D/N at most a factor of two outside what there is (further out the law itself may not hold), for
# at most four times the FLOPs (6 N D) of the dearest run so far.
LARGER, FACTOR, OUTSIDE, DEARER = 4.0, 2.0, 2.0, 4.0


def most_telling_run(
    estimate: Estimate, curvature: Curvature, table: RunTable, parameter: int, name: str
) -> str:
    """A sentence naming the dense run that shrinks the standard error of ``parameter`` most."""
    objective = estimate.objective
    candidates = _candidates(table.num_params, table.num_tokens)
    trial = replace(
        objective,
        log_params=np.log(candidates[:, 0]) - objective.mean_log_params,
        log_tokens=np.log(candidates[:, 1]) - objective.mean_log_tokens,
        log_loss=np.zeros(len(candidates)),
        design=np.zeros((len(candidates), objective.design.shape[1])),
        scale=None,
        whiten=None,
    )
    rows = trial.jacobian(estimate.theta)
    rows[:, LOG_E] /= math.exp(estimate.theta[LOG_E])
    free = curvature.free.copy()
    free[parameter] = True
    variance = np.array(
        [
            invert_information(np.vstack([curvature.jacobian, row]), free)[parameter, parameter]
            for row in rows
        ]
    )
    best = int(variance.argmin())
    noise = curvature.noise.variance
    if not math.isfinite(variance[best]) or not noise > 0:
        return f"no single dense run of up to four times the size would tell {name}"
    before = math.sqrt(noise * invert_information(curvature.jacobian, free)[parameter, parameter])
    n, d = candidates[best]
    after = math.sqrt(noise * variance[best])
    return (
        f"of {len(candidates)} further dense runs the one with N = {n:.3g} and D = {d:.3g} "
        f"would tell most: standard error of {name} {before:.2g} -> {after:.2g}"
    )


def _candidates(num_params: Floats, num_tokens: Floats) -> Floats:
    """(N, D) of the runs that are considered, (k, 2)."""
    dearest = DEARER * float((num_params * num_tokens).max())
    ratio = num_tokens / num_params
    low, high = float(ratio.min()) / OUTSIDE, float(ratio.max()) * OUTSIDE
    found = [
        (n, d)
        for n in _upwards(num_params)
        for d in _upwards(num_tokens)
        if n * d <= dearest * (1 + 1e-9) and low <= d / n <= high
    ]
    return np.array(found)


def _upwards(values: Floats) -> Floats:
    low, high = float(values.min()), float(values.max()) * LARGER
    count = 1 + math.ceil(math.log(high / low) / math.log(FACTOR))
    return np.geomspace(low, high, count)
