"""A fit as plain text."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from unified_laws.laws.result import LawsResult

# Correlations of the law's parameters from this size on are worth a line.
NOTABLE_CORRELATION = 0.9


def summarize(laws: LawsResult) -> str:
    """Capacities, law, noise, correlations, runs that stand out, warnings."""
    return "\n".join(
        [
            *_capacities(laws),
            "",
            "L(N, D) = A (N rho)^-alpha + B D^-beta + E",
            *(
                f"  {entry.name:<5} = {entry.value:<10.4g} [{entry.low:.4g}, {entry.high:.4g}]"
                for entry in laws.law_intervals
            ),
            "",
            *_quality(laws),
            *_correlations(laws),
            *_runs(laws),
            *(f"left out: {entry.runs} ({entry.reason})" for entry in laws.left_out),
            *(f"warning: {text}" for text in laws.fit.warnings),
        ]
    )


def _capacities(laws: LawsResult) -> list[str]:
    width = max(len("format"), *(len(entry.format) for entry in laws.capacities))
    others = [m for m in ("profile", "bootstrap", "curvature") if m != laws.interval]
    others = [m for m in others if any(e.method == m for e in laws.intervals)]
    head = f"{'format':<{width}}  runs     rho   95 % interval    stderr"
    lines = [head + "".join(f"  {m:<16}" for m in others).rstrip()]
    ends = {(e.parameter, e.method): (e.low, e.high) for e in laws.intervals}
    for entry in laws.capacities:
        line = (
            f"{entry.format:<{width}}  {entry.runs:>4}  {entry.rho:6.3f}  "
            f"[{entry.low:6.3f}, {entry.high:6.3f}]  {entry.stderr:6.3f}"
        )
        for method in others:
            low, high = ends.get((f"rho of {entry.format}", method), (1.0, 1.0))
            line += f"  [{low:6.3f}, {high:6.3f}]"
        lines.append(line)
    return lines


def _quality(laws: LawsResult) -> list[str]:
    fit = laws.fit
    lines = [
        f"{laws.num_runs} runs, rms log residual {fit.rmse_log:.2e}, "
        f"{fit.starts_at_best} of {fit.starts} starts at the best optimum, "
        f"condition {fit.condition:.2g}; {laws.objective}, {laws.interval} intervals"
    ]
    if laws.replicates is not None:
        lines.append(
            f"seeds of one configuration scatter by {laws.replicates.stderr_log:.2e} in log loss "
            f"({laws.replicates.degrees_of_freedom} degrees of freedom); residuals by "
            f"{fit.noise_log:.2e}"
        )
    found = laws.components
    if found is not None:
        lines.append(
            f"random effect of the {found.group} ({found.method}, {found.groups} groups): "
            f"sigma_{found.group} {found.sigma_group:.2e}, sigma_run {found.sigma_run:.2e}, "
            f"correlation {found.correlation:.2f}, p = {found.p:.2g}"
        )
    return lines


def _correlations(laws: LawsResult) -> list[str]:
    matrix, names = laws.covariance.correlation(), laws.covariance.names
    pairs = [
        (float(matrix[i, j]), names[i], names[j])
        for i in range(min(5, len(names)))
        for j in range(i)
        if abs(matrix[i, j]) >= NOTABLE_CORRELATION
    ]
    if not pairs:
        return []
    pairs.sort(key=lambda pair: -abs(pair[0]))
    return ["correlated: " + ", ".join(f"{a} and {b} {size:+.3f}" for size, b, a in pairs)]


def _runs(laws: LawsResult) -> list[str]:
    if laws.diagnostics is None or not laws.diagnostics.formats:
        return []
    runs = laws.diagnostics.runs
    shifts = np.array([abs(run.shift) for run in runs])
    if not np.isfinite(shifts).any():
        return []
    most = int(np.nanargmax(shifts))
    row, run = laws.residuals[most], runs[most]
    tested = [d for d in laws.diagnostics.drifts if math.isfinite(d.p)]
    drift = sum(d.p_adjusted < 0.05 for d in tested)
    return [
        f"most influential run: {row.format} at N = {row.num_params:.4g}, "
        f"D = {row.num_tokens:.4g} (rho of {run.moves} moves by {run.shift:+.2f} of its standard "
        f"error without it); {len(laws.diagnostics.outliers)} outliers; rho drifts with D or D/N "
        f"in {drift} of {len(tested)} tests"
    ]
