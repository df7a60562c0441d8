"""The loss law with capacity given by its curve, fitted to losses in one go.

arXiv:2506.01863 Appendix C compares forms by the error of the combined law L(N, D, rho(MSE)), not
of rho alone, and Table 3 gives its parameters.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from unified_laws.errors import UsageError
from unified_laws.laws.bootstrap import Progress, draw_weights
from unified_laws.laws.curve_fit import fit_curve
from unified_laws.laws.curve_forms import FREE, curve_form
from unified_laws.laws.curve_points import (
    CurvePoint,
    operand_errors,
    product_log_gradient,
    product_value,
)
from unified_laws.laws.estimate import SAME_OPTIMUM, estimate_law
from unified_laws.laws.loss_law import Floats, LossLaw
from unified_laws.laws.newton import Box
from unified_laws.laws.objective import ALPHA, BETA, LOG_A, LOG_B, LOG_E, NUM_LAW
from unified_laws.laws.robust_descent import RobustMinimum, minimise_huber
from unified_laws.laws.table import RunTable

# Starts of the fit of free capacities that the joint fit begins from.
FREE_STARTS = 16
# log of the coefficients, of the exponents and of E move by this much between the starts.
JITTER = 0.3


@dataclass(frozen=True)
class LawParameter:
    """A parameter of the combined law.

    Attributes:
        name: its letter, of a curve with its type.
        value: estimate.
        sd: standard deviation over resamples, NaN without them.
        held: it was not fitted.
        at_bound: it sits at a bound, where the runs do not determine it.
    """

    name: str
    value: float
    sd: float
    held: bool
    at_bound: bool


@dataclass(frozen=True)
class CurveLawFit:
    """The combined law L(N, D, rho(MSE)).

    Attributes:
        form: of the curve, or "free" (a rho per format).
        parameters: A, B, E, alpha, beta, then those of each curve as ``F of integer W``, or the
            free ``rho of int4``.
        rmse: root mean square error of the loss, nats per token (the paper's unit for its Table 1
            is not stated; see rmse_log).
        rmse_log: the same of log loss.
        objective: sum of Huber losses of the log residuals.
        num_runs: runs fitted, dense ones included.
        num_free: parameters fitted.
        starts: number of descents.
        starts_at_best: how many ended at the best optimum.
        converged: nothing more is to be gained at the best point.
        bootstrap: number of resamples.
    """

    form: str
    parameters: tuple[LawParameter, ...]
    rmse: float
    rmse_log: float
    objective: float
    num_runs: int
    num_free: int
    starts: int
    starts_at_best: int
    converged: bool
    bootstrap: int

    def value(self, name: str) -> float:
        """A parameter by its name."""
        return next(entry.value for entry in self.parameters if entry.name == name)

    @property
    def law(self) -> LossLaw:
        """The law without its curve."""
        A, B, E, alpha, beta = (entry.value for entry in self.parameters[:NUM_LAW])
        return LossLaw(math.log(A), math.log(B), math.log(E) if E > 0 else -math.inf, alpha, beta)


class _Combined:
    """Residuals of log loss and their Jacobian at internal parameters."""

    def __init__(
        self,
        table: RunTable,
        points: Sequence[CurvePoint],
        form: str,
        held: Mapping[str, float],
        *,
        dense: str,
    ) -> None:
        order = {point.format: index for index, point in enumerate(points)}
        log_params, log_tokens = np.log(table.num_params), np.log(table.num_tokens)
        self.means = float(log_params.mean()), float(log_tokens.mean())
        self.log_params = log_params - self.means[0]
        self.log_tokens = log_tokens - self.means[1]
        self.log_loss = np.log(table.val_loss)
        self.index = np.array([order.get(name, -1) for name in table.formats])
        assert all(i >= 0 or n == dense for i, n in zip(self.index, table.formats, strict=True))
        self.points, self.form_name = tuple(points), form
        self.types = tuple(dict.fromkeys(point.type for point in points))
        self.members = [np.array([point.type == kind for point in points]) for kind in self.types]
        self.errors = operand_errors(points)
        smallest = float(self.log_loss.min())
        low = [smallest + math.log(1e-6)] * 3 + [1e-3, 1e-3]
        high = [smallest + math.log(1e3)] * 2 + [smallest, 4.0, 4.0]
        names = ["A", "B", "E", "alpha", "beta"]
        is_held = [False] * NUM_LAW
        if form == FREE:
            names += [f"rho of {point.format}" for point in points]
            low += [math.log(1e-4)] * len(points)
            high += [math.log(1e3)] * len(points)
            is_held += [False] * len(points)
        else:
            shape = curve_form(form)
            ends = [
                shape.to_internal(np.array(e)).tolist() for e in zip(*shape.bounds, strict=True)
            ]
            for kind in self.types:
                names += [f"{name} of {kind}" for name in shape.parameters]
                low += ends[0]
                high += ends[1]
                is_held += [name in held for name in shape.parameters]
        self.names, self.low, self.high = tuple(names), np.array(low), np.array(high)
        self.held = np.array(is_held)

    def _curve(self, theta: Floats) -> tuple[Floats, Floats]:
        """Log rho of the points (f,) and its derivatives by all parameters (f, p)."""
        count = len(self.points)
        log_rho, slope = np.zeros(count), np.zeros((count, len(theta)))
        if self.form_name == FREE:
            slope[:, NUM_LAW:] = np.eye(count)
            return theta[NUM_LAW:], slope
        shape = curve_form(self.form_name)
        width = len(shape.parameters)
        for number, mine in enumerate(self.members):
            columns = slice(NUM_LAW + number * width, NUM_LAW + (number + 1) * width)
            values = shape.to_natural(theta[columns])
            log_rho[mine] = np.log(product_value(shape, values, self.errors[mine]))
            slope[mine, columns] = product_log_gradient(shape, values, self.errors[mine])
        return log_rho, slope

    def residuals(self, theta: Floats) -> tuple[Floats, Floats]:
        """``log L - log Lhat`` (n,) and its Jacobian (n, p)."""
        log_rho, slope = self._curve(theta)
        compressed = self.index >= 0
        capacity = self.log_params + np.where(compressed, np.append(log_rho, 0.0)[self.index], 0.0)
        terms = np.stack(
            [
                theta[LOG_A] - theta[ALPHA] * capacity,
                theta[LOG_B] - theta[BETA] * self.log_tokens,
                np.full(len(capacity), theta[LOG_E]),
            ]
        )
        peak = terms.max(axis=0)
        shares = np.exp(terms - peak)
        total = shares.sum(axis=0)
        shares /= total
        by_rho = -theta[ALPHA] * shares[0] * compressed
        jacobian = by_rho[:, None] * np.vstack([slope, np.zeros(len(theta))])[self.index]
        jacobian[:, LOG_A], jacobian[:, LOG_B], jacobian[:, LOG_E] = shares
        jacobian[:, ALPHA] = -shares[0] * capacity
        jacobian[:, BETA] = -shares[1] * self.log_tokens
        return self.log_loss - peak - np.log(total), -jacobian

    def natural(self, theta: Floats) -> Floats:
        """A, B, E, alpha, beta in the table's units and the natural parameters of the curves."""
        result = theta.copy()
        result[LOG_A] += theta[ALPHA] * self.means[0]
        result[LOG_B] += theta[BETA] * self.means[1]
        result[:ALPHA] = np.exp(result[:ALPHA])
        if self.form_name == FREE:
            result[NUM_LAW:] = np.exp(theta[NUM_LAW:])
            return result
        shape = curve_form(self.form_name)
        offset = np.tile(np.asarray(shape.offset), len(self.types))
        result[NUM_LAW:] = np.exp(theta[NUM_LAW:]) - offset
        return result

    def descend(self, start: Floats, delta: float, weights: Floats, *, cold: bool) -> RobustMinimum:
        """Minimum from one start."""
        box = Box(self.low, self.high, self.held)
        return minimise_huber(self.residuals, start, weights, box, delta=delta, cold=cold)


