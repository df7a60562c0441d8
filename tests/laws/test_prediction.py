from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from tests.laws.planted_runs import LAW, RHO, make_table, planted_table, quest_table
from unified_laws.errors import UsageError
from unified_laws.laws.capacity_source import CapacitySource, from_parts
from unified_laws.laws.covariance import quadratic_form
from unified_laws.laws.estimate import estimate_law
from unified_laws.laws.fitting import fit_laws
from unified_laws.laws.information import Information
from unified_laws.laws.json_form import from_json, to_json
from unified_laws.laws.prediction import Prediction, predict_loss
from unified_laws.laws.result import LawsResult
from unified_laws.laws.table import RunTable


def fitted(table: RunTable, delta: float = math.inf, **fixed: float) -> LawsResult:
    return fit_laws(table, dense="bf16", delta=delta, starts=12, bootstrap=0, seed=0, fixed=fixed)


@pytest.fixture(scope="module")
def laws() -> LawsResult:
    return fitted(planted_table(2e-3, 1))


def source(information: Information, *parts: str, name: str = "x") -> CapacitySource:
    found = from_parts(name, [parts], information)
    assert found is not None
    return found


def predict(laws: LawsResult, format: str, params: float, tokens: float) -> Prediction:
    information = Information.of(laws)
    return predict_loss(
        laws,
        information,
        source(information, format, name=format),
        num_params=params,
        num_tokens=tokens,
    )


@pytest.mark.parametrize("format", ["bf16", "int4"])
def test_the_variance_is_that_of_the_joint_covariance(laws: LawsResult, format: str) -> None:
    """Two ways to it: J^T J over the listed runs, and the covariance that the fit wrote."""
    found = predict(laws, format, 3e7, 1e9)
    own = laws.capacity(format).rho
    slope = laws.law.gradient(3e7, 1e9, own) / found.val_loss
    slope[2] /= laws.law.E  # from log E to E
    variance = quadratic_form(slope, laws.covariance.for_format(format, dense="bf16"))
    assert found.stderr_log == pytest.approx(math.sqrt(variance), rel=1e-6)
    assert found.val_loss == float(laws.law.predict(3e7, 1e9, own))


def test_the_delta_method_against_draws() -> None:
    """Exact losses of parameters drawn from the fit's normal distribution, near and far.

    The noise is a tenth of the usual, so that the law is straight over the draws; how the interval
    does where it bends is the next test.
    """
    laws = fitted(planted_table(2e-4, 1))
    law, names = laws.law, laws.covariance.names
    log_rho = [math.log(laws.capacity(n.removeprefix("log rho of ")).rho) for n in names[5:]]
    center = np.array([law.log_A, law.log_B, law.E, law.alpha, law.beta, *log_rho])
    values, vectors = np.linalg.eigh(laws.covariance.array())
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    drawn = center + np.random.default_rng(0).standard_normal((40_000, len(center))) @ root.T
    column = names.index("log rho of int3")
    for params, tokens in ((4e6, 2e8), (1e8, 1e10)):
        log_params = math.log(params) + drawn[:, column]
        loss = np.exp(drawn[:, 0] - drawn[:, 3] * log_params) + drawn[:, 2]
        loss += np.exp(drawn[:, 1] - drawn[:, 4] * math.log(tokens))
        found = predict(laws, "int3", params, tokens)
        # A standard deviation of 40,000 draws is known to 0.35 %.
        assert found.stderr_log == pytest.approx(float(np.log(loss).std()), rel=0.02)


def test_the_interval_covers_new_runs() -> None:
    """30 planted tables: a new run of the law, far outside them, falls in 95 % intervals."""
    hits, z = 0, []
    for seed in range(30):
        laws = fit_laws(
            planted_table(2e-3, seed), dense="bf16", delta=math.inf, starts=3, bootstrap=0, seed=0
        )
        found = predict(laws, "int2", 6e7, 6e9)
        noise = 2e-3 * np.random.default_rng(1000 + seed).standard_normal()
        truth = float(LAW.predict(6e7, 6e9, RHO["int2"])) * math.exp(noise)
        hits += found.low <= truth <= found.high
        z.append(math.log(truth / found.val_loss) / math.hypot(found.stderr_log, found.noise_log))
    assert hits >= 24  # lower end of the 99.8 % binomial band
    assert 0.65 < float(np.sqrt(np.square(z).mean())) < 1.45


def test_units_and_order_of_rows_change_nothing() -> None:
    table = planted_table(2e-3, 4)
    base = predict(fitted(table), "int4", 3e7, 3e9)
    order = np.random.default_rng(0).permutation(len(table))
    shuffled = make_table(
        [table.formats[i] for i in order],
        table.num_params[order] / 1e6,
        table.num_tokens[order] / 1e9,
        table.val_loss[order],
    )
    other = predict(fitted(shuffled), "int4", 30.0, 3.0)
    for key in ("val_loss", "low", "high", "rho", "rho_low", "rho_high"):
        assert getattr(other, key) == pytest.approx(getattr(base, key), rel=1e-5)


