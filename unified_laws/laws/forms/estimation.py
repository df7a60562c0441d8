"""One estimator for every law: many starts as one batch, the best polished with exact curvature."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from unified_laws.errors import UsageError
from unified_laws.laws.forms.base import LawForm, Parameter
from unified_laws.laws.forms.objective import FormObjective
from unified_laws.laws.forms.observations import Observations
from unified_laws.laws.forms.starts import draw_starts
from unified_laws.laws.loss_law import Floats
from unified_laws.laws.newton import Box, descend, descend_gradually

# Huber with a threshold far below the noise of losses (3e-4 relative between reruns of the OLMo
# ladder) is least absolute residuals, with a corner that Newton can still see.
ABSOLUTE_DELTA = 1e-5
OBJECTIVES = ("huber", "least_squares", "least_absolute")
# Different optima that are polished (and tried again on subsets of the runs), the share by which
# their objectives differ, and the most steps of the polish.
POLISHED, DIFFERENT, POLISH_STEPS = 4, 1e-3, 200
# A start reached the best optimum when its objective agrees to this relative tolerance; it is that
# of Gauss-Newton, which stops a little short of the polished end in flat valleys.
SAME_OPTIMUM = 1e-4
NOTHING_FIXED: Mapping[str, float] = MappingProxyType({})


@dataclass(frozen=True, eq=False)
class FormEstimate:
    """The best of many descents of one law.

    Attributes:
        objective: what was minimised.
        box: bounds and held parameters.
        theta: best point in internal units, (p,).
        value: sum of Huber losses of the log residuals there.
        candidates: the best different optima, (K, p), the best first.
        starts: number of descents.
        starts_at_best: how many ended within 1e-4 (relative) of the best value.
        converged: the gradient vanishes at the best point.
        at_bound: names of the parameters that sit at a bound.
    """

    objective: FormObjective
    box: Box
    theta: Floats
    value: float
    candidates: Floats
    starts: int
    starts_at_best: int
    converged: bool
    at_bound: tuple[str, ...]

    @property
    def num_free(self) -> int:
        """Parameters that were fitted rather than held."""
        return int((~self.box.held).sum())

    @property
    def residuals(self) -> Floats:
        """``log L - log Lhat`` of each run, (n,)."""
        found: Floats = self.objective.residuals(self.theta[None])[0]
        return found

    @property
    def constants(self) -> dict[str, float]:
        """The law's constants by name, with N in parameters and D in tokens."""
        form, runs = self.objective.form, self.objective.runs
        layout = form.layout(runs)
        values: list[float] = []
        for parameter, where in layout.values():
            own = self.theta[where] + _shift(parameter, layout, self.theta, runs)
            values += (np.exp(own) if parameter.logarithmic else own).tolist()
        return dict(zip(form.names(runs), values, strict=True))


def threshold(objective: str, delta: float) -> float:
    """The Huber threshold that stands for an objective.

    Raises:
        UsageError: the objective is unknown, or delta is not above zero.
    """
    if objective not in OBJECTIVES:
        raise UsageError(f"objective is {objective!r}; allowed are {', '.join(OBJECTIVES)}")
    if objective == "huber" and not delta > 0:
        raise UsageError(f"delta is {delta}; allowed is a number above zero (1e-3 is usual)")
    return {"huber": delta, "least_squares": math.inf, "least_absolute": ABSOLUTE_DELTA}[objective]


