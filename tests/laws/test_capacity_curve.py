from __future__ import annotations

import math

import numpy as np
import pytest

from unified_laws.errors import UsageError
from unified_laws.laws.capacity_curve import (
    LLAMA_C4,
    OLMO2_CLIMBMIX,
    CapacityCurve,
    fit_capacity_curve,
)

# papers.md §9: GMSE, rho with the Llama constants, rho with the OLMo2 constants.
PUBLISHED = [
    (0.3634, 0.180, 0.161),
    (0.1902, 0.335, 0.283),
    (0.1188, 0.444, 0.368),
    (0.03744, 0.670, 0.544),
    (0.01154, 0.820, 0.668),
    (8.782e-05, 0.989, 0.826),
    (0.01268, 0.810, 0.660),
    (0.008347, 0.849, 0.692),
    (0.07133, 0.553, 0.453),
    (0.2764, 0.244, 0.213),
    (0.3502, 0.188, 0.168),
    (0.5607, 0.085, 0.082),
    (0.1323, 0.420, 0.349),
    (0.1075, 0.467, 0.386),
    (0.02964, 0.706, 0.573),
    (0.007746, 0.855, 0.698),
    (0.009, 0.842, 0.687),
    (0.01253, 0.812, 0.661),
]


@pytest.mark.parametrize(("gmse", "llama", "olmo"), PUBLISHED)
def test_published_constants(gmse: float, llama: float, olmo: float) -> None:
    assert float(LLAMA_C4.predict(gmse)) == pytest.approx(llama, abs=6e-4)
    assert float(OLMO2_CLIMBMIX.predict(gmse)) == pytest.approx(olmo, abs=6e-4)


def test_ends_of_the_curve() -> None:
    np.testing.assert_allclose(OLMO2_CLIMBMIX.predict([0.0, 1.0, 1.2]), [0.84, 0.0, 0.0])
    grid = LLAMA_C4.predict(np.geomspace(1e-6, 1.0, 50))
    assert (np.diff(grid) < 0).all()
    for bad in (-0.1, math.nan):
        with pytest.raises(UsageError, match="GMSE is"):
            LLAMA_C4.predict(bad)


@pytest.mark.parametrize("free", [False, True])
def test_planted_curve_is_recovered(free: bool) -> None:
    planted = CapacityCurve(L=0.84 if free else 1.0, F=0.37, C=1.24)
    gmse = [0.36, 0.12, 0.037, 0.0115, 0.0035]
    fit = fit_capacity_curve(gmse, planted.predict(gmse).tolist(), [0.01] * 5, free_L=free)
    np.testing.assert_allclose(
        [fit.curve.L, fit.curve.F, fit.curve.C], [planted.L, planted.F, planted.C], rtol=1e-6
    )
    assert fit.rmse < 1e-8
    assert fit.points == 5


def test_quest_weight_only_capacities() -> None:
    """papers.md §9: the QuEST notebook's weight-only rho give F = .455, C = 1.755."""
    gmse = [0.36338, 0.118846, 0.0374397, 0.0115429]
    fit = fit_capacity_curve(gmse, [0.1384, 0.4137, 0.6531, 0.8404])
    assert pytest.approx(0.455, abs=5e-4) == fit.curve.F
    assert pytest.approx(1.755, abs=5e-4) == fit.curve.C
    assert 0 < fit.F_stderr < 0.05
    assert 0 < fit.C_stderr < 0.2
    assert fit.L_stderr == 0.0


def test_two_points_determine_two_parameters_without_errors() -> None:
    fit = fit_capacity_curve([0.1, 0.01], LLAMA_C4.predict([0.1, 0.01]).tolist())
    assert pytest.approx(0.41, rel=1e-6) == fit.curve.F
    assert math.isnan(fit.F_stderr)


def test_precise_points_weigh_more() -> None:
    gmse = [0.12, 0.037, 0.0115]
    rho = LLAMA_C4.predict(gmse)
    rho[2] -= 0.1
    fit = fit_capacity_curve(gmse, rho.tolist(), [0.001, 0.001, 0.1])
    assert pytest.approx(0.41, rel=0.01) == fit.curve.F


@pytest.mark.parametrize(
    ("gmse", "rho", "said"),
    [
        ([0.1], [0.5], "cannot determine the 2 parameters"),
        ([0.1, 0.1], [0.5, 0.5], "distinct GMSE cannot determine"),
        ([0.1, 0.0], [0.5, 1.0], "leave dense formats out"),
        ([0.1, 0.2], [0.5], "give one of each"),
        ([0.1, 0.2], [0.5, math.nan], "rho > 0"),
    ],
)
def test_points_that_do_not_do(gmse: list[float], rho: list[float], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        fit_capacity_curve(gmse, rho)