def fit_curve_law(
    table: RunTable,
    points: Sequence[CurvePoint],
    *,
    form: str,
    dense: str,
    delta: float,
    free: Sequence[str] = (),
    starts: int = 8,
    bootstrap: int = 0,
    seed: int = 0,
    progress: Progress | None = None,
) -> CurveLawFit:
    """Fit A, B, E, alpha, beta and one curve per type of the points together, to the losses.

    The sum of Huber losses of the log residuals is minimised, beginning from the fit with free
    capacities and the curves through those.

    Args:
        table: the runs; those of formats that are neither dense nor a point are left out.
        points: the compressed formats, with errors and types; their rho is not used.
        form: name of a curve, or "free": every format has a rho of its own.
        dense: label of the uncompressed format.
        delta: Huber threshold on the log residual (the paper: 1e-4); ``inf`` is least squares.
        free: parameters of the form to fit that it holds otherwise (L of tanh).
        starts: number of descents from jittered starting points.
        bootstrap: resamples of configurations behind the standard deviations (Table 3).
        seed: of the jitter and the resampling.
        progress: called with (resamples done, resamples in all).

    Raises:
        UsageError: fewer runs than parameters, or no run of a point.
    """
    own = select_runs(table, {dense, *(point.format for point in points)})
    present = [point for point in points if point.format in own.formats]
    if not present:
        raise UsageError(
            f"no run has one of the formats {', '.join(p.format for p in points)}; the runs have "
            f"{', '.join(sorted(set(table.formats)))}"
        )
    held = {} if form == FREE else dict(curve_form(form).defaults)
    held = {name: value for name, value in held.items() if name not in free}
    problem = _Combined(own, present, form, held, dense=dense)
    num_free = int((~problem.held).sum())
    if len(own) < num_free:
        raise UsageError(
            f"{len(own)} runs cannot determine the {num_free} parameters of the {form} law; "
            "add runs or take a form with fewer parameters"
        )
    generator = np.random.default_rng(seed)
    first = _first_start(own, present, problem, form, dense=dense, free=free)
    equal = np.ones(len(own))
    ends = []
    for number in range(max(starts, 1)):
        jitter = JITTER * generator.standard_normal(len(first)) * (number > 0)
        theta = first + np.where(problem.held, 0.0, jitter)
        theta[ALPHA : BETA + 1] = first[ALPHA : BETA + 1] * np.exp(jitter[ALPHA : BETA + 1])
        ends.append(problem.descend(theta, delta, equal, cold=True))
    best = min(ends, key=lambda end: end.value)
    theta, value = best.theta, best.value
    drawn = []
    if bootstrap:
        weights = draw_weights(own, bootstrap, generator)
        for done, row in enumerate(weights, start=1):
            drawn.append(problem.natural(problem.descend(theta, delta, row, cold=False).theta))
            if progress is not None:
                progress(done, bootstrap)
    deviations = np.std(drawn, axis=0, ddof=1) if len(drawn) > 1 else np.full(len(theta), math.nan)
    residual = problem.residuals(theta)[0]
    errors = own.val_loss * (1.0 - np.exp(-residual))
    natural = problem.natural(theta)
    near = (theta <= problem.low + 1e-6) | (theta >= problem.high - 1e-6)
    limit = value * (1.0 + SAME_OPTIMUM) + 1e-20 * len(own)
    return CurveLawFit(
        form=form,
        parameters=tuple(
            LawParameter(
                name=name,
                value=float(natural[i]),
                sd=0.0 if problem.held[i] else float(deviations[i]),
                held=bool(problem.held[i]),
                at_bound=bool(near[i] and not problem.held[i]),
            )
            for i, name in enumerate(problem.names)
        ),
        rmse=float(np.sqrt(np.square(errors).mean())),
        rmse_log=float(np.sqrt(np.square(residual).mean())),
        objective=value,
        num_runs=len(own),
        num_free=num_free,
        starts=max(starts, 1),
        starts_at_best=sum(end.value <= limit for end in ends),
        converged=best.converged,
        bootstrap=bootstrap,
    )


