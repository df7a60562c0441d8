"""Noise, outliers and drifts in sentences."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from unified_laws.laws.diagnostics import CHANCE, Diagnostics
from unified_laws.laws.quality import Residual
from unified_laws.laws.replicates import Replicates
from unified_laws.laws.table import RunTable

# Runs that scatter this many times more (or less) than their stated errors are worth a sentence.
NOTABLE_RATIO = 2.0
# More outliers than this are counted rather than listed.
MOST_NAMED = 5


def say_noise(
    sigma: float, replicates: Replicates | None, table: RunTable, *, weighted: bool
) -> tuple[str, ...]:
    """Where the noise is not what replicates or stated errors promise."""
    found = []
    if replicates is not None and replicates.misfit_p < CHANCE:
        found.append(
            f"the law misses the configurations' means by more than the seeds explain (lack of fit "
            f"F = {replicates.misfit_ratio:.1f}, p = {replicates.misfit_p:.2g}; seeds scatter by "
            f"{replicates.stderr_log:.2g} in log loss): seeds of one configuration are not "
            "independent evidence on the law; set objective=least_squares "
            "random_effect=configuration"
        )
    if weighted and table.val_loss_stderr is not None:
        stated = float(np.exp(np.log(table.val_loss_stderr / table.val_loss).mean()))
        ratio = sigma / stated
        if ratio > NOTABLE_RATIO or ratio < 1.0 / NOTABLE_RATIO:
            found.append(
                f"the runs scatter {ratio:.2g} times their stated standard errors: those weight "
                "the runs against each other, the intervals follow the scatter"
            )
    return tuple(found)


def name_run(row: Residual) -> str:
    """A run in words: format, N, D."""
    return f"{row.format} at N = {row.num_params:.4g}, D = {row.num_tokens:.4g}"


def say_diagnostics(diagnostics: Diagnostics, rows: Sequence[Residual]) -> tuple[str, ...]:
    """Outliers by name, and formats whose rho drifts."""
    outliers = diagnostics.outliers
    found = []
    for i in sorted(outliers, key=lambda i: -abs(diagnostics.runs[i].studentized))[:MOST_NAMED]:
        run = diagnostics.runs[i]
        text = (
            f"outlier: {name_run(rows[i])} lies {100 * rows[i].log_residual:+.2f} % off the law, "
            f"{abs(run.studentized):.1f} standard errors"
        )
        if run.moves:
            text += f"; without it rho of {run.moves} moves by {run.shift:+.2f} of its own"
        found.append(text)
    if len(outliers) > MOST_NAMED:
        found.append(f"and {len(outliers) - MOST_NAMED} more outliers")
    found += [
        f"rho of {drift.format} is not one number: it changes by a factor of "
        f"{2.0**drift.slope:.3f} with every doubling of {drift.variable} (likelihood ratio "
        f"{drift.statistic:.1f}, p = {drift.p:.2g}, {drift.p_adjusted:.2g} after Holm)"
        for drift in diagnostics.drifting
    ]
    return tuple(found)
