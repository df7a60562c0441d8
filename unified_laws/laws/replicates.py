"""Noise between seeds of one configuration, and whether the law misses more than that."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.stats import f as fisher

from unified_laws.laws.bootstrap import configurations
from unified_laws.laws.estimate import Estimate
from unified_laws.laws.table import RunTable

# Huber 1964: clipping at this many standard deviations keeps 95 % efficiency under Gaussian noise.
EFFICIENT_CLIP = 1.345
# With fewer degrees of freedom the seeds do not tell the noise well enough to set delta by it.
LEAST_FREEDOM = 5


@dataclass(frozen=True)
class Replicates:
    """What runs of the same format, N and D say about the noise.

    Attributes:
        stderr_log: pooled standard deviation of log loss between such runs.
        degrees_of_freedom: runs minus configurations.
        misfit_ratio: mean square by which the law misses the configurations' means, over the noise
            (F of the test of lack of fit); NaN where it cannot be formed.
        misfit_p: chance of a larger ratio if the law were true and the noise Gaussian.
    """

    stderr_log: float
    degrees_of_freedom: int
    misfit_ratio: float = math.nan
    misfit_p: float = math.nan


def pooled_noise(table: RunTable) -> Replicates | None:
    """Pooled noise of repeated configurations; None where none is repeated."""
    log_loss, labels = np.log(table.val_loss), configurations(table)
    squares, freedom = 0.0, 0
    for label in dict.fromkeys(labels):
        own = log_loss[[i for i, other in enumerate(labels) if other == label]]
        squares += float(np.square(own - own.mean()).sum())
        freedom += len(own) - 1
    if not freedom:
        return None
    return Replicates(math.sqrt(squares / freedom), freedom)


def lack_of_fit(found: Replicates, estimate: Estimate) -> Replicates:
    """The F test of lack of fit against pure error (Draper & Smith 1998, §2.1).

    Note:
        Exact for least squares of a linear model and Gaussian noise; with a Huber fit it errs on
        the side of seeing a lack of fit, as the sum of squares is not at its least.
    """
    between = len(estimate.residuals) - found.degrees_of_freedom - estimate.num_free
    noise = found.stderr_log**2
    if between < 1 or not noise > 0:
        return found
    total = float(np.square(estimate.residuals).sum())
    excess = max(total - noise * found.degrees_of_freedom, 0.0) / between
    ratio = excess / noise
    return Replicates(
        found.stderr_log,
        found.degrees_of_freedom,
        ratio,
        float(fisher.sf(ratio, between, found.degrees_of_freedom)),
    )
