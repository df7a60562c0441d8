"""What is known of the runs' noise before the law is fitted: weights, and the Huber threshold."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from unified_laws.errors import UsageError
from unified_laws.laws.estimate import estimate_law
from unified_laws.laws.loss_law import Floats
from unified_laws.laws.noise import robust_scale
from unified_laws.laws.replicates import EFFICIENT_CLIP, LEAST_FREEDOM, Replicates
from unified_laws.laws.table import RunTable


def relative_scale(table: RunTable, weights: str | None) -> Floats | None:
    """Relative standard errors with geometric mean 1, (n,)."""
    if weights is None:
        return None
    if weights != "val_loss_stderr":
        raise UsageError(f"weights is {weights!r}; allowed is null or val_loss_stderr")
    known = table.val_loss_stderr
    if known is None:
        raise UsageError(
            "weights=val_loss_stderr needs a column val_loss_stderr, and the table has none; map "
            "it with columns={val_loss_stderr:<its name>}, or set weights=null"
        )
    missing = int((~(np.isfinite(known) & (known > 0))).sum())
    if missing:
        raise UsageError(
            f"weights=val_loss_stderr needs a value above zero for every run, and {missing} of "
            f"{len(table)} have none; fill them in, or set weights=null"
        )
    log_scale = np.log(known / table.val_loss)
    scale: Floats = np.exp(log_scale - log_scale.mean())
    return scale


def huber_threshold(
    table: RunTable,
    delta: float | str,
    replicates: Replicates | None,
    objective: str,
    arguments: Mapping[str, object],
) -> float:
    """The Huber threshold as a number."""
    if delta != "auto":
        if isinstance(delta, str):
            raise UsageError(f"delta is {delta!r}; allowed is a number above zero, inf, or auto")
        return float(delta)
    if objective != "huber":
        return math.inf
    if replicates is not None and replicates.degrees_of_freedom >= LEAST_FREEDOM:
        noise = replicates.stderr_log
    else:
        rough = estimate_law(table, delta=math.inf, **arguments)  # type: ignore[arg-type]
        noise = robust_scale(rough.standardized, rough.num_free)
    return EFFICIENT_CLIP * noise if noise > 0 else math.inf
