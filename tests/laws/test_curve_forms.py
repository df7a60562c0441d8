"""Forms of capacity over error: values, ends, gradients."""

from __future__ import annotations

import math

import numpy as np
import pytest

from unified_laws.errors import UsageError
from unified_laws.laws.capacity_curve import CapacityCurve
from unified_laws.laws.curve_forms import FORMS, CurveForm, curve_form
from unified_laws.laws.curve_points import make_points, product_log_gradient, product_value

VALUES = {"tanh": (0.9, 0.4, 1.4), "logistic": (0.8, 6.0), "logistic10": (0.7, 3.0)}
ERROR = np.array([1e-5, 1e-3, 0.02, 0.12, 0.36, 0.8])


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_gradients_are_finite_differences(form: CurveForm) -> None:
    values = np.array(VALUES[form.name])
    internal = form.to_internal(values)
    np.testing.assert_allclose(form.to_natural(internal), values, rtol=1e-12)
    for k in range(len(values)):
        step = np.zeros(len(values))
        step[k] = 1e-6
        natural = form.value(values + step, ERROR) - form.value(values - step, ERROR)
        np.testing.assert_allclose(
            form.gradient(values, ERROR)[:, k], natural / 2e-6, rtol=1e-5, atol=1e-8
        )
        moved = [form.value(form.to_natural(internal + s), ERROR) for s in (step, -step)]
        np.testing.assert_allclose(
            form.internal_gradient(values, ERROR)[:, k],
            (moved[0] - moved[1]) / 2e-6,
            rtol=1e-5,
            atol=1e-8,
        )


@pytest.mark.parametrize(
    ("name", "at_zero", "at_one"),
    [("tanh", 0.9, 0.0), ("logistic", 1.0, 1.0 / 7.0), ("logistic10", 1.0, 0.0)],
)
def test_ends(name: str, at_zero: float, at_one: float) -> None:
    """arXiv:2506.01863 App. C wants f(0) = 1, f(1) = 0; the plain logistic has not the latter."""
    form, values = FORMS[name], np.array(VALUES[name])
    ends = form.value(values, np.array([1e-300, 1.0 - 1e-12]))
    np.testing.assert_allclose(ends, [at_zero, at_one], atol=1e-6)
    assert (np.diff(form.value(values, ERROR)) < 0).all()


def test_tanh_is_the_published_curve() -> None:
    curve = CapacityCurve(L=0.9, F=0.4, C=1.4)
    np.testing.assert_allclose(
        FORMS["tanh"].value(np.array(VALUES["tanh"]), ERROR), curve.predict(ERROR), rtol=1e-13
    )


def test_two_operands_multiply() -> None:
    form, values = FORMS["logistic10"], np.array(VALUES["logistic10"])
    errors = np.array([[0.1, math.nan], [math.nan, 0.02], [0.1, 0.02]])
    weight, activation, both = product_value(form, values, errors)
    assert both == pytest.approx(weight * activation)
    slope = product_log_gradient(form, values, errors)
    np.testing.assert_allclose(slope[2], slope[0] + slope[1])


def test_points_join_errors_types_and_capacities() -> None:
    rows = [
        {"format": "bf16", "gmse": 0.0, "gmse_activation": None},
        {"format": "int4", "gmse": 0.0115, "gmse_activation": None},
        {"format": "w16a4", "gmse": 0.0, "gmse_activation": 0.0115},
        {"format": "broken", "gmse": 1.2, "gmse_activation": None},
    ]
    rho = dict.fromkeys(("bf16", "int4", "w16a4", "broken", "absent"), (0.8, 0.01))
    points, unplaced = make_points(rows, {"int4": "integer W"}, rho, dense="bf16")
    assert [(p.format, p.type) for p in points] == [("int4", "integer W"), ("w16a4", "unknown")]
    assert math.isnan(points[0].gmse_activation)
    assert math.isnan(points[1].gmse)
    assert {u.format: u.reason for u in unplaced} == {
        "broken": "its GMSE is 1.2, at least 1",
        "absent": "no row in the GMSE table",
    }
    with pytest.raises(UsageError, match="'int4' twice"):
        make_points([rows[1], rows[1]], {}, rho, dense="bf16")
    for bad in (-0.1, math.nan, "x", True):
        with pytest.raises(UsageError, match="at least 0, or null"):
            make_points([{"format": "int4", "gmse": bad}], {}, rho, dense="bf16")


def test_an_unknown_form_lists_the_known() -> None:
    with pytest.raises(UsageError, match="allowed are tanh, logistic, logistic10"):
        curve_form("sigmoid")
