from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binom

from tests.laws.planted_runs import RHO, make_table, planted_table
from unified_laws.laws.curvature import huber_inflation, measure_curvature, robust_noise
from unified_laws.laws.diagnosis import diagnose
from unified_laws.laws.estimate import estimate_law
from unified_laws.laws.fitting import fit_laws
from unified_laws.laws.result import LawsResult
from unified_laws.laws.table import RunTable
from unified_laws.laws.uncertainty import draw_weights, measure_intervals

REPLICATES = 60


def fit(table: RunTable, bootstrap: int = 0, **fixed: float) -> LawsResult:
    return fit_laws(
        table, dense="bf16", delta=1e-3, starts=16, bootstrap=bootstrap, seed=0, fixed=fixed
    )


@pytest.mark.parametrize("delta", [1e-3, math.inf])
def test_nominal_coverage_of_rho(delta: float) -> None:
    """Planted grid, noise 2e-3: hits lie in the 99.8 % binomial band around nominal 95 %.

    The four formats of a replicate share the dense runs, so the band treats each format by itself
    (60 independent replicates) and the pool as 60 * 4 / 2 effective trials.
    """
    truth = np.log(list(RHO.values())[1:])
    hits = []
    for seed in range(REPLICATES):
        table = planted_table(2e-3, seed)
        estimate = estimate_law(table, dense="bf16", delta=delta, starts=4, fixed={})
        intervals = measure_intervals(
            estimate, measure_curvature(estimate), table, resamples=60, seed=seed
        )
        hits.append((intervals.low[5:] <= truth) & (truth <= intervals.high[5:]))
    covered = np.array(hits)
    for share, trials in (
        *((covered[:, i].mean(), REPLICATES) for i in range(4)),
        (covered.mean(), 2 * REPLICATES),
    ):
        low = binom.ppf(0.001, trials, 0.95) / trials
        assert low <= share <= 1.0


def test_intervals_are_not_idly_wide() -> None:
    """At 12 runs per format the interval is within 40 % of four times the estimate's spread."""
    widths, errors = [], []
    for seed in range(20):
        laws = fit(planted_table(2e-3, seed), 60)
        entry = laws.capacity("int4")
        widths.append(math.log(entry.high / entry.low))
        errors.append(math.log(entry.rho / RHO["int4"]))
    ratio = float(np.mean(widths)) / (4.0 * float(np.sqrt(np.mean(np.square(errors)))))
    # The spread of 20 replicates is itself known to sqrt(1/40) = 16 %: three times that.
    assert 0.5 < ratio < 1.5


def test_noise_and_inflation_formulas() -> None:
    generator = np.random.default_rng(0)
    assert robust_noise(generator.standard_normal(100_000), 0) == pytest.approx(1.0, abs=0.01)
    assert huber_inflation(1.0, math.inf) == 1.0
    assert huber_inflation(1.0, 1e-4) == pytest.approx(math.pi / 2, rel=1e-3)
    # Huber 1964: 95 % efficiency at 1.345 standard deviations.
    assert 1 / huber_inflation(1.0, 1.345) == pytest.approx(0.95, abs=5e-4)


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
            progress=lambda done, total: told.append((done, total)),
        ).to_json()["capacities"]
        for seed in (7, 7, 8)
    ]
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]
    assert told[:2] == [(50, 60), (60, 60)]


def test_few_runs_take_the_curvature_interval_and_say_so() -> None:
    table = planted_table(2e-3)
    keep = [i for i, name in enumerate(table.formats) if name != "int4"]
    keep += [i for i, name in enumerate(table.formats) if name == "int4"][:2]
    small = make_table(
        [table.formats[i] for i in keep],
        table.num_params[keep],
        table.num_tokens[keep],
        table.val_loss[keep],
    )
    laws = fit(small, 60)
    assert "int4 has only 2 runs: interval from curvature" in laws.fit.warnings
    assert laws.capacity("int4").runs == 2
    full = fit(table, 60).capacity("int4")
    few = laws.capacity("int4")
    assert few.high - few.low > full.high - full.low


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
    assert math.isinf(laws.capacity("int4").high)


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
    intervals = measure_intervals(estimate, curvature, table, resamples=0, seed=0)
    lonely = replace(estimate, starts=100, starts_at_best=1, converged=False)
    texts = diagnose(lonely, curvature, intervals, table)
    assert any("only 1 of 100 starts" in text for text in texts)
    assert any("has not converged" in text for text in texts)
