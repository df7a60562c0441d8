"""Profile intervals against an optimiser that is not ours, and their invariances."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.optimize import least_squares
from scipy.stats import t as student

from tests.laws.planted_runs import make_table, planted_table
from unified_laws.laws.curvature import measure_curvature
from unified_laws.laws.estimate import estimate_law
from unified_laws.laws.fitting import fit_laws
from unified_laws.laws.table import RunTable
from unified_laws.laws.uncertainty import curvature_intervals, profile_of


def test_ends_are_where_scipy_finds_the_rise() -> None:
    """Least squares: with a parameter held at an end, the rest refitted rises by t^2 s^2 / 2."""
    table = planted_table(2e-3)
    estimate = estimate_law(table, dense="bf16", delta=math.inf, starts=8, fixed={})
    curvature = measure_curvature(estimate)
    intervals, better = profile_of(estimate, curvature)
    assert better is None
    freedom = len(table) - 9
    rise = 0.5 * (2 * estimate.value / freedom) * float(student.ppf(0.975, freedom)) ** 2
    center = estimate.theta.copy()
    for index in (5, 7, 3, 2):
        for end in (intervals.low[index], intervals.high[index]):
            held = math.log(end) if index == 2 else end
            rest = np.delete(np.arange(9), index)

            def residuals(
                x: np.ndarray, held: float = held, index: int = index, rest: np.ndarray = rest
            ) -> np.ndarray:
                theta = np.empty(9)
                theta[index], theta[rest] = held, x
                return np.asarray(estimate.objective.residuals(theta[None])[0])

            found = least_squares(residuals, center[rest], xtol=1e-15, ftol=1e-15, x_scale="jac")
            # Ends are located where the root of the rise is within half a per cent.
            assert found.cost - estimate.value == pytest.approx(rise, rel=0.02)


@pytest.mark.parametrize("delta", [1e-3, math.inf])
def test_row_order_and_units_move_no_end(delta: float) -> None:
    table = planted_table(2e-3)
    order = np.random.default_rng(5).permutation(len(table))
    other = make_table(
        [table.formats[i] for i in order],
        table.num_params[order] / 1e6,
        table.num_tokens[order] / 1e9,
        table.val_loss[order],
    )

    def fit(runs: RunTable) -> dict[tuple[str, str], tuple[float, float]]:
        laws = fit_laws(runs, dense="bf16", delta=delta, starts=8, bootstrap=0, seed=0)
        return {(e.parameter, e.method): (e.low, e.high) for e in laws.intervals}

    base, moved = fit(table), fit(other)
    assert set(base) == set(moved)
    for (parameter, method), ends in base.items():
        if parameter in ("A", "B"):  # their unit is that of N and D
            continue
        width = ends[1] - ends[0]
        assert moved[parameter, method] == pytest.approx(ends, abs=0.02 * width), parameter


def test_little_noise_gives_the_curvature_interval() -> None:
    """Where the objective is quadratic the two agree; A and B, tied to alpha, are the hard ones."""
    table = planted_table(1e-5, sizes=(1e6, 4e6, 1.6e7, 6.4e7), ratios=(5.0, 20.0, 80.0, 320.0))
    estimate = estimate_law(table, dense="bf16", delta=math.inf, starts=8, fixed={})
    curvature = measure_curvature(estimate)
    profile, _ = profile_of(estimate, curvature)
    curved = curvature_intervals(estimate, curvature)
    width = curved.high - curved.low
    np.testing.assert_allclose(profile.low, curved.low, atol=0.02 * width.max(), rtol=0)
    assert (np.abs(profile.low - curved.low) < 0.02 * width).all()
    assert (np.abs(profile.high - curved.high) < 0.02 * width).all()


def test_an_open_side_is_open_and_zero_is_an_end_of_what_cannot_be_negative() -> None:
    table = planted_table(2e-2, seed=3, sizes=(1e6, 2e6, 4e6), ratios=(20.0, 30.0))
    laws = fit_laws(table, dense="bf16", delta=math.inf, starts=16, bootstrap=0, seed=0)
    low = laws.interval_of("E", "profile").low
    assert low == 0.0
    assert any("E = " in text and "its interval reaches 0" in text for text in laws.fit.warnings)
    assert any("further dense runs" in text for text in laws.fit.warnings)


def test_a_held_parameter_has_no_width_and_a_perfect_fit_neither() -> None:
    laws = fit_laws(
        planted_table(1e-3),
        dense="bf16",
        delta=1e-3,
        starts=4,
        bootstrap=0,
        seed=0,
        fixed={"E": 1.6},
    )
    held = laws.interval_of("E", "profile")
    assert held.low == pytest.approx(1.6)
    assert held.high == pytest.approx(1.6)
