"""What a fit cannot tell, in plain words."""

from __future__ import annotations

import math

import numpy as np

from unified_laws.laws.curvature import Curvature
from unified_laws.laws.estimate import Estimate
from unified_laws.laws.intervals import Intervals
from unified_laws.laws.loss_law import PARAMETERS, Floats
from unified_laws.laws.objective import ALPHA, BETA, LOG_A, LOG_E
from unified_laws.laws.table import RunTable
from unified_laws.laws.telling_run import most_telling_run

# A parameter with a larger relative standard error, or a lower end below this share of its value,
# is called not identified.
LARGEST_RELATIVE_STDERR, LEAST_SHARE = 0.5, 0.05
# Two parameters this correlated can trade against each other.
LARGEST_CORRELATION = 0.99
# Within a format, D/N must vary by this factor for N and D to be told apart.
LEAST_RATIO_SPREAD = 1.5
LEAST_SHARE_AT_BEST = 0.05


def diagnose(
    estimate: Estimate, curvature: Curvature, intervals: Intervals, table: RunTable
) -> tuple[str, ...]:
    """Sentences on what is not identified, not converged or not covered by the runs."""
    return (
        *_design(table),
        *_irreducible(estimate, curvature, intervals, table),
        *_exponents(estimate, curvature, table),
        *_bounds(estimate),
        *_optimiser(estimate),
    )


def _design(table: RunTable) -> list[str]:
    """Grids on which a term of the law cannot be seen at all."""
    found = []
    if np.ptp(table.num_tokens) == 0:
        found.append(
            f"every run has D = {table.num_tokens[0]:.4g} tokens: B, beta and E cannot be told "
            "apart, only their sum; add runs with other token counts"
        )
    if np.ptp(table.num_params) == 0:
        found.append(
            f"every run has N = {table.num_params[0]:.4g} parameters: A, alpha and with them every "
            "rho cannot be identified; add runs with other sizes"
        )
    if found:
        return found
    ratio = np.log(table.num_tokens / table.num_params)
    labels = np.array(table.formats)
    spread = max(float(np.ptp(ratio[labels == name])) for name in set(table.formats))
    if spread < math.log(LEAST_RATIO_SPREAD):
        found.append(
            f"D/N is nearly constant within every format (it varies by a factor of "
            f"{math.exp(spread):.2f} at most): the parameter term and the token term can hardly be "
            "told apart; add runs with other D/N"
        )
    return found


def _irreducible(
    estimate: Estimate, curvature: Curvature, intervals: Intervals, table: RunTable
) -> list[str]:
    if estimate.box.held[LOG_E]:
        return []
    value = math.exp(estimate.theta[LOG_E])
    low, high = float(intervals.low[LOG_E]), float(intervals.high[LOG_E])
    stderr = float(curvature.natural_stderr[LOG_E])
    reasons = []
    if "E" in estimate.at_bound:
        side = "0" if estimate.theta[LOG_E] <= estimate.box.low[LOG_E] + 1e-9 else "its upper bound"
        reasons.append(f"the best fit has E at {side}")
    elif low <= LEAST_SHARE * value:
        reasons.append("its interval reaches 0")
    elif stderr > LARGEST_RELATIVE_STDERR * value:
        reasons.append(f"its relative standard error is {stderr / value:.2f}")
    for other, name in ((LOG_A, "A"), (ALPHA, "alpha")):
        size = abs(_correlation(curvature.covariance, LOG_E, other))
        if size > LARGEST_CORRELATION:
            reasons.append(f"its correlation with {name} is {size:.3f}")
    if not reasons:
        return []
    span = f" [{low:.3g}, {high:.3g}]" if math.isfinite(high) else ""
    return [
        f"E = {value:.3g}{span} is not identified: {'; '.join(reasons)}. Do not extrapolate with "
        "it; rho changes less, compare with E fixed at a plausible value; "
        + most_telling_run(estimate, curvature, table, LOG_E, "E")
    ]


def _correlation(covariance: Floats, i: int, j: int) -> float:
    scale = covariance[i, i] * covariance[j, j]
    if not (math.isfinite(scale) and scale > 0):
        return 0.0
    return float(covariance[i, j] / math.sqrt(scale))


def _exponents(estimate: Estimate, curvature: Curvature, table: RunTable) -> list[str]:
    found = []
    for index, term in ((ALPHA, "parameter"), (BETA, "token")):
        name = PARAMETERS[index]
        if estimate.box.held[index]:
            continue
        value, stderr = float(estimate.theta[index]), float(curvature.natural_stderr[index])
        if name in estimate.at_bound:
            reason = "it sits at a bound"
        elif stderr > LARGEST_RELATIVE_STDERR * value:
            reason = (
                f"its relative standard error is {stderr / value:.2f}"
                if math.isfinite(stderr)
                else "the runs carry no information on it"
            )
        else:
            continue
        found.append(
            f"{name} = {value:.3g} is not identified ({reason}): the {term} term is loose; "
            + most_telling_run(estimate, curvature, table, index, name)
        )
    return found


def _bounds(estimate: Estimate) -> list[str]:
    return [
        f"{name} of the fit sits at its bound: those runs do not follow the law"
        for name in estimate.at_bound
        if name.startswith("rho of ")
    ] + [
        f"{name} is a coefficient at its bound: its term has vanished from the fit"
        for name in estimate.at_bound
        if name in ("A", "B")
    ]


def _optimiser(estimate: Estimate) -> list[str]:
    found = []
    if not estimate.converged:
        found.append(
            "the optimiser has not converged (the gradient does not vanish at the best point); "
            "raise the number of starts or delta"
        )
    if estimate.starts_at_best < LEAST_SHARE_AT_BEST * estimate.starts:
        found.append(
            f"only {estimate.starts_at_best} of {estimate.starts} starts reached the best optimum; "
            "raise the number of starts and see whether the result stays"
        )
    return found
