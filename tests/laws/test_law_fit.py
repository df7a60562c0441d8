from __future__ import annotations

import csv
import json
import math
import re
from pathlib import Path

import numpy as np
import pytest

from tests.laws.planted_runs import LAW, RHO, make_table, planted_table, quest_table, shared_file
from unified_laws.errors import UsageError
from unified_laws.laws.estimate import Estimate, estimate_law
from unified_laws.laws.fitting import fit_laws
from unified_laws.laws.loss_law import LossLaw
from unified_laws.laws.newton import Descent
from unified_laws.laws.result import LawsResult
from unified_laws.laws.table import RunTable, read_runs


def fit(table: RunTable, **fixed: float) -> Estimate:
    return estimate_law(table, dense="bf16", delta=1e-3, starts=24, fixed=fixed)


@pytest.mark.parametrize("delta", [1e-3, 1e-4, math.inf])
def test_planted_law_is_recovered(delta: float) -> None:
    found = estimate_law(planted_table(), dense="bf16", delta=delta, starts=24, fixed={})
    law = found.law
    np.testing.assert_allclose(
        [law.A, law.B, law.E, law.alpha, law.beta],
        [LAW.A, LAW.B, LAW.E, LAW.alpha, LAW.beta],
        rtol=1e-5,
    )
    np.testing.assert_allclose(np.exp(found.log_rho), list(RHO.values())[1:], rtol=1e-6)
    assert found.converged
    assert found.at_bound == ()


def test_capacity_above_one_is_recovered() -> None:
    found = fit(planted_table(rho={"bf16": 1.0, "banded": 1.07}))
    np.testing.assert_allclose(np.exp(found.log_rho), [1.07], rtol=1e-6)


def test_a_gross_outlier_moves_huber_less_than_a_percent() -> None:
    table = planted_table(1e-4)
    loss = table.val_loss.copy()
    loss[20] *= 1.1
    found = fit(make_table(table.formats, table.num_params, table.num_tokens, loss))
    np.testing.assert_allclose(np.exp(found.log_rho), list(RHO.values())[1:], rtol=0.01)


def test_row_order_and_units_change_nothing() -> None:
    table = planted_table(2e-3)
    base = fit(table)
    order = np.random.default_rng(5).permutation(len(table))
    shuffled = fit(
        make_table(
            [table.formats[i] for i in order],
            table.num_params[order],
            table.num_tokens[order],
            table.val_loss[order],
        )
    )
    scaled = fit(
        make_table(table.formats, table.num_params / 1e6, table.num_tokens / 1e9, table.val_loss)
    )
    capacity = dict(zip(base.objective.formats, base.log_rho, strict=True))
    for other in (shuffled, scaled):
        for name, value in zip(other.objective.formats, other.log_rho, strict=True):
            assert value == pytest.approx(capacity[name], abs=1e-6)
        assert other.law.alpha == pytest.approx(base.law.alpha, rel=1e-5)
        assert pytest.approx(base.law.E, rel=1e-5) == other.law.E
    assert pytest.approx(base.law.A * 1e6**-base.law.alpha, rel=1e-5) == scaled.law.A
    assert pytest.approx(base.law.B * 1e9**-base.law.beta, rel=1e-5) == scaled.law.B


def test_the_best_start_wins_not_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    """QuEST's notebook keeps the last start (papers.md §7.5); here the lowest value is kept."""
    theta = np.zeros((3, 9))
    theta[:, 3:5] = [[0.1, 0.2], [0.3, 0.4], [0.5, 0.6]]
    values, converged = np.array([3.0, 1.0, 2.0]), np.array([False, True, False])
    ended = Descent(theta, values, np.zeros(3), converged, 1)
    monkeypatch.setattr("unified_laws.laws.estimate.descend_gradually", lambda *_, **__: ended)
    found = estimate_law(planted_table(), dense="bf16", delta=1e-3, starts=3, fixed={})
    assert (found.law.alpha, found.law.beta, found.value) == (0.3, 0.4, 1.0)
    assert (found.starts, found.starts_at_best, found.converged) == (3, 1, True)


