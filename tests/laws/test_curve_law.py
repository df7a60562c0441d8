"""The loss law with capacity from its curve, fitted to losses."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from tests.laws.planted_runs import LAW, make_table, planted_table, quest_table
from unified_laws.errors import UsageError
from unified_laws.laws.curve_forms import FORMS, FREE
from unified_laws.laws.curve_law import CurveLawFit, _Combined, fit_curve_law
from unified_laws.laws.curve_points import CurvePoint
from unified_laws.laws.curve_report import CurveReport, group_of, report_curves
from unified_laws.laws.estimate import estimate_law
from unified_laws.laws.json_form import from_json, to_json
from unified_laws.laws.newton import Box
from unified_laws.laws.robust_descent import huber_sum, minimise_huber
from unified_laws.laws.table import RunTable

NAN = math.nan
QUEST = {1: 0.36338, 2: 0.118846, 3: 0.0374397, 4: 0.0115429, 8: 8.78212e-5}
# (type, GMSE of weights, of activations); curves planted per type
FORMATS = {
    "int4": ("integer W", 0.0115, NAN),
    "int3": ("integer W", 0.0374, NAN),
    "int2": ("integer W", 0.1188, NAN),
    "int1": ("integer W", 0.3634, NAN),
    "w3a3": ("integer W", 0.0374, 0.0374),
    "s25": ("sparsity W", 0.0083, NAN),
    "s50": ("sparsity W", 0.0713, NAN),
    "s75": ("sparsity W", 0.2764, NAN),
}
CURVES = {"integer W": (0.95, 0.45, 1.6), "sparsity W": (1.0, 0.30, 0.6)}


def points() -> list[CurvePoint]:
    return [CurvePoint(name, kind, w, a, NAN, NAN) for name, (kind, w, a) in FORMATS.items()]


def table(noise: float = 0.0, seed: int = 0) -> RunTable:
    rho = {"bf16": 1.0}
    for name, (kind, weight, activation) in FORMATS.items():
        parameters = np.array(CURVES[kind])
        errors = [e for e in (weight, activation) if math.isfinite(e)]
        rho[name] = float(FORMS["tanh"].value(parameters, np.array(errors)).prod())
    return planted_table(noise, seed, rho=rho)


@pytest.mark.parametrize("form", [*FORMS, FREE])
def test_the_jacobian_is_that_of_finite_differences(form: str) -> None:
    problem = _Combined(table(1e-3), points(), form, {}, dense="bf16")
    width = len(problem.names)
    theta = np.concatenate([[0.1, 0.2, 0.3, 0.3, 0.25], np.full(width - 5, -0.3)])
    _, jacobian = problem.residuals(theta)
    for k in range(width):
        step = np.zeros(width)
        step[k] = 1e-6
        numeric = (problem.residuals(theta + step)[0] - problem.residuals(theta - step)[0]) / 2e-6
        np.testing.assert_allclose(jacobian[:, k], numeric, atol=1e-7, rtol=1e-5)


@pytest.mark.parametrize("delta", [math.inf, 1e-4])
def test_planted_law_and_curves_are_recovered(delta: float) -> None:
    fit = fit_curve_law(
        table(), points(), form="tanh", dense="bf16", delta=delta, free=("L",), starts=3
    )
    assert fit.rmse_log < 1e-7
    assert fit.converged
    np.testing.assert_allclose(
        [fit.law.A, fit.law.B, fit.law.E, fit.law.alpha, fit.law.beta],
        [LAW.A, LAW.B, LAW.E, LAW.alpha, LAW.beta],
        rtol=1e-3,
    )
    for kind, curve in CURVES.items():
        found = [fit.value(f"{letter} of {kind}") for letter in "LFC"]
        np.testing.assert_allclose(found, curve, rtol=1e-3)


def test_planted_curves_come_back_within_two_standard_deviations() -> None:
    """Pooled over three tables: 2 sd cover about 95 % of 6 curve parameters each."""
    hits = []
    for seed in range(3):
        fit = fit_curve_law(
            table(1e-3, seed),
            points(),
            form="tanh",
            dense="bf16",
            delta=1e-3,
            free=("L",),
            starts=1,
            bootstrap=20,
            seed=seed,
        )
        for entry in fit.parameters[5:]:
            letter, _, kind = entry.name.partition(" of ")
            hits.append(abs(entry.value - CURVES[kind]["LFC".index(letter)]) <= 2 * entry.sd)
    assert sum(hits) >= 0.8 * len(hits), hits


def test_free_capacities_are_the_joint_fit_of_the_law() -> None:
    """An independent optimiser (the batched Newton of estimate_law) ends at the same objective."""
    runs = table(2e-3)
    ours = fit_curve_law(runs, points(), form=FREE, dense="bf16", delta=1e-3, starts=3)
    theirs = estimate_law(runs, dense="bf16", delta=1e-3, starts=60, fixed={})
    assert ours.objective == pytest.approx(theirs.value, rel=1e-6)
    for name, log_rho in zip(theirs.objective.formats, theirs.log_rho, strict=True):
        assert ours.value(f"rho of {name}") == pytest.approx(math.exp(log_rho), rel=1e-3)


def test_the_huber_descent_finds_a_median() -> None:
    """With delta far below the residuals the minimum is the (weighted) median."""
    data, weights = np.array([0.0, 0.3, 0.7, 2.0, 9.0]), np.array([1.0, 1.0, 1.0, 1.0, 3.0])
    box = Box(np.array([-5.0]), np.array([20.0]), np.array([False]))

    def residuals(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return data - x[0], np.full((5, 1), -1.0)

    found = minimise_huber(residuals, np.zeros(1), weights, box, delta=1e-3, cold=True)
    assert found.theta[0] == pytest.approx(2.0, abs=2e-3)
    assert found.converged
    assert found.value == pytest.approx(huber_sum(data - found.theta[0], weights, 1e-3))
    mean = minimise_huber(residuals, np.zeros(1), weights, box, delta=math.inf, cold=True)
    assert mean.theta[0] == pytest.approx(30.0 / 7.0)


def test_units_and_order_do_not_matter() -> None:
    runs = table(1e-3)
    base = fit_curve_law(runs, points(), form="tanh", dense="bf16", delta=1e-3, starts=2)
    order = np.random.default_rng(0).permutation(len(runs))
    moved = make_table(
        [runs.formats[i] for i in order],
        runs.num_params[order] / 1e6,
        runs.num_tokens[order] / 1e9,
        runs.val_loss[order],
    )
    other = fit_curve_law(moved, points()[::-1], form="tanh", dense="bf16", delta=1e-3, starts=2)
    assert other.objective == pytest.approx(base.objective, rel=1e-6)
    for name in ("alpha", "F of integer W", "C of sparsity W"):
        assert other.value(name) == pytest.approx(base.value(name), rel=1e-3)


def test_too_few_runs_or_none_is_refused() -> None:
    with pytest.raises(UsageError, match="no run has one of the formats absent"):
        fit_curve_law(
            table(),
            [CurvePoint("absent", "integer W", 0.1, NAN, NAN, NAN)],
            form="tanh",
            dense="bf16",
            delta=1e-3,
        )
    few = planted_table(sizes=(1e6,), ratios=(20.0, 100.0), rho={"bf16": 1.0, "int4": 0.8})
    with pytest.raises(UsageError, match="4 runs cannot determine the 7 parameters"):
        fit_curve_law(few, points()[:1], form="tanh", dense="bf16", delta=1e-3)


def measured(noise: float = 0.0) -> list[CurvePoint]:
    runs = table(noise)
    law = fit_curve_law(runs, points(), form=FREE, dense="bf16", delta=1e-3, starts=1)
    return [
        CurvePoint(
            p.format, p.type, p.gmse, p.gmse_activation, law.value(f"rho of {p.format}"), NAN
        )
        for p in points()
    ]


def test_the_report_has_the_papers_tables() -> None:
    own = [
        *measured(5e-4),
        CurvePoint("vq", "vector W", 0.1, NAN, 0.5, NAN),
    ]
    worse = [
        CurvePoint(p.format, p.type, p.gmse * 1.6 ** (i % 2), p.gmse_activation, p.rho, p.stderr)
        for i, p in enumerate(own)
    ]
    report = report_curves(
        {"normal": own, "shuffled": worse},
        table=table(5e-4),
        dense="bf16",
        delta=1e-3,
        starts=1,
        bootstrap=2,
    )
    groups = {(e.group, e.form): e for e in report.law_errors}
    for group in ("sparsity", "quantization", "all"):
        assert groups[group, FREE].objective <= groups[group, "tanh"].objective * (1 + 1e-9)
        # planted tanh curves with L = .95: held at 1 they cost something, but little
        assert groups[group, "tanh"].rmse < 5e-3
    assert groups["all", FREE].num_free == 5 + len(FORMATS)
    assert [u.format for u in report.unplaced] == ["vq"]
    assert "the only error of its kind" in report.unplaced[0].reason
    assert [row.type for row in report.law_constants] == ["integer W", "sparsity W"]
    integer = report.law_constants[0].fit
    assert integer.value("F of integer W") == pytest.approx(0.45, abs=0.1)
    normal, shuffled = report.sources
    assert normal.rmse < 0.5 * shuffled.rmse
    assert normal.law_rmse_log < shuffled.law_rmse_log
    assert -1.0 <= normal.order < -0.7
    text = report.summary()
    for word in ("sparsity", "quantization", "± one sd", "input density", "on no curve: vq"):
        assert word in text
    back = from_json(CurveReport, json.loads(json.dumps(to_json(report))))
    assert back.summary() == text
    assert report.fit("integer W").form == "tanh"
    with pytest.raises(UsageError, match="there are curves of integer W, sparsity W, all"):
        report.fit("vector W")


def test_a_report_without_runs_or_types_says_what_is_missing() -> None:
    unknown = [
        CurvePoint(p.format, "unknown", p.gmse, p.gmse_activation, p.rho, p.stderr)
        for p in measured()[:4]
    ]
    report = report_curves({"given": unknown}, table=None, dense="bf16", delta=1e-3)
    assert not report.law_errors
    assert "the combined laws (Tables 1 and 3) are left out" in report.summary()
    assert "is unknown: they share one curve" in report.summary()
    with pytest.raises(UsageError, match="no kind of compression with two"):
        report_curves({"given": unknown[:1]}, table=None, dense="bf16", delta=1e-3)


@pytest.mark.parametrize(
    ("kind", "group"),
    [
        ("integer W+A", "quantization"),
        ("integer W, floating point A", "quantization"),
        ("sparsity W", "sparsity"),
        ("sparsity W+A", "sparsity"),
        ("integer W, sparsity W", "mixed"),
        ("integer W+A, sparsity W", "mixed"),
    ],
)
def test_groups_of_types(kind: str, group: str) -> None:
    assert group_of(kind) == group


def test_quest_weights_and_activations_lie_on_one_curve() -> None:
    """The square of the curve of weights alone is that of weights and activations together.

    papers.md §9 fits them apart as functions of the one error: F = .455, C = 1.755 and F = .484,
    C = 4.12. As products over operands they agree.
    """
    runs = quest_table()
    own = [CurvePoint(f"W{b}A16 HT", "integer W", QUEST[b], NAN, NAN, NAN) for b in (1, 2, 3, 4)]
    own += [
        CurvePoint(f"W{b}A{b} HT", "integer W+A", QUEST[b], QUEST[b], NAN, NAN)
        for b in (1, 2, 3, 4, 8)
    ]
    fit: CurveLawFit = fit_curve_law(
        runs, own, form="tanh", dense="BF16", delta=1e-3, starts=2, seed=0
    )
    assert fit.value("F of integer W") == pytest.approx(fit.value("F of integer W+A"), rel=0.05)
    assert fit.value("C of integer W") == pytest.approx(fit.value("C of integer W+A"), rel=0.08)
    assert fit.rmse_log < 0.006
