from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.laws.planted_runs import RHO, make_table, planted_table
from unified_laws.laws.bootstrap import draw_weights
from unified_laws.laws.curvature import measure_curvature
from unified_laws.laws.diagnosis import diagnose
from unified_laws.laws.estimate import estimate_law
from unified_laws.laws.fitting import fit_laws
from unified_laws.laws.noise import huber_inflation, measure_noise, robust_scale
from unified_laws.laws.result import LawsResult
from unified_laws.laws.table import RunTable
from unified_laws.laws.uncertainty import curvature_intervals, profile_of


def fit(table: RunTable, bootstrap: int = 0, **options: Any) -> LawsResult:
    return fit_laws(
        table, dense="bf16", delta=1e-3, starts=16, bootstrap=bootstrap, seed=0, **options
    )


def test_intervals_are_not_idly_wide() -> None:
    """At 12 runs per format the interval is within 40 % of four times the estimate's spread."""
    widths, errors = [], []
    for seed in range(20):
        table = planted_table(2e-3, seed)
        estimate = estimate_law(table, dense="bf16", delta=1e-3, starts=4, fixed={})
        intervals, _ = profile_of(estimate, measure_curvature(estimate), [5])
        widths.append(intervals.high[5] - intervals.low[5])
        errors.append(estimate.log_rho[0] - math.log(RHO["int4"]))
    ratio = float(np.mean(widths)) / (4.0 * float(np.sqrt(np.mean(np.square(errors)))))
    # The spread of 20 replicates is itself known to sqrt(1/40) = 16 %: three times that.
    assert 0.5 < ratio < 1.5


def test_noise_and_inflation_formulas() -> None:
    generator = np.random.default_rng(0)
    drawn = generator.standard_normal(100_000)
    assert robust_scale(drawn, 0) == pytest.approx(1.0, abs=0.01)
    assert huber_inflation(math.inf) == 1.0
    assert huber_inflation(1e-4) == pytest.approx(math.pi / 2, rel=1e-3)
    # Huber 1964: 95 % efficiency at 1.345 standard deviations.
    assert 1 / huber_inflation(1.345) == pytest.approx(0.95, abs=5e-4)
    for delta in (0.1, 1.345, math.inf):
        noise = measure_noise(drawn, 0, delta)
        assert noise.variance == pytest.approx(huber_inflation(delta), rel=0.02)
    assert measure_noise(np.zeros(9), 3, 1e-3).square == 0.0
    assert math.isnan(robust_scale(np.ones(3), 3))


def test_the_scale_is_corrected_for_fitted_parameters() -> None:
    """33 runs, 9 parameters: the mean square is 1 to first order in p/n."""
    generator = np.random.default_rng(1)
    found = []
    for _ in range(400):
        design, noise = generator.standard_normal((33, 9)), generator.standard_normal(33)
        left = noise - design @ np.linalg.lstsq(design, noise, rcond=None)[0]
        measured = measure_noise(left, 9, math.inf)
        assert measured.variance == pytest.approx(float(left @ left) / 24, rel=1e-12)
        found.append(measured.sigma**2)
    # (p/n)^2, and four standard errors of a variance on 24 degrees of freedom.
    assert float(np.mean(found)) == pytest.approx(
        1.0, abs=(9 / 33) ** 2 + 4 * math.sqrt(2 / 24 / 400)
    )


def test_resamples_keep_formats_and_configurations_together() -> None:
    table = planted_table()
    doubled = make_table(
        (*table.formats, *table.formats),
        np.tile(table.num_params, 2),
        np.tile(table.num_tokens, 2),
        np.tile(table.val_loss, 2),
    )
    weights = draw_weights(doubled, 40, np.random.default_rng(1))
    np.testing.assert_array_equal(weights[:, :60], weights[:, 60:])
    labels = np.array(doubled.formats)
    for name in RHO:
        np.testing.assert_array_equal(weights[:, labels == name].sum(axis=1), 24)
    assert (weights == 0).any()