def _first_start(
    table: RunTable,
    points: Sequence[CurvePoint],
    problem: _Combined,
    form: str,
    *,
    dense: str,
    free: Sequence[str],
) -> Floats:
    """Free capacities first, then the curves through them."""
    # Least squares is quick, and a start is all that is asked of it.
    estimate = estimate_law(table, dense=dense, delta=math.inf, starts=FREE_STARTS, fixed={})
    law = estimate.law
    start = np.zeros(len(problem.names))
    start[LOG_A] = law.log_A - law.alpha * problem.means[0]
    start[LOG_B] = law.log_B - law.beta * problem.means[1]
    start[LOG_E] = max(law.log_E, float(problem.low[LOG_E]))
    start[ALPHA], start[BETA] = law.alpha, law.beta
    names = estimate.objective.formats
    found = dict(zip(names, np.exp(estimate.log_rho).tolist(), strict=True))
    if form == FREE:
        start[NUM_LAW:] = np.log([found[point.format] for point in points])
        return start
    shape = curve_form(form)
    width = len(shape.parameters)
    for number, kind in enumerate(problem.types):
        mine = [
            CurvePoint(p.format, kind, p.gmse, p.gmse_activation, found[p.format], math.nan)
            for p in points
            if p.type == kind
        ]
        curve = fit_curve(mine, form=form, type=kind, free=free)
        begin = NUM_LAW + number * width
        start[begin : begin + width] = shape.to_internal(curve.values)
    return start


def select_runs(table: RunTable, formats: set[str]) -> RunTable:
    """The runs of some formats."""
    keep = np.array([name in formats for name in table.formats])
    return RunTable(
        formats=tuple(name for name in table.formats if name in formats),
        num_params=table.num_params[keep],
        num_tokens=table.num_tokens[keep],
        val_loss=table.val_loss[keep],
        seed=table.seed[keep],
        epochs=table.epochs[keep],
    )