def test_held_parameters_stay() -> None:
    found = fit(planted_table(), alpha=LAW.alpha, E=LAW.E)
    assert found.law.alpha == LAW.alpha
    assert pytest.approx(LAW.E, rel=1e-14) == found.law.E
    assert found.law.beta == pytest.approx(LAW.beta, rel=1e-5)
    assert found.num_free == 7
    zero = fit(planted_table(), E=0.0)
    assert zero.law.E == 0.0
    assert np.isfinite(zero.value)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"delta": 0.0}, "delta is 0.0"),
        ({"delta": math.nan}, "delta is nan"),
        ({"starts": 0}, "starts is 0"),
        ({"dense": "fp32"}, "no run has the dense format 'fp32'; the runs have bf16, int2"),
        ({"fixed": {"A": 1.0}}, "fixed names 'A'; allowed are alpha, beta, E"),
        ({"fixed": {"alpha": -1.0}}, "fixed sets alpha to -1.0"),
        ({"fixed": {"E": 99.0}}, "the smallest loss"),
        ({"bootstrap": -1}, "bootstrap is -1"),
        ({"bootstrap": 1}, "bootstrap is 1"),
    ],
)
def test_arguments_out_of_range(arguments: dict[str, object], said: str) -> None:
    usual: dict[str, object] = {
        "dense": "bf16",
        "delta": 1e-3,
        "starts": 2,
        "bootstrap": 0,
        "seed": 0,
        "fixed": {},
    }
    with pytest.raises(UsageError, match=said):
        fit_laws(planted_table(), **{**usual, **arguments})  # type: ignore[arg-type]


def test_fewer_runs_than_parameters_says_what_is_needed() -> None:
    table = planted_table(sizes=(1e6,), ratios=(20.0,))
    with pytest.raises(UsageError, match=r"5 runs cannot determine 9 parameters.*at least 9"):
        fit(table)


# Published for this table with Huber 1e-3: fitting.md §8.3 (QuEST, arXiv:2502.05003).
QUEST = {"W4A4 HT": 0.690, "W3A3 HT": 0.430, "W2A2 HT": 0.156, "W4A16 HT": 0.833}


def test_quest_runs() -> None:
    table = quest_table()
    assert len(table) == 104
    laws = fit_laws(table, dense="BF16", delta=1e-3, starts=64, bootstrap=60, seed=0)
    for name, rho in QUEST.items():
        assert laws.capacity(name).rho == pytest.approx(rho, abs=0.001)
        assert laws.capacity(name).low < rho < laws.capacity(name).high
    assert laws.fit.objective == pytest.approx(0.219e-3, abs=0.0005e-3)
    assert laws.fit.starts_at_best >= 32
    assert laws.fit.converged
    assert any(text.startswith("E = ") and "not identified" in text for text in laws.fit.warnings)


# The same table with plain log-MSE, 4 digits published: README of ../shared/data.
QUEST_LEAST_SQUARES = {
    "W1A1 HT": 0.0205,
    "W2A2 HT": 0.1519,
    "W3A3 HT": 0.4331,
    "W4A4 HT": 0.6918,
    "W8A8 HT": 1.0162,
    "FP4(W4A4)": 0.6296,
    "W4A4+2:4(4:8)": 0.3812,
    "W1A1 noHT": 0.0156,
    "W2A2 noHT": 0.0784,
    "W3A3 noHT": 0.3221,
    "W4A4 noHT": 0.6033,
    "W8A8 noHT": 0.9376,
    "W1A16 HT": 0.1384,
    "W2A16 HT": 0.4137,
    "W3A16 HT": 0.6531,
    "W4A16 HT": 0.8404,
}


def test_quest_runs_by_least_squares_to_every_published_digit() -> None:
    found = estimate_law(quest_table(), dense="BF16", delta=math.inf, starts=32, fixed={})
    rho = dict(zip(found.objective.formats, np.exp(found.log_rho), strict=True))
    assert set(rho) == set(QUEST_LEAST_SQUARES)
    for name, published in QUEST_LEAST_SQUARES.items():
        # Their E is .0014 rather than 0: the last digit may differ by one.
        assert rho[name] == pytest.approx(published, abs=1.5e-4)


def test_quest_with_a_fixed_irreducible_loss() -> None:
    """fitting.md §8.3: objective and rho at E = 1.5 and 1.9."""
    for E, objective, rho in ((1.5, 0.448e-3, 0.668), (1.9, 0.700e-3, 0.646)):
        found = estimate_law(quest_table(), dense="BF16", delta=1e-3, starts=32, fixed={"E": E})
        assert found.value == pytest.approx(objective, abs=0.0015e-3)
        index = found.objective.formats.index("W4A4 HT")
        assert math.exp(found.log_rho[index]) == pytest.approx(rho, abs=0.002)