def test_same_seed_same_intervals_and_progress_is_told() -> None:
    told: list[tuple[int, int]] = []
    table = planted_table(2e-3)
    runs = [
        fit_laws(
            table,
            dense="bf16",
            delta=1e-3,
            starts=8,
            bootstrap=60,
            seed=seed,
            interval="bootstrap",
            progress=lambda done, total: told.append((done, total)),
        ).to_json()["capacities"]
        for seed in (7, 7, 8)
    ]
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]
    assert told[:2] == [(50, 60), (60, 60)]


def test_few_runs_widen_the_bootstrap_and_say_so() -> None:
    table = planted_table(2e-3)
    keep = [i for i, name in enumerate(table.formats) if name != "int4"]
    keep += [i for i, name in enumerate(table.formats) if name == "int4"][:2]
    small = make_table(
        [table.formats[i] for i in keep],
        table.num_params[keep],
        table.num_tokens[keep],
        table.val_loss[keep],
    )
    laws = fit(small, 60, interval="bootstrap")
    assert any(text.startswith("int4 has only 2 runs") for text in laws.fit.warnings)
    assert laws.capacity("int4").runs == 2
    few, curved = laws.capacity("int4"), laws.interval_of("rho of int4", "curvature")
    assert few.low <= curved.low * (1 + 1e-12)
    assert few.high >= curved.high * (1 - 1e-12)


def test_without_degrees_of_freedom_there_is_no_interval() -> None:
    table = planted_table(
        1e-3, sizes=(1e6, 4e6), ratios=(20.0, 100.0), rho={"bf16": 1, "int4": 0.8}
    )
    table = make_table(
        table.formats[:6], table.num_params[:6], table.num_tokens[:6], table.val_loss[:6]
    )
    laws = fit(table, 10)
    assert math.isnan(laws.capacity("int4").low)
    assert laws.to_json()["capacities"][1]["low"] is None
    assert any("no intervals" in text for text in laws.fit.warnings)


def test_one_token_count_leaves_the_token_term_open() -> None:
    table = planted_table(1e-3)
    fixed = np.full(len(table), 1e8)
    loss = table.val_loss
    laws = fit(make_table(table.formats, table.num_params, fixed, loss), 20)
    assert any("every run has D = 1e+08 tokens" in text for text in laws.fit.warnings)
    beta = laws.law_intervals[4]
    assert math.isinf(beta.stderr)
    assert laws.to_json()["law_intervals"][4]["high"] is None


def test_one_size_leaves_every_capacity_open() -> None:
    laws = fit(planted_table(1e-3, sizes=(4e6,), ratios=(10, 20, 50, 100, 200)), 20)
    assert any("every run has N = 4e+06 parameters" in text for text in laws.fit.warnings)
    entry = laws.capacity("int4")
    assert math.isinf(entry.stderr)
    assert math.isinf(laws.interval_of("rho of int4", "curvature").high)
    # All that the runs say is rho < 1, as the loss is higher than the dense one.
    assert entry.high / entry.low > 100


def test_constant_tokens_per_parameter_is_said() -> None:
    table = planted_table(1e-3, sizes=(1e6, 2e6, 4e6, 8e6, 1.6e7, 3.2e7), ratios=(20.0, 22.0))
    texts = fit(table, 0).fit.warnings
    assert any("D/N is nearly constant" in text and "factor of 1.10" in text for text in texts)


def test_a_good_grid_raises_no_warning() -> None:
    table = planted_table(
        2e-4, sizes=(1e6, 4e6, 1.6e7, 6.4e7, 2.56e8), ratios=(5.0, 20.0, 80.0, 320.0)
    )
    assert fit(table, 40).fit.warnings == ()


def test_few_starts_at_the_best_are_said() -> None:
    table = planted_table(2e-4)
    estimate = estimate_law(table, dense="bf16", delta=1e-3, starts=4, fixed={})
    curvature = measure_curvature(estimate)
    intervals = curvature_intervals(estimate, curvature)
    lonely = replace(estimate, starts=100, starts_at_best=1, converged=False)
    texts = diagnose(lonely, curvature, intervals, table)
    assert any("only 1 of 100 starts" in text for text in texts)
    assert any("has not converged" in text for text in texts)
