"""Curves through capacities: recovery, weights, errors, and what cannot be fitted."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence

import numpy as np
import pytest

from unified_laws.errors import UsageError
from unified_laws.laws.curve_fit import CurveFit, fit_curve
from unified_laws.laws.curve_forms import FORMS
from unified_laws.laws.curve_points import CurvePoint
from unified_laws.laws.json_form import from_json, to_json

ERRORS = (0.36, 0.19, 0.12, 0.037, 0.0115, 0.0035)
PLANTED = {"tanh": (0.85, 0.42, 1.3), "logistic": (0.9, 8.0), "logistic10": (0.8, 4.0)}


def points(
    rho: Sequence[float] | np.ndarray, stderr: float = 0.01, errors: Sequence[float] = ERRORS
) -> list[CurvePoint]:
    return [
        CurvePoint(f"f{i}", "integer W", error, math.nan, float(value), stderr)
        for i, (error, value) in enumerate(zip(errors, rho, strict=True))
    ]


def planted(form: str) -> np.ndarray:
    return FORMS[form].value(np.array(PLANTED[form]), np.array(ERRORS))


@pytest.mark.parametrize("form", FORMS)
def test_a_planted_curve_is_recovered(form: str) -> None:
    free = ("L",) if form == "tanh" else ()
    fit = fit_curve(points(planted(form)), form=form, type="integer W", free=free)
    np.testing.assert_allclose(fit.values, PLANTED[form], rtol=1e-5)
    assert fit.rmse < 1e-7
    assert fit.p_value == pytest.approx(1.0)
    assert not fit.warnings


def test_held_saturation_is_one_and_has_no_error() -> None:
    saturation = fit_curve(points(planted("tanh")), form="tanh", type="integer W").parameters[0]
    assert (saturation.value, saturation.stderr, saturation.held) == (1.0, 0.0, True)


def test_both_operands_share_the_curve_of_one() -> None:
    single = points(planted("logistic10"))
    pairs = [
        CurvePoint("b" + p.format, "integer W+A", p.gmse, p.gmse, p.rho**2, 0.01) for p in single
    ]
    alone = fit_curve(single, form="logistic10", type="integer W")
    both = fit_curve(pairs, form="logistic10", type="integer W+A")
    np.testing.assert_allclose(alone.values, both.values, rtol=1e-5)


def test_standard_errors_and_bootstrap_agree_with_many_repeats() -> None:
    """The spread of estimates over repeated noise is what one fit says of itself."""
    truth, generator = planted("tanh"), np.random.default_rng(0)
    repeats = [
        fit_curve(
            points(truth + 0.01 * generator.standard_normal(6)),
            form="tanh",
            type="integer W",
            free=("L",),
        )
        for _ in range(100)
    ]
    values = np.array([fit.values for fit in repeats])
    one = fit_curve(points(truth), form="tanh", type="t", free=("L",), bootstrap=150)
    stderr = np.array([p.stderr for p in one.parameters])
    np.testing.assert_allclose(stderr, values.std(axis=0), rtol=0.25)
    boot = np.array([p.bootstrap_sd for p in one.parameters])
    np.testing.assert_allclose(boot, values.std(axis=0), rtol=0.35)
    p_values = [fit.p_value for fit in repeats]
    # binomial(100, .05): 99.4 % above, 99.7 % below
    assert 0.01 <= float(np.mean(np.array(p_values) < 0.05)) <= 0.12


def test_huber_bears_one_wrong_point() -> None:
    rho = planted("logistic10")
    rho[3] += 0.2
    plain = fit_curve(points(rho), form="logistic10", type="t")
    robust = fit_curve(points(rho), form="logistic10", type="t", delta=1.0)
    truth = np.array(PLANTED["logistic10"])
    assert np.abs(robust.values - truth).max() < 0.3 * np.abs(plain.values - truth).max()


def test_result_in_words_and_json() -> None:
    fit = fit_curve(points(planted("tanh")), form="tanh", type="integer W", bootstrap=20)
    back = from_json(CurveFit, json.loads(json.dumps(to_json(fit))))
    assert json.dumps(to_json(back)) == json.dumps(to_json(fit))
    assert back.parameters == fit.parameters or back.parameters[0].name == "L"
    assert fit.summary().startswith("tanh of integer W (6 formats): L = 1, F = ")
    unknown = fit_curve(points(planted("tanh"), stderr=math.nan), form="tanh", type="t")
    assert "all formats weigh the same" in unknown.summary()
    two = fit_curve(points([0.3, 0.8], errors=[0.2, 0.01]), form="tanh", type="t")
    assert math.isnan(two.parameters[1].stderr)
    assert "the fit tests nothing" in two.summary()


def test_order_of_formats_does_not_matter() -> None:
    rho = planted("tanh") + np.array([0.01, -0.01, 0.02, 0.0, -0.02, 0.01])
    forward = fit_curve(points(rho), form="tanh", type="t")
    backward = fit_curve(points(rho)[::-1], form="tanh", type="t")
    np.testing.assert_allclose(forward.values, backward.values, rtol=1e-6)


def test_what_cannot_be_fitted_says_so() -> None:
    good = points(planted("tanh"))
    with pytest.raises(UsageError, match="free names Z; the tanh curve has L, F, C"):
        fit_curve(good, form="tanh", type="t", free=("Z",))
    with pytest.raises(UsageError, match="cannot determine the 2 parameters"):
        fit_curve([good[0], good[0]], form="logistic", type="t")
    with pytest.raises(UsageError, match="delta is 0"):
        fit_curve(good, form="tanh", type="t", delta=0.0)
    with pytest.raises(UsageError, match="bootstrap is 1"):
        fit_curve(good, form="tanh", type="t", bootstrap=1)
    with pytest.raises(UsageError, match="dense has not; leave dense formats out"):
        fit_curve(
            [*good, CurvePoint("dense", "t", math.nan, math.nan, 1.0, 0.1)], form="tanh", type="t"
        )
