from __future__ import annotations

import math

import numpy as np
import pytest

from tests.laws.planted_runs import RHO, planted_table
from tests.laws.test_prediction import fitted
from unified_laws.errors import UsageError
from unified_laws.laws.capacity_curve import LLAMA_C4
from unified_laws.laws.capacity_source import choose_source, from_gmse, from_parts
from unified_laws.laws.curve_choice import choose_curve, published_points
from unified_laws.laws.curve_points import CurvePoint
from unified_laws.laws.factor_spread import factor_spread, product_misses
from unified_laws.laws.information import Information

NAN = math.nan


def planted_points(type: str, noise: float, seed: int = 0) -> list[CurvePoint]:
    generator = np.random.default_rng(seed)
    errors = [0.36, 0.12, 0.037, 0.0115, 0.0035]
    rho = LLAMA_C4.predict(errors) * np.exp(noise * generator.standard_normal(len(errors)))
    return [
        CurvePoint(f"{type}{i}", type, e, NAN, r, max(noise, 1e-3) * r)
        for i, (e, r) in enumerate(zip(errors, rho.tolist(), strict=True))
    ]


def test_measured_before_factors_before_gmse() -> None:
    information = Information.of(fitted(planted_table(1e-3)))
    measured = from_parts("int4", [("int4",)], information)
    factors = from_parts("int4_s50", [("int4_s50",), ("int4", "s50")], information)
    gmse = from_gmse("int4", 0.0115, NAN, choose_curve("integer W", []))
    assert measured is not None
    assert factors is not None
    usual = {"formats": list(RHO), "measured": measured, "factors": factors, "gmse": gmse}
    for wanted, expected in (
        (None, "measured"),
        ("measured", "measured"),
        ("factors", "factors"),
        ("gmse", "gmse"),
    ):
        assert choose_source("x", wanted=wanted, **usual).source == expected  # type: ignore[arg-type]
    less = {**usual, "measured": None}
    assert choose_source("x", wanted=None, **less).source == "factors"  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="no capacity from measured; measured are bf16, int4"):
        choose_source("x", wanted="measured", **less)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="source is 'guess'; allowed: measured, factors, gmse"):
        choose_source("x", wanted="guess", **usual)  # type: ignore[arg-type]


def test_the_coarsest_factoring_of_measured_parts_wins() -> None:
    information = Information.of(fitted(planted_table(1e-3)))
    ways = [("unknown",), ("int4", "nothing"), ("int2", "s50"), ("int4", "int3", "s50")]
    found = from_parts("x", ways, information)
    assert found is not None
    assert found.parts == ("int2", "s50")
    dense = from_parts("x", [("bf16",)], information)
    assert dense is not None
    assert (dense.rho, dense.variance_log(information)) == (1.0, 0.0)


def test_a_curve_of_the_same_type_before_one_of_all_before_the_published() -> None:
    own, others = planted_points("integer W", 0.0), planted_points("vector W", 0.05)
    same = choose_curve("integer W", own + others)
    assert same.parameters == pytest.approx((LLAMA_C4.L, LLAMA_C4.F, LLAMA_C4.C), rel=1e-4)
    assert same.stderr_log < 1e-6
    assert "integer W formats" in same.note
    mixed = choose_curve("sparsity W", own + others)
    assert "10 formats" in mixed.note
    assert mixed.stderr_log > same.stderr_log
    assert "published" in choose_curve("integer W", own[:2]).note


def test_the_spread_of_a_curve_is_that_of_its_points() -> None:
    spreads = [
        choose_curve("integer W", planted_points("integer W", 0.05, seed)).stderr_log
        for seed in range(15)
    ]
    assert float(np.sqrt(np.square(spreads).mean())) == pytest.approx(0.05, rel=0.3)


def test_the_published_curve_misses_its_own_figures() -> None:
    """Quantizers by a sixth, sparsity by far more: papers differ, and the interval says so."""
    points = published_points()
    assert len(points) > 20
    integer, sparsity = (choose_curve(t, []) for t in ("integer W", "sparsity W"))
    assert 0.1 < integer.stderr_log < 0.2
    assert sparsity.stderr_log > 2 * integer.stderr_log
    assert integer.stderr_log < choose_curve("vector W", []).stderr_log < sparsity.stderr_log


def test_two_operands_multiply() -> None:
    choice = choose_curve("integer W+A", [])
    one, both = (from_gmse("x", 0.0115, a, choice) for a in (NAN, 0.0115))
    assert both.rho == pytest.approx(one.rho**2)
    assert both.stderr_log == pytest.approx(math.sqrt(2) * one.stderr_log)
    assert from_gmse("bf16", NAN, NAN, choice).rho == 1.0
    with pytest.raises(UsageError, match="its predicted capacity is 0"):
        from_gmse("x", 1.2, NAN, choice)


def test_how_far_products_miss() -> None:
    """arXiv:2506.01863v1 Fig. 6 and 7: the spread grows with both losses, from a floor."""
    misses = product_misses("weight_activation_bits")
    assert len(misses) == 16
    assert misses["1", "1"][0] == pytest.approx(math.log(0.09 / 0.21**2))
    assert all(miss > 0 for miss, _ in misses.values())
    standard = [miss / factor_spread([-small, -10.0]) for miss, small in misses.values()]
    assert 0.7 < float(np.sqrt(np.square(standard).mean())) < 1.1
    assert (
        factor_spread([0.0, -3.0]) == factor_spread([-3.0, 0.0]) == pytest.approx(0.067, abs=0.001)
    )
    assert factor_spread([-0.1, -0.2]) < factor_spread([-0.2, -0.2]) < factor_spread([-0.2] * 3)