def test_extrapolation_and_an_unidentified_irreducible_loss_are_said(laws: LawsResult) -> None:
    assert predict(laws, "int4", 4e6, 1e8).warnings == ()
    said = predict(laws, "int4", 8e7, 1e7).warnings
    assert any("N = 8e+07 is 10 times the largest fitted" in text for text in said)
    assert any("D = 1e+07 is 2 times below the smallest fitted" in text for text in said)
    quest = fit_laws(quest_table(), dense="BF16", delta=1e-3, starts=6, bootstrap=0, seed=0)
    far = predict(quest, "W4A4 HT", 3e9, 6e10)
    assert any("E = " in text and "not identified" in text for text in far.warnings)
    # The fit has E at 0; that it is not known to be 0 must widen what lies far away.
    held = fit_laws(
        quest_table(), dense="BF16", delta=1e-3, starts=6, bootstrap=0, seed=0, fixed={"E": 0.0}
    )
    assert far.stderr_log > 1.15 * predict(held, "W4A4 HT", 3e9, 6e10).stderr_log


def test_a_loss_can_be_certain_while_its_exponent_is_not() -> None:
    """All runs at one D: beta is unknown, losses at that D are known, others are not."""
    table = planted_table(2e-3, 0)
    one = make_table(
        table.formats,
        table.num_params,
        np.full(len(table), 1e8),
        np.array(
            [
                LAW.predict(n, 1e8, RHO[f]) * math.exp(2e-3 * e)
                for n, f, e in zip(
                    table.num_params,
                    table.formats,
                    np.random.default_rng(3).standard_normal(len(table)),
                    strict=True,
                )
            ]
        ),
    )
    laws = fitted(one)
    there = predict(laws, "int4", 4e6, 1e8)
    assert 0 < there.stderr_log < 2e-3
    away = predict(laws, "int4", 4e6, 1e9)
    assert math.isnan(away.low)
    assert any("do not determine this loss" in text for text in away.warnings)
    assert "(no interval)" in away.summary()


def test_more_noise_is_a_wider_interval_and_no_freedom_is_none(laws: LawsResult) -> None:
    quiet = Information.of(laws)
    loud = Information.of(laws, noise=2 * math.sqrt(quiet.variance))
    direction = quiet.capacity_direction(["int4"])
    assert loud.variance_of(direction)[0] == pytest.approx(4 * quiet.variance_of(direction)[0])
    small = planted_table(1e-3, sizes=(1e6, 4e6, 8e6), ratios=(20.0,), rho={"bf16": 1.0})
    two = planted_table(1e-3, sizes=(1e6, 4e6), ratios=(50.0,), rho={"bf16": 1.0})
    table = make_table(
        (*small.formats, *two.formats),
        np.append(small.num_params, two.num_params),
        np.append(small.num_tokens, two.num_tokens),
        np.append(small.val_loss, two.val_loss),
    )
    found = predict(fitted(table), "bf16", 2e6, 1e8)
    assert math.isnan(found.low)
    assert any("as many parameters as runs" in text for text in found.warnings)


def test_json_comes_back_and_bad_numbers_do_not_pass(laws: LawsResult) -> None:
    found = predict(laws, "int4", 3e7, 1e9)
    text = json.dumps(to_json(found), allow_nan=False)
    assert from_json(Prediction, json.loads(text)) == found
    assert {"val_loss", "low", "high", "rho", "source"} <= set(json.loads(text))
    for params, tokens in ((0.0, 1e9), (math.nan, 1e9), (1e7, math.inf), (1e7, -1.0)):
        with pytest.raises(UsageError, match="finite number above zero"):
            predict(laws, "int4", params, tokens)
    with pytest.raises(UsageError, match="noise is 0"):
        Information.of(laws, noise=0.0)
    with pytest.raises(UsageError, match="list no runs"):
        Information.of(replace(laws, residuals=()))
    with pytest.raises(UsageError, match="no run has format 'int9'; there are bf16, int4"):
        Information.of(laws).capacity_direction(["int9"])


def test_factors_carry_the_correlation_of_their_parts(laws: LawsResult) -> None:
    information = Information.of(laws)
    product = source(information, "int4", "s50")
    assert product.source == "factors"
    assert product.rho == pytest.approx(laws.capacity("int4").rho * laws.capacity("s50").rho)
    both = information.covariance_of(
        np.array([information.capacity_direction([name]) for name in ("int4", "s50")])
    )
    assert product.variance_log(information) == pytest.approx(both.sum() + product.stderr_log**2)
    assert from_parts("x", [("int4", "int9")], information) is None


def test_a_held_parameter_has_no_variance() -> None:
    laws = fitted(planted_table(2e-3, 1), E=LAW.E, alpha=LAW.alpha)
    information = Information.of(laws)
    estimate = estimate_law(
        planted_table(2e-3, 1),
        dense="bf16",
        delta=math.inf,
        starts=12,
        fixed={"E": LAW.E, "alpha": LAW.alpha},
    )
    own = np.eye(len(information.gram))
    variance = information.variance_of(own)
    assert variance[2] == variance[3] == 0.0
    assert estimate.law.alpha == LAW.alpha
    rho_free = Information.of(fitted(planted_table(2e-3, 1))).variance_of(own[5:])
    assert (variance[5:] < rho_free).all()
