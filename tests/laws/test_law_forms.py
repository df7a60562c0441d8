"""Every law of laws/forms: derivatives, planted recovery, units, order of rows."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.optimize import least_squares

from tests.conftest import ROOT
from tests.laws.planted_forms import FORMATS, grid, planted, planted_theta, reordered
from tests.laws.planted_runs import make_table, planted_table
from unified_laws.errors import UsageError
from unified_laws.laws.estimate import estimate_law
from unified_laws.laws.forms.base import LawForm
from unified_laws.laws.forms.catalogue import all_forms, pick_forms
from unified_laws.laws.forms.estimation import estimate_form, threshold
from unified_laws.laws.forms.objective import FormObjective
from unified_laws.laws.forms.observations import DENSE_VALUE, LIMITS, observe
from unified_laws.laws.loss_law import Floats
from unified_laws.laws.table import COVARIATES, RunTable, read_runs

FORMS = all_forms()
EVERY = pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())


def test_the_laws_of_the_issue_are_there() -> None:
    assert set(FORMS) == {
        "unified",
        "gmse_tanh",
        "gmse_logistic",
        "chinchilla",
        "chinchilla_tied",
        "sparsity",
        "precision",
        "precision_offset",
        "quantization_error",
        "floating_point",
        "nested",
        "nested_tokens",
        "params_only",
        "params_only_free",
    }
    assert pick_forms("all") == tuple(FORMS.values())
    assert [form.name for form in pick_forms(["nested", "unified", "nested"])] == [
        "nested",
        "unified",
    ]
    with pytest.raises(UsageError, match="no law is called 'kaplan'; there are chinchilla"):
        pick_forms(["kaplan"])


def test_covariates_are_the_same_everywhere() -> None:
    assert tuple(DENSE_VALUE) == COVARIATES == tuple(LIMITS)


@EVERY
def test_a_law_says_what_it_is(form: LawForm) -> None:
    runs = grid()
    assert "arXiv:" in form.source
    assert form.refusal(runs) == ""
    names = form.names(runs)
    assert len(set(names)) == len(names) == len(planted_theta(form, runs))
    for parameter in form.parameters(runs):
        assert parameter.low <= parameter.starts[0] < parameter.starts[1] <= parameter.high
        stem = parameter.name.removesuffix("_w").removesuffix("_a")
        assert stem in form.formula


@EVERY
def test_gradient_is_the_derivative(form: LawForm) -> None:
    runs = grid()
    middle = planted_theta(form, runs)
    generator = np.random.default_rng(3)
    theta = middle + 0.05 * generator.uniform(-1, 1, (4, len(middle)))
    log_loss, slope = form.gradient(theta, runs)
    np.testing.assert_array_equal(log_loss, form.log_loss(theta, runs))
    step = 1e-5
    for index in range(len(middle)):
        shift = np.zeros(len(middle))
        shift[index] = step
        up, down = form.log_loss(theta + shift, runs), form.log_loss(theta - shift, runs)
        np.testing.assert_allclose(
            slope[:, :, index], (up - down) / (2 * step), rtol=1e-6, atol=1e-8
        )


@EVERY
@pytest.mark.parametrize("delta", [1e-2, math.inf])
def test_objective_derivatives(form: LawForm, delta: float) -> None:
    """Gradient and exact Hessian of the Huber objective against differences of its value."""
    runs = observe(planted(form, 5e-3), dense="bf16", by_format=FORMATS)
    objective = FormObjective(form, runs, delta, exact=True)
    theta = planted_theta(form, runs) + 0.01
    weights = np.ones((1, len(runs)))
    at = objective.derivatives(theta[None], weights)
    step = 1e-5
    for index in range(len(theta)):
        shift = np.zeros((1, len(theta)))
        shift[0, index] = step
        up, down = (objective.derivatives(theta[None] + s, weights) for s in (shift, -shift))
        slope = (up.value - down.value) / (2 * step)
        assert at.gradient[0, index] == pytest.approx(float(slope[0]), rel=1e-5, abs=1e-9)
        curve = (up.gradient[0] - down.gradient[0]) / (2 * step)
        np.testing.assert_allclose(at.hessian[0, index], curve, rtol=2e-3, atol=2e-4)


@EVERY
def test_planted_constants_come_back(form: LawForm) -> None:
    runs = observe(planted(form), dense="bf16", by_format=FORMATS)
    found = estimate_form(form, runs, delta=1e-3, starts=16, seed=0)
    assert found.value < 1e-18 * len(runs)
    assert found.converged
    assert found.at_bound == ()
    np.testing.assert_allclose(found.theta, planted_theta(form, runs), rtol=1e-3, atol=1e-4)


@EVERY
def test_row_order_and_units_change_nothing(form: LawForm) -> None:
    table = planted(form, 2e-3)
    order = np.random.default_rng(5).permutation(len(table))
    shuffled = reordered(table, order)
    scaled = replace(table, num_params=table.num_params / 1e6, num_tokens=table.num_tokens / 1e9)
    base, *others = (
        estimate_form(
            form,
            observe(t, dense="bf16", by_format=FORMATS),
            delta=1e-3,
            starts=4,
            seed=0,
        )
        for t in (table, shuffled, scaled)
    )
    assert others[0].value == pytest.approx(base.value, rel=1e-7)
    assert others[1].value == pytest.approx(base.value, rel=1e-7)
    np.testing.assert_allclose(others[0].residuals, base.residuals[order], atol=2e-6)
    np.testing.assert_allclose(others[1].residuals, base.residuals, atol=2e-6)
    # Constants in the table's own units: what moves with the unit is what `scale` says.
    first, second = base.constants, others[1].constants
    units = {"N": math.log(1e6), "D": math.log(1e9)}
    for parameter, where in form.layout(base.objective.runs).values():
        for index, name in enumerate(form.names(base.objective.runs)[where]):
            moved = 0.0
            for power, size, sign in parameter.scale:
                key = f"{power}{name[len(parameter.name) :]}"
                moved += sign * units[size] * first.get(key, first.get(power, math.nan))
            if parameter.logarithmic:
                ratio = math.log(first[name] / second[name])
                assert ratio == pytest.approx(moved, abs=5e-3), (name, index)
            else:
                assert first[name] == pytest.approx(second[name], rel=1e-3, abs=1e-4)


def test_constants_are_the_published_formula() -> None:
    """In parameters and tokens: the constants put into the formula give the predicted loss."""
    form = FORMS["floating_point"]
    table = planted(form)
    runs = observe(table, dense="bf16", by_format=FORMATS)
    found = estimate_form(form, runs, delta=math.inf, starts=8, seed=0)
    c = found.constants
    n, d = table.num_params, table.num_tokens
    wide = {
        name: np.array([FORMATS.get(f, {}).get(name, 2.0) for f in table.formats])
        for name in ("exponent_bits", "mantissa_bits", "block_size")
    }
    damage = c["k"] * d ** c["beta"] / n ** c["alpha"] * np.log2(wide["block_size"])
    damage /= (wide["exponent_bits"] + 0.5) ** c["delta"] * (wide["mantissa_bits"] + 0.5) ** c["nu"]
    expected = c["A"] * n ** -c["alpha"] + c["B"] * d ** -c["beta"] + c["E"]
    expected = expected + np.where(runs.is_dense, 0.0, damage)
    np.testing.assert_allclose(table.val_loss, expected, rtol=1e-8)


def test_the_unified_form_is_the_joint_fit() -> None:
    table = planted_table(2e-3)
    one = estimate_law(table, dense="bf16", delta=1e-3, starts=24, fixed={})
    other = estimate_form(
        FORMS["unified"], observe(table, dense="bf16"), delta=1e-3, starts=24, seed=0
    )
    assert other.value == pytest.approx(one.value, rel=1e-7)
    constants = other.constants
    for name, log_rho in zip(one.objective.formats, one.log_rho, strict=True):
        assert constants[f"rho[{name}]"] == pytest.approx(math.exp(log_rho), rel=1e-5)
    assert constants["alpha"] == pytest.approx(one.law.alpha, rel=1e-4)
    assert other.starts_at_best >= 20


def test_least_squares_against_scipy() -> None:
    form = FORMS["nested"]
    runs = observe(planted(form, 3e-3), dense="bf16", by_format=FORMATS)
    found = estimate_form(form, runs, delta=threshold("least_squares", 1.0), starts=16, seed=0)

    def residuals(theta: Floats) -> Floats:
        found: Floats = form.log_loss(theta[None], runs)[0] - runs.log_loss
        return found

    oracle = least_squares(
        residuals,
        planted_theta(form, runs),
        xtol=1e-15,
        ftol=1e-15,
        gtol=1e-15,
        max_nfev=2000,
    )
    assert found.value == pytest.approx(float(oracle.cost), rel=1e-8)


def test_least_absolute_against_an_exact_corner() -> None:
    """With alpha, beta and E held, A and B solve a linear program; a vertex interpolates."""
    from scipy.optimize import linprog

    form = FORMS["chinchilla"]
    table = planted_table(5e-3, rho={"bf16": 1.0}, ratios=(10.0, 20.0, 50.0, 100.0, 200.0))
    runs = observe(table, dense="bf16")
    found = estimate_form(
        form,
        runs,
        delta=threshold("least_absolute", 1.0),
        starts=16,
        seed=0,
        fixed={"alpha": 0.25, "beta": 0.3, "E": 1.6},
    )
    n, d, loss = table.num_params, table.num_tokens, table.val_loss
    columns = np.column_stack([n**-0.25, d**-0.3]) / loss[:, None]
    right = 1.0 - 1.6 / loss
    size, many = columns.max(axis=0), len(loss)
    # Relative instead of log residuals: the same to first order, so close but not identical.
    slack = np.eye(many)
    solved: Any = linprog(
        np.r_[np.zeros(2), np.ones(many)],
        A_ub=np.block([[columns / size, -slack], [-columns / size, -slack]]),
        b_ub=np.r_[right, -right],
        bounds=[(0, None)] * (2 + many),
    )
    expected = solved.x[:2] / size
    np.testing.assert_allclose([found.constants["A"], found.constants["B"]], expected, rtol=2e-2)
    assert np.abs(found.residuals).sum() == pytest.approx(float(solved.fun), rel=1e-2)
    assert np.sort(np.abs(found.residuals))[1] < 2e-5  # two constants: two residuals vanish


def test_held_constants() -> None:
    form = FORMS["nested"]
    table = planted(form)
    runs = observe(table, dense="bf16", by_format=FORMATS)
    free = estimate_form(form, runs, delta=1e-3, starts=16, seed=0).constants
    base = {name: free[name] for name in ("A", "B", "E", "alpha", "beta", "gamma")}
    held = estimate_form(form, runs, delta=1e-3, starts=4, seed=0, fixed=base)
    assert held.num_free == 5
    assert held.constants["A"] == pytest.approx(free["A"], rel=1e-12)
    assert held.constants["eff_N[f4]"] == pytest.approx(free["eff_N[f4]"], rel=1e-5)
    with pytest.raises(UsageError, match="fixed holds A but not alpha"):
        estimate_form(form, runs, delta=1e-3, starts=4, seed=0, fixed={"A": 1.0})
    with pytest.raises(UsageError, match="fixed names delta; the constants of nested are A, B, E"):
        estimate_form(form, runs, delta=1e-3, starts=4, seed=0, fixed={"delta": 1.0})


@pytest.mark.parametrize("objective", ["huber", "least_squares", "least_absolute"])
def test_thresholds(objective: str) -> None:
    assert (
        threshold(objective, 1e-3)
        == {
            "huber": 1e-3,
            "least_squares": math.inf,
            "least_absolute": 1e-5,
        }[objective]
    )


def test_what_cannot_be_estimated() -> None:
    table = planted_table()
    runs = observe(table, dense="bf16")
    with pytest.raises(UsageError, match="objective is 'l1'; allowed are huber"):
        threshold("l1", 1.0)
    with pytest.raises(UsageError, match=r"delta is 0\.0"):
        threshold("huber", 0.0)
    with pytest.raises(UsageError, match="starts is 0"):
        estimate_form(FORMS["unified"], runs, delta=1e-3, starts=0, seed=0)
    with pytest.raises(UsageError, match="no compressed run says its sparsity; give columns="):
        estimate_form(FORMS["sparsity"], runs, delta=1e-3, starts=1, seed=0)
    same = observe(table, dense="bf16", by_format={f: {"weight_bits": 4} for f in table.formats})
    assert FORMS["precision"].refusal(same) == "all runs have the same precision"
    some = observe(table, dense="bf16", by_format={"int4": {"gmse": 0.01}})
    assert FORMS["gmse_tanh"].refusal(some) == "36 compressed run(s) do not say their gmse"
    few = planted_table(sizes=(1e6,), ratios=(20.0,))
    with pytest.raises(UsageError, match="5 runs cannot determine the 9 constants of unified"):
        estimate_form(FORMS["unified"], observe(few, dense="bf16"), delta=1e-3, starts=1, seed=0)
    with pytest.raises(UsageError, match="no run has the dense format 'fp32'"):
        observe(table, dense="fp32")
    with pytest.raises(UsageError, match=r"gmse of a run of int4 is 1\.5; allowed is 0 to"):
        observe(table, dense="bf16", by_format={"int4": {"gmse": 1.5}})
    with pytest.raises(UsageError, match="'bits' is no covariate of a law"):
        observe(table, dense="bf16", by_format={"int4": {"bits": 4}})


def test_covariates_from_the_file(tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    path.write_text(
        "format,num_params,num_tokens,val_loss,P\nbf16,1e6,1e7,4,\nint4,1e6,1e7,4.2,4\n"
        "int4,2e6,1e7,4.1,4\n",
        encoding="utf-8",
    )
    table = read_runs(path, columns={"weight_bits": "P"})
    np.testing.assert_array_equal(table.covariates["weight_bits"], [math.nan, 4, 4])
    runs = observe(table, dense="bf16", by_format={"int4": {"weight_bits": 3, "gmse": 0.01}})
    np.testing.assert_array_equal(runs.covariate("weight_bits"), [16, 4, 4])
    np.testing.assert_array_equal(runs.covariate("gmse"), [0, 0.01, 0.01])
    path.write_text(path.read_text().replace("4.1,4", "4.1,inf"), encoding="utf-8")
    with pytest.raises(UsageError, match="line 4: column 'P' has 'inf'"):
        read_runs(path, columns={"weight_bits": "P"})


def test_all_runs_at_one_number_of_tokens() -> None:
    """B, beta and E cannot be told apart; the fit still ends and its predictions are right."""
    table = planted_table(1e-3)
    one: RunTable = make_table(
        table.formats, table.num_params, np.full(len(table), 1e8), table.val_loss
    )
    found = estimate_form(
        FORMS["unified"], observe(one, dense="bf16"), delta=1e-3, starts=8, seed=0
    )
    assert np.isfinite(found.value)
    assert np.isfinite(list(found.constants.values())).all()


def test_the_document_lists_every_law() -> None:
    text = (ROOT / "docs" / "loss_laws.md").read_text(encoding="utf-8")
    for form in FORMS.values():
        assert f"| {form.name} | `{form.formula}` | {form.source} |" in text