def test_chinchilla_runs_of_one_format(tmp_path: Path) -> None:
    """README of ../shared/data: E 1.7839, A 442.2, B 1271.8, alpha .3426, beta .3420."""
    with shared_file("chinchilla_kyotakano_df.csv").open(encoding="utf-8") as file:
        rows = [f"bf16,{row['N']},{row['D']},{row['loss']}" for row in csv.DictReader(file)]
    path = tmp_path / "runs.csv"
    path.write_text("format,num_params,num_tokens,val_loss\n" + "\n".join(rows), encoding="utf-8")
    laws = fit_laws(read_runs(path), dense="bf16", delta=1e-3, starts=16, bootstrap=0, seed=0)
    law = laws.law
    assert [entry.format for entry in laws.capacities] == ["bf16"]
    assert pytest.approx(1.7839, abs=5e-5) == law.E
    assert pytest.approx(442.2, abs=0.05) == law.A
    assert pytest.approx(1271.8, abs=0.05) == law.B
    assert law.alpha == pytest.approx(0.3426, abs=5e-5)
    assert law.beta == pytest.approx(0.3420, abs=5e-5)
    # Points read off a figure: some are far out, nothing else is wrong.
    assert all(text.startswith("outlier: bf16 at N = ") for text in laws.fit.warnings)


def test_quartet_runs_reach_the_lower_optimum() -> None:
    """The published gamma = 1 fit (9.109e-6) is a local optimum; README of ../shared/data."""
    with shared_file("quartet_fp4_runs.csv").open(encoding="utf-8") as file:
        rows = [r for r in csv.DictReader(file) if r["forward_format"] == r["backward_format"]]
    rows = [row for row in rows if row["forward_format"] == "BF16"]
    assert len(rows) == 24
    columns = [
        np.array([float(r[k]) for r in rows]) for k in ("N_nonemb", "D_tokens", "c4_val_loss")
    ]
    found = estimate_law(
        make_table(["bf16"] * 24, *columns), dense="bf16", delta=1e-4, starts=32, fixed={}
    )
    law = found.law
    assert found.value == pytest.approx(7.729e-6, abs=0.5e-9)
    np.testing.assert_allclose(
        [law.A, law.alpha, law.B, law.beta, law.E], [10.95, 0.1026, 628.6, 0.3471, 1.025], rtol=5e-4
    )


@pytest.mark.parametrize("name", ["hot", "cool_end", "slim_chinchilla"])
def test_gemstones_published_objective(name: str) -> None:
    """Huber 1e-3: the published optimum to its digits, or below it."""
    path = shared_file(f"gemstones/wandb_df_for_fitting_{name}.jsonl")
    published = json.loads(shared_file(f"gemstones/published_{name}.json").read_text())
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    columns = [
        np.array([float(row[k]) for row in rows])
        for k in ("params_active_precise", "tokens", "final_loss")
    ]
    found = estimate_law(
        make_table(["bf16"] * len(rows), *columns), dense="bf16", delta=1e-3, starts=16, fixed={}
    )
    assert found.value <= published["loss"]["0"] * (1 + 1e-6)
    assert found.value == pytest.approx(published["loss"]["0"], rel=1e-5)


def test_json_has_the_agreed_keys_and_comes_back() -> None:
    laws = fit_laws(
        planted_table(2e-3), dense="bf16", delta=math.inf, starts=8, bootstrap=10, seed=0
    )
    content = laws.to_json()
    assert set(content["law"]) == {"A", "B", "E", "alpha", "beta"}
    assert set(content["capacities"][0]) == {"format", "rho", "low", "high", "stderr", "runs"}
    assert {"rmse_log", "starts", "starts_at_best", "condition", "warnings"} <= set(content["fit"])
    assert content["capacities"][0] == {
        "format": "bf16",
        "rho": 1.0,
        "low": 1.0,
        "high": 1.0,
        "stderr": 0.0,
        "runs": 12,
    }
    text = json.dumps(content, allow_nan=False)
    back = LawsResult.from_json(json.loads(text))
    again = back.to_json()
    np.testing.assert_allclose(
        [again["law"].pop(k) for k in list(again["law"])],
        [content["law"].pop(k) for k in list(content["law"])],
        rtol=1e-14,
    )
    assert again == content
    assert math.isinf(back.delta)
    assert isinstance(back.law, LossLaw)


def test_damaged_json_is_refused() -> None:
    with pytest.raises(UsageError, match="not the JSON of a fitted law"):
        LawsResult.from_json({"law": {}})


def test_summary_and_residuals() -> None:
    table = planted_table(2e-3)
    laws = fit_laws(table, dense="bf16", delta=1e-3, starts=8, bootstrap=0, seed=0)
    text = laws.summary()
    assert re.search(r"^int4 +12 +0\.8\d\d +\[ 0\.\d{3}, +0\.\d{3}\]", text, re.MULTILINE)
    residual = laws.residuals[15]
    law, rho = laws.law, laws.capacity(residual.format).rho
    expected = law.predict(residual.num_params, residual.num_tokens, rho)
    assert residual.predicted_loss == pytest.approx(float(expected), rel=1e-10)
    with pytest.raises(UsageError, match="no format 'int9'; it has bf16, int4"):
        laws.capacity("int9")