def estimate_form(
    form: LawForm,
    runs: Observations,
    *,
    delta: float,
    starts: int,
    seed: int,
    fixed: Mapping[str, float] = NOTHING_FIXED,
    weights: Floats | None = None,
) -> FormEstimate:
    """Minimise the sum of Huber losses of the log residuals over the constants of a law.

    Args:
        form: the law.
        runs: the runs.
        delta: Huber threshold; ``inf`` is least squares; see `threshold`.
        starts: number of starting points, run as one batch.
        seed: of the starting points.
        fixed: constants held, by name (rho[int4] for one per format), N in parameters and D in
            tokens. A coefficient can be held only together with its exponents.
        weights: of the runs in the sum, (n,); equal without. ``L^2`` with least squares weighs
            residuals as those of the loss itself.

    Raises:
        UsageError: an argument is out of range, the law does not apply to the runs, or there are
            fewer runs than free constants.
    """
    if starts < 1:
        raise UsageError(f"starts is {starts}; allowed is at least 1 (64 is usual)")
    refusal = form.refusal(runs)
    if refusal:
        raise UsageError(f"the law {form.name} cannot be fitted: {refusal}")
    box, held = _make_box(form, runs, fixed)
    num_free = int((~box.held).sum())
    if len(runs) < num_free:
        raise UsageError(
            f"{len(runs)} runs cannot determine the {num_free} constants of {form.name}; "
            "add runs, or hold some of them with fixed="
        )
    objective = FormObjective(form, runs, delta)
    start = np.where(box.held, held, draw_starts(form, runs, starts, seed))
    start = np.where(box.held, held, form.prepare(start, runs))
    start[:, ~box.held] = np.clip(start, box.low, box.high)[:, ~box.held]
    shares = np.ones(len(runs)) if weights is None else weights
    if shares.shape != (len(runs),) or not bool((np.isfinite(shares) & (shares > 0)).all()):
        raise UsageError(
            f"weights must be one finite number above zero for each of {len(runs)} runs"
        )
    each = np.tile(shares, (starts, 1))
    descent = descend_gradually(objective, start, each, box, least_squares=True)
    order = _distinct(descent.value)
    polished = descend(
        replace(objective, exact=True),
        descent.theta[order],
        each[order],
        box,
        max_steps=POLISH_STEPS,
    )
    ranking = np.argsort(polished.value, kind="stable")
    best = int(ranking[0])
    value = float(polished.value[best])
    # A perfect fit has an objective of rounding errors: those all count as one optimum.
    limit = value * (1.0 + SAME_OPTIMUM) + 1e-18 * len(runs)
    theta = polished.theta[best]
    near = ~box.held & ((theta <= box.low + 1e-9) | (theta >= box.high - 1e-9))
    return FormEstimate(
        objective=objective,
        box=box,
        theta=theta,
        value=value,
        candidates=polished.theta[ranking],
        starts=starts,
        starts_at_best=max(int((descent.value <= limit).sum()), 1),
        converged=bool(polished.converged[best]),
        at_bound=tuple(n for n, hit in zip(form.names(runs), near, strict=True) if hit),
    )


def _distinct(values: Floats) -> NDArray[np.intp]:
    """Indices of the lowest values of which no two nearly agree, the lowest first."""
    order = np.argsort(values, kind="stable")
    kept = [order[0]]
    for index in order[1:]:
        if values[index] > values[kept[-1]] * (1.0 + DIFFERENT) + 1e-18 and len(kept) < POLISHED:
            kept.append(index)
    return np.array(kept)


def _shift(
    parameter: Parameter,
    layout: Mapping[str, tuple[Parameter, slice]],
    theta: Floats,
    runs: Observations,
) -> Floats | float:
    """What turns the log of a coefficient from centred N and D to parameters and tokens."""
    total: Floats | float = 0.0
    for name, size, sign in parameter.scale:
        mean = runs.mean_log_params if size == "N" else runs.mean_log_tokens
        other, where = layout[name]
        power = theta[where] if other.group else float(theta[where.start])
        total = total + sign * mean * power
    return total


def _make_box(form: LawForm, runs: Observations, fixed: Mapping[str, float]) -> tuple[Box, Floats]:
    """Bounds in internal units, and the values of held constants, (p,)."""
    names, layout = form.names(runs), form.layout(runs)
    smallest = float(runs.log_loss.min())
    low, high, held = (np.zeros(len(names)) for _ in range(3))
    is_held = np.array([name in fixed for name in names])
    unknown = sorted(set(fixed) - set(names))
    if unknown:
        raise UsageError(
            f"fixed names {', '.join(unknown)}; the constants of {form.name} are {', '.join(names)}"
        )
    for parameter, where in layout.values():
        ends = np.array([parameter.low, parameter.high])
        low[where], high[where] = np.log(ends) if parameter.logarithmic else ends
        if parameter.coefficient:
            low[where] += smallest
            high[where] += smallest
        for index in range(where.start, where.stop):
            if not is_held[index]:
                continue
            value = fixed[names[index]]
            if not math.isfinite(value) or (parameter.logarithmic and value < 0):
                raise UsageError(f"fixed sets {names[index]} to {value}; allowed is a number")
            # exp of -700 is still a comfortable double.
            held[index] = value
            if parameter.logarithmic:
                held[index] = math.log(value) if value > 0 else -700.0
    _hold_coefficients(layout, is_held, held, runs, names)
    return Box(low, high, is_held), held


def _hold_coefficients(
    layout: Mapping[str, tuple[Parameter, slice]],
    is_held: np.ndarray,
    held: Floats,
    runs: Observations,
    names: tuple[str, ...],
) -> None:
    """Held coefficients to centred N and D, which needs their exponents."""
    for parameter, where in layout.values():
        if not is_held[where].any():
            continue
        for name, _, _ in parameter.scale:
            if not is_held[layout[name][1]].all():
                raise UsageError(
                    f"fixed holds {names[where.start]} but not {name}, on whose value its meaning "
                    "depends; hold both or neither"
                )
        held[where] = held[where] - _shift(parameter, layout, held, runs)
