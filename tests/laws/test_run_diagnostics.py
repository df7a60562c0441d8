from __future__ import annotations

import json
import math

import numpy as np
import pytest

from tests.laws.planted_runs import LAW, RHO, make_table, planted_table
from unified_laws.laws.curvature import measure_curvature
from unified_laws.laws.diagnostics import holm, measure_diagnostics
from unified_laws.laws.estimate import estimate_law
from unified_laws.laws.fitting import fit_laws
from unified_laws.laws.result import LawsResult
from unified_laws.laws.table import RunTable


def fit(table: RunTable, delta: float = math.inf) -> LawsResult:
    return fit_laws(table, dense="bf16", delta=delta, starts=8, bootstrap=0, seed=0)


def test_leverage_sums_to_the_parameters_and_ignores_units() -> None:
    table = planted_table(2e-3)
    estimate = estimate_law(table, dense="bf16", delta=math.inf, starts=8, fixed={})
    leverage = measure_curvature(estimate).leverage
    assert leverage.sum() == pytest.approx(estimate.num_free, rel=1e-9)
    assert (leverage > 0).all()
    assert (leverage <= 1).all()


@pytest.mark.parametrize("delta", [1e-3, math.inf])
def test_leave_one_out_is_a_fit_without_the_run(delta: float) -> None:
    table = planted_table(2e-3)
    laws = fit(table, delta)
    assert laws.diagnostics is not None
    assert laws.diagnostics.formats == ("int4", "int3", "int2", "s50")
    stderr = [laws.capacity(name).stderr for name in laws.diagnostics.formats]
    for left_out in (0, 17, 40):
        keep = [i for i in range(len(table)) if i != left_out]
        other = make_table(
            [table.formats[i] for i in keep],
            table.num_params[keep],
            table.num_tokens[keep],
            table.val_loss[keep],
        )
        found = estimate_law(other, dense="bf16", delta=delta, starts=16, fixed={})
        again = np.exp(found.log_rho)
        np.testing.assert_allclose(
            laws.diagnostics.rho_without[left_out], again, atol=0.05 * min(stderr)
        )


def test_a_planted_outlier_is_named_and_nothing_else() -> None:
    table = planted_table(1e-3)
    loss = table.val_loss.copy()
    loss[20] *= 1.02
    laws = fit(make_table(table.formats, table.num_params, table.num_tokens, loss), 1e-3)
    assert laws.diagnostics is not None
    assert laws.diagnostics.outliers == (20,)
    row = laws.residuals[20]
    words = [text for text in laws.fit.warnings if text.startswith("outlier: ")]
    assert len(words) == 1
    assert (
        f"outlier: {row.format} at N = {row.num_params:.4g}, D = {row.num_tokens:.4g}" in words[0]
    )


def test_drift_is_found_where_it_is_planted_and_only_there() -> None:
    """rho of int3 falls by 5 % with every doubling of D (arXiv:2505.14302 says it may)."""
    table = planted_table(0.0)
    slope = math.log2(0.95)
    moved = np.array([name == "int3" for name in table.formats])
    rho = np.array([RHO[name] for name in table.formats])
    middle = float(np.exp(np.log(table.num_tokens[moved]).mean()))
    rho = np.where(moved, rho * (table.num_tokens / middle) ** slope, rho)
    loss = LAW.predict(table.num_params, table.num_tokens, rho)
    loss = loss * np.exp(3e-4 * np.random.default_rng(2).standard_normal(len(loss)))
    laws = fit(make_table(table.formats, table.num_params, table.num_tokens, loss))
    assert laws.diagnostics is not None
    drifting = {(entry.format, entry.variable): entry for entry in laws.diagnostics.drifting}
    found = drifting["int3", "D"]
    assert found.slope == pytest.approx(slope, rel=0.25)
    assert {name for name, _ in drifting} == {"int3"}
    assert any("rho of int3 is not one number" in text for text in laws.fit.warnings)


def test_without_a_drift_the_chance_is_uniform() -> None:
    """80 tables of four formats: a p below .05 as often as .05, within 4 standard errors."""
    chances = []
    for seed in range(80):
        table = planted_table(2e-3, 500 + seed, ratios=(20.0, 100.0))
        estimate = estimate_law(table, dense="bf16", delta=math.inf, starts=2, fixed={})
        found = measure_diagnostics(estimate, measure_curvature(estimate), table)
        chances += [entry.p for entry in found.drifts if entry.variable == "D"]
    share = float(np.mean(np.array(chances) < 0.05))
    assert share == pytest.approx(0.05, abs=4 * math.sqrt(0.05 * 0.95 / len(chances)))


def test_one_token_count_cannot_tell_a_drift_with_d() -> None:
    table = planted_table(1e-3)
    laws = fit(
        make_table(table.formats, table.num_params, np.full(len(table), 1e8), table.val_loss)
    )
    assert laws.diagnostics is not None
    for entry in laws.diagnostics.drifts:
        assert math.isnan(entry.p) == (entry.variable == "D")


def test_holm_is_the_step_down_rule() -> None:
    adjusted = holm(np.array([0.01, math.nan, 0.04, 0.03]))
    np.testing.assert_allclose(adjusted, [0.03, math.nan, 0.06, 0.06])


def test_all_of_it_comes_back_from_json() -> None:
    laws = fit(planted_table(2e-3), 1e-3)
    content = json.loads(json.dumps(laws.to_json(), allow_nan=False))
    back = LawsResult.from_json(content)
    assert back.to_json() == content
    assert back.diagnostics == laws.diagnostics
    for key in ("diagnostics", "intervals", "interval", "objective", "replicates", "components"):
        del content[key]
    old = LawsResult.from_json(content)
    assert old.diagnostics is None
    assert old.intervals == ()
    assert old.summary().startswith("format")
