"""Objectives, weights, a table without dense runs, and how long a fit may take."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import minimize

from tests.laws.planted_runs import LAW, RHO, planted_table
from unified_laws.errors import UsageError
from unified_laws.laws.bootstrap import bootstrap_intervals
from unified_laws.laws.curvature import measure_curvature
from unified_laws.laws.estimate import NEARLY_ABSOLUTE, estimate_law
from unified_laws.laws.fitting import fit_laws
from unified_laws.laws.result import LawsResult
from unified_laws.laws.table import RunTable, baseline, read_runs


def fit(table: RunTable, **options: object) -> LawsResult:
    usual = {"dense": "bf16", "delta": 1e-3, "starts": 8, "bootstrap": 0, "seed": 0}
    return fit_laws(table, **{**usual, **options})  # type: ignore[arg-type]


def test_least_absolute_is_the_least_sum_of_absolute_residuals() -> None:
    """Nelder and Mead from around our optimum find nothing lower."""
    table = planted_table(2e-3, sizes=(1e6, 8e6), rho={"bf16": 1.0, "int4": 0.8})
    laws = fit(table, objective="least_absolute")
    estimate = estimate_law(
        table, dense="bf16", delta=math.inf, starts=8, fixed={}, kind="least_absolute"
    )

    def total(theta: np.ndarray) -> float:
        return float(np.abs(estimate.objective.residuals(theta[None])).sum())

    assert laws.fit.objective == pytest.approx(total(estimate.theta), rel=1e-9)
    generator = np.random.default_rng(0)
    slack = 0.5 * len(table) * NEARLY_ABSOLUTE
    for _ in range(5):
        start = estimate.theta + 1e-2 * generator.standard_normal(6)
        found = minimize(total, start, method="Nelder-Mead", options={"maxiter": 2000})
        assert laws.fit.objective <= found.fun + slack


def test_least_squares_does_not_look_at_delta() -> None:
    table = planted_table(2e-3)
    one, two = (fit(table, objective="least_squares", delta=d) for d in (1e-3, math.inf))
    assert one.to_json() == two.to_json()


def test_weights_are_the_inverse_of_the_noise() -> None:
    """A run ten times as noisy counts a hundredth; the unit of the errors does not matter."""
    table = planted_table(0.0)
    generator = np.random.default_rng(4)
    noisy = np.arange(len(table)) % 2 == 0
    stderr = np.where(noisy, 0.02, 0.002)
    loss = table.val_loss * np.exp(stderr / table.val_loss * generator.standard_normal(len(table)))
    known = replace(table, val_loss=loss, val_loss_stderr=stderr)
    plain = fit(known, objective="least_squares")
    weighted = fit(known, objective="least_squares", weights="val_loss_stderr")
    doubled = fit(
        replace(known, val_loss_stderr=2 * stderr),
        objective="least_squares",
        weights="val_loss_stderr",
    )
    for name in list(RHO)[1:]:
        entry, wide = weighted.capacity(name), plain.capacity(name)
        assert entry.high - entry.low < 0.5 * (wide.high - wide.low)
        assert entry.low <= RHO[name] <= entry.high
        assert doubled.capacity(name).low == pytest.approx(entry.low, rel=1e-6)
    assert not any("stated standard errors" in text for text in weighted.fit.warnings)
    far = fit(replace(known, val_loss_stderr=stderr / 10), weights="val_loss_stderr")
    assert any("times their stated standard errors" in text for text in far.fit.warnings)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"objective": "mse"}, "objective is 'mse'; allowed is huber, least_squares"),
        ({"interval": "wald"}, "interval is 'wald'; allowed is profile, bootstrap, curvature"),
        ({"interval": "bootstrap"}, "interval=bootstrap needs resamples"),
        ({"delta": "small"}, "delta is 'small'; allowed is a number above zero, inf, or auto"),
        ({"weights": "seed"}, "weights is 'seed'; allowed is null or val_loss_stderr"),
        ({"weights": "val_loss_stderr"}, "needs a column val_loss_stderr"),
    ],
)
def test_wrong_settings(options: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        fit(planted_table(), **options)


def test_a_missing_standard_error_is_counted() -> None:
    table = planted_table(1e-3)
    stderr = np.full(len(table), 0.01)
    stderr[3:5] = math.nan
    with pytest.raises(UsageError, match="2 of 60 have none"):
        fit(replace(table, val_loss_stderr=stderr), weights="val_loss_stderr")


def test_without_dense_runs_every_rho_is_relative_and_said(tmp_path: Path) -> None:
    table = planted_table()
    lines = ["format,num_params,num_tokens,val_loss,seed"]
    lines += [
        f"{table.formats[i]},{table.num_params[i]},{table.num_tokens[i]},{float(table.val_loss[i])!r},0"
        for i in range(len(table))
        if table.formats[i] != "bf16"
    ]
    path = tmp_path / "runs.csv"
    path.write_text("\n".join([*lines, lines[-1]]) + "\n", encoding="utf-8")
    with pytest.raises(UsageError, match="reference=<label>"):
        read_runs(path)
    with pytest.raises(UsageError, match="nor of the reference 'int9'"):
        read_runs(path, reference="int9")
    relative = read_runs(path, reference="int4")
    assert baseline(relative, dense="bf16", reference="int4") == "int4"
    assert baseline(table, dense="bf16", reference="int4") == "bf16"
    laws = fit(relative, dense="int4")
    assert laws.capacity("int2").rho == pytest.approx(RHO["int2"] / RHO["int4"], rel=1e-5)
    assert any("every rho is relative to int4" in text for text in laws.fit.warnings)
    # The last line was there twice.
    assert [(e.runs, e.reason[:12]) for e in laws.left_out] == [(1, "the same row")]


def test_a_capacity_at_its_bound_is_said() -> None:
    """Runs of one format that are better than any dense model of the law can be."""
    table = planted_table(1e-3)
    lower = np.array([name == "int2" for name in table.formats])
    without_size = LAW.predict(1e99, table.num_tokens)
    loss = np.where(lower, without_size, table.val_loss)
    fixed = {"alpha": LAW.alpha, "beta": LAW.beta, "E": LAW.E}
    laws = fit(replace(table, val_loss=loss), fixed=fixed)
    assert "rho of int2" in laws.fit.at_bound
    assert any("rho of int2 of the fit sits at its bound" in text for text in laws.fit.warnings)


# 104 runs, 22 parameters: the size of QuEST's table (arXiv:2502.05003) and one format more.
LARGE = {"bf16": 1.0, **{f"f{i}": 0.95 - 0.05 * i for i in range(17)}}


def large_table() -> RunTable:
    table = planted_table(1e-3, rho=LARGE, sizes=(3e7, 5e7, 1e8), ratios=(50.0, 100.0))
    keep = np.arange(104)
    return RunTable(
        table.formats[:104],
        table.num_params[keep],
        table.num_tokens[keep],
        table.val_loss[keep],
        table.seed[keep],
        table.epochs[keep],
    )


def test_five_hundred_starts_take_less_than_five_seconds_of_one_core() -> None:
    table = large_table()
    begin = time.process_time()
    found = estimate_law(table, dense="bf16", delta=1e-3, starts=500, fixed={})
    assert time.process_time() - begin < 5.0
    assert found.num_free == 22
    assert found.starts_at_best > 250


@pytest.mark.slow
def test_a_thousand_refits_take_less_than_thirty_seconds_of_one_core() -> None:
    table = large_table()
    estimate = estimate_law(table, dense="bf16", delta=1e-3, starts=20, fixed={})
    curvature = measure_curvature(estimate)
    begin = time.process_time()
    found = bootstrap_intervals(estimate, curvature, table, resamples=1000, seed=0)
    assert time.process_time() - begin < 30.0
    assert np.isfinite(found.low).all()
