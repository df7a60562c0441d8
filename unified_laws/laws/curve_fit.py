"""A capacity curve through measured capacities: weighted, robust on request, with errors."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import least_squares
from scipy.stats import chi2 as chi_squared
from scipy.stats import t as student

from unified_laws.errors import UsageError
from unified_laws.laws.curve_forms import CurveForm, curve_form
from unified_laws.laws.curve_points import (
    CurvePoint,
    operand_errors,
    product_log_gradient,
    product_value,
)
from unified_laws.laws.loss_law import Floats

LEVEL = 0.95
# Of all starts, the nearest few are polished.
DESCENTS = 4


@dataclass(frozen=True)
class CurveParameter:
    """A parameter of a curve.

    Attributes:
        name: its letter in the formula.
        value: estimate.
        stderr: standard error from curvature; 0 if held, NaN without degrees of freedom.
        low: lower end of the 95 % interval: bootstrap if there were resamples, else curvature.
        high: upper end.
        bootstrap_sd: standard deviation over resamples, NaN without them.
        held: it was not fitted.
    """

    name: str
    value: float
    stderr: float
    low: float
    high: float
    bootstrap_sd: float
    held: bool


@dataclass(frozen=True)
class CurveResidual:
    """A point against the curve: rho - predicted, and that in standard errors (NaN unknown)."""

    format: str
    rho: float
    predicted: float
    error: float
    z: float


@dataclass(frozen=True)
class CurveFit:
    """A form fitted to the formats of one type.

    Attributes:
        form: name of the form.
        type: kind of compression, or "all".
        parameters: of the form, in its order.
        residuals: one per format.
        rmse: root mean square error of rho, unweighted.
        weighted_rmse: of (rho - predicted)/stderr; NaN without standard errors.
        p_value: chance of a chi-squared this large if the curve and the standard errors hold; NaN
            without standard errors or degrees of freedom.
        degrees_of_freedom: formats minus fitted parameters.
        bootstrap: number of resamples.
        warnings: what cannot be trusted, in plain words.
    """

    form: str
    type: str
    parameters: tuple[CurveParameter, ...]
    residuals: tuple[CurveResidual, ...]
    rmse: float
    weighted_rmse: float
    p_value: float
    degrees_of_freedom: int
    bootstrap: int
    warnings: tuple[str, ...]

    @property
    def values(self) -> Floats:
        """The parameters, (k,)."""
        return np.array([entry.value for entry in self.parameters])

    def predict(self, gmse: Sequence[float] | Floats) -> Floats:
        """Capacity of formats that compress one operand with these errors, all in (0, 1)."""
        return curve_form(self.form).value(self.values, np.asarray(gmse, dtype=np.float64))

    def summary(self) -> str:
        """One line, and one per warning."""
        numbers = ", ".join(
            f"{p.name} = {p.value:.3g}" + ("" if p.held else f" ± {p.stderr:.2g}")
            for p in self.parameters
        )
        line = f"{self.form} of {self.type} ({len(self.residuals)} formats): {numbers}"
        line += f"; rmse of rho {self.rmse:.4f}"
        if math.isfinite(self.weighted_rmse):
            line += f", {self.weighted_rmse:.2f} standard errors"
        return "\n".join([line, *(f"  warning: {text}" for text in self.warnings)])


def fit_curve(
    points: Sequence[CurvePoint],
    *,
    form: str,
    type: str,
    free: Sequence[str] = (),
    delta: float = math.inf,
    bootstrap: int = 0,
    seed: int = 0,
) -> CurveFit:
    """Fit a form to capacities; a format with two compressed operands has the product of both.

    Weights are 1/stderr² where every standard error is finite and positive, else equal.

    Args:
        points: the formats.
        form: name of the form.
        type: what the points have in common, for the record.
        free: parameters to fit that the form holds otherwise (L of tanh).
        delta: Huber threshold on the residual, in standard errors (in units of rho where those are
            unknown); ``inf`` is least squares.
        bootstrap: resamples behind the intervals: the fitted capacities with normal noise of the
            standard errors (of the residuals' size where that is larger or they are unknown).
        seed: of the resampling.

    Raises:
        UsageError: fewer distinct errors than parameters, or an argument out of range.
    """
    shape = curve_form(form)
    _check(shape, points, free=free, delta=delta, bootstrap=bootstrap)
    errors = operand_errors(points)
    rho = np.array([point.rho for point in points])
    stderr = np.array([point.stderr for point in points])
    known = bool((np.isfinite(stderr) & (stderr > 0)).all())
    weight = 1.0 / stderr if known else np.ones(len(points))
    problem = _Problem(shape, errors, weight, delta, _held(shape, free))
    num_free = int((~problem.held).sum())
    distinct = len({tuple(np.nan_to_num(row, nan=-1.0).tolist()) for row in errors})
    if distinct < num_free:
        raise UsageError(
            f"{distinct} compressed format(s) with distinct GMSE cannot determine the "
            f"{num_free} parameters of the {form} curve of {type}; measure at least {num_free}"
        )
    internal = problem.solve(rho)
    values = shape.to_natural(internal)
    predicted = product_value(shape, values, errors)
    freedom = len(points) - num_free
    scaled = weight * (rho - predicted)
    spread = float(np.square(scaled).sum() / freedom) if freedom > 0 else math.nan
    scale = max(spread, 1.0) if known else spread
    stderrs = problem.stderr(internal) * math.sqrt(scale)
    quantile = float(student.ppf(0.5 + LEVEL / 2, freedom)) if freedom > 0 else math.nan
    low, high = values - quantile * stderrs, values + quantile * stderrs
    deviations = np.full(len(values), math.nan)
    if bootstrap and math.isfinite(scale):
        noise = math.sqrt(scale) / weight
        drawn = _resample(problem, predicted, noise, internal, bootstrap, seed)
        deviations = drawn.std(axis=0, ddof=1)
        low, high = np.percentile(drawn, [50 * (1 - LEVEL), 50 * (1 + LEVEL)], axis=0)
    parameters = tuple(
        CurveParameter(
            name=shape.parameters[i],
            value=float(values[i]),
            stderr=float(stderrs[i]),
            low=float(low[i]),
            high=float(high[i]),
            bootstrap_sd=float(deviations[i]),
            held=bool(problem.held[i]),
        )
        for i in range(len(values))
    )
    statistic = float(np.square(scaled).sum())
    return CurveFit(
        form=form,
        type=type,
        parameters=parameters,
        residuals=tuple(
            CurveResidual(p.format, p.rho, q, p.rho - q, z if known else math.nan)
            for p, q, z in zip(points, predicted.tolist(), scaled.tolist(), strict=True)
        ),
        rmse=float(np.sqrt(np.square(rho - predicted).mean())),
        weighted_rmse=math.sqrt(statistic / len(points)) if known else math.nan,
        p_value=float(chi_squared.sf(statistic, freedom)) if known and freedom > 0 else math.nan,
        degrees_of_freedom=freedom,
        bootstrap=bootstrap,
        warnings=tuple(_warnings(shape, problem, internal, parameters, freedom, known)),
    )


class _Problem:
    """The least squares of one form, in internal parameters, with some of them held."""

    def __init__(
        self, form: CurveForm, errors: Floats, weight: Floats, delta: float, held: dict[str, float]
    ) -> None:
        self.form, self.errors, self.weight, self.delta = form, errors, weight, delta
        self.held = np.array([name in held for name in form.parameters])
        bounds = [form.to_internal(np.array(ends)) for ends in zip(*form.bounds, strict=True)]
        self.low, self.high = bounds
        grid = [
            (held[name],) if name in held else values
            for name, values in zip(form.parameters, form.starts, strict=True)
        ]
        self.starts = [form.to_internal(np.array(start)) for start in itertools.product(*grid)]

    def _whole(self, free: Floats, base: Floats) -> Floats:
        internal = base.copy()
        internal[~self.held] = free
        return internal

    def _nearest(self, rho: Floats) -> list[Floats]:
        """The starts that lie nearest to the capacities."""

        def distance(start: Floats) -> float:
            predicted = product_value(self.form, self.form.to_natural(start), self.errors)
            return float(np.abs(self.weight * (predicted - rho)).sum())

        return sorted(self.starts, key=distance)[:DESCENTS]

    def jacobian(self, internal: Floats) -> Floats:
        """Of weight * predicted by the internal parameters, (n, k)."""
        values = self.form.to_natural(internal)
        predicted = product_value(self.form, values, self.errors)
        slope = product_log_gradient(self.form, values, self.errors)
        return np.asarray((self.weight * predicted)[:, None] * slope, dtype=np.float64)

    def solve(self, rho: Floats, starts: Sequence[Floats] | None = None) -> Floats:
        """Best internal parameters over the starts, (k,)."""
        free = ~self.held
        best, lowest = self.starts[0], math.inf
        for base in starts or self._nearest(rho):

            def residuals(x: Floats, base: Floats = base) -> Floats:
                values = self.form.to_natural(self._whole(x, base))
                return self.weight * (product_value(self.form, values, self.errors) - rho)

            def jacobian(x: Floats, base: Floats = base) -> Floats:
                return self.jacobian(self._whole(x, base))[:, free]

            found = least_squares(
                residuals,
                np.clip(base[free], self.low[free] + 1e-9, self.high[free] - 1e-9),
                jac=jacobian,
                bounds=(self.low[free], self.high[free]),
                loss="linear" if math.isinf(self.delta) else "huber",
                f_scale=1.0 if math.isinf(self.delta) else self.delta,
                xtol=1e-14,
                ftol=1e-14,
                gtol=1e-14,
            )
            if found.cost < lowest:
                best, lowest = self._whole(np.asarray(found.x), base), float(found.cost)
        return best

    def stderr(self, internal: Floats) -> Floats:
        """Standard errors of the natural parameters for residuals of variance 1, (k,)."""
        free = ~self.held
        jacobian = self.jacobian(internal)[:, free]
        information = jacobian.T @ jacobian
        result = np.zeros(len(self.held))
        result[free] = math.nan
        size = np.sqrt(np.diag(information))
        if size.size and bool((size > 0).all()):
            scaled = information / np.outer(size, size)
            if np.linalg.cond(scaled) < 1e14:
                result[free] = np.sqrt(np.diag(np.linalg.inv(scaled))) / size
        natural: Floats = result * np.exp(internal)  # d value = exp(internal) d internal
        return natural


def _held(form: CurveForm, free: Sequence[str]) -> dict[str, float]:
    return {name: value for name, value in form.defaults.items() if name not in free}


def _resample(
    problem: _Problem, predicted: Floats, noise: Floats, start: Floats, count: int, seed: int
) -> Floats:
    generator = np.random.default_rng(seed)
    drawn = predicted + noise * generator.standard_normal((count, len(predicted)))
    form = problem.form
    return np.array([form.to_natural(problem.solve(row, [start])) for row in drawn])


def _check(
    form: CurveForm,
    points: Sequence[CurvePoint],
    *,
    free: Sequence[str],
    delta: float,
    bootstrap: int,
) -> None:
    if not delta > 0:
        raise UsageError(f"delta is {delta}; allowed is a number above zero, or inf")
    if bootstrap < 0 or bootstrap == 1:
        raise UsageError(f"bootstrap is {bootstrap}; allowed is 0 or at least 2 (200 is usual)")
    wrong = sorted(set(free) - set(form.parameters))
    if wrong:
        raise UsageError(
            f"free names {', '.join(wrong)}; the {form.name} curve has {', '.join(form.parameters)}"
        )
    errors = operand_errors(points)
    rho = np.array([point.rho for point in points])
    present = np.isfinite(errors)
    inside = np.where(present, (errors > 0) & (errors < 1), True)
    good = inside.all(axis=1) & present.any(axis=1) & np.isfinite(rho) & (rho > 0)
    if not bool(good.all()):
        bad = [p.format for p, ok in zip(points, good, strict=True) if not ok]
        raise UsageError(
            "a capacity curve needs 0 < GMSE < 1 and rho > 0 for every format; "
            f"{', '.join(bad)} has not; leave dense formats out"
        )


def _warnings(
    form: CurveForm,
    problem: _Problem,
    internal: Floats,
    parameters: Sequence[CurveParameter],
    freedom: int,
    known: bool,
) -> list[str]:
    found = []
    near = (internal <= problem.low + 1e-6) | (internal >= problem.high - 1e-6)
    for name, hit, held in zip(form.parameters, near, problem.held, strict=True):
        if hit and not held:
            found.append(f"{name} sits at its bound: these formats do not determine the form")
    if freedom == 0:
        found.append("as many parameters as formats: no standard errors, and the fit tests nothing")
    for entry in parameters:
        if not entry.held and entry.stderr > 0.5 * abs(entry.value):
            found.append(
                f"{entry.name} is not identified: its relative standard error is "
                f"{entry.stderr / abs(entry.value):.2f}; add formats of other errors, or hold it"
            )
    if not known:
        found.append("a standard error is unknown: all formats weigh the same")
    return found
