"""Derivatives against central differences, whose error is of order step^2 + rounding/step."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest

from tests.laws.planted_runs import LAW, planted_table
from unified_laws.laws.objective import make_objective

STEP = 1e-5


def test_law_is_its_formula() -> None:
    n, d, rho = 3e6, 7e7, 0.6
    expected = LAW.A * (n * rho) ** -LAW.alpha + LAW.B * d**-LAW.beta + LAW.E
    np.testing.assert_allclose(LAW.predict(n, d, rho), expected, rtol=1e-14)
    assert LAW.predict(np.ones((3, 1)), np.ones(4), 1.0).shape == (3, 4)


def test_inversion_undoes_prediction() -> None:
    loss = LAW.predict(3e6, 7e7, np.array([0.1, 1.0, 1.3]))
    np.testing.assert_allclose(LAW.invert(3e6, 7e7, loss), [0.1, 1.0, 1.3], rtol=1e-10)
    assert np.isnan(LAW.invert(3e6, 7e7, LAW.E))


def test_gradient_of_the_law() -> None:
    n, d, rho = np.array([1e6, 8e6]), np.array([2e7, 9e8]), np.array([0.3, 1.1])
    gradient = LAW.gradient(n, d, rho)
    for index, field in enumerate(fields(LAW)):
        value = getattr(LAW, field.name)
        up = replace(LAW, **{field.name: value + STEP}).predict(n, d, rho)
        down = replace(LAW, **{field.name: value - STEP}).predict(n, d, rho)
        np.testing.assert_allclose(gradient[:, index], (up - down) / (2 * STEP), rtol=1e-6)
    slope = LAW.predict(n, d, rho * np.exp(STEP)) - LAW.predict(n, d, rho * np.exp(-STEP))
    np.testing.assert_allclose(gradient[:, 5], slope / (2 * STEP), rtol=1e-6)


@pytest.mark.parametrize("delta", [np.inf, 0.02])
def test_gradient_and_hessian_of_the_objective(delta: float) -> None:
    objective = make_objective(planted_table(0.05), dense="bf16", delta=delta)
    generator = np.random.default_rng(3)
    theta = np.array([0.3, 0.2, 0.1, 0.4, 0.5, -0.2, -0.5, -1.0, 0.1])
    theta = theta + 0.01 * generator.standard_normal((2, len(theta)))
    weights = generator.uniform(0.5, 2.0, (2, objective.num_runs))
    at = objective.derivatives(theta, weights)
    np.testing.assert_allclose(at.value, objective.value(theta, weights), rtol=1e-13)
    for index in range(objective.num_parameters):
        shift = np.zeros(objective.num_parameters)
        shift[index] = 1e-6
        up, down = (objective.derivatives(theta + sign * shift, weights) for sign in (1, -1))
        scale = np.abs(at.gradient).max()
        np.testing.assert_allclose(
            at.gradient[:, index], (up.value - down.value) / 2e-6, atol=1e-7 * scale, rtol=1e-6
        )
        np.testing.assert_allclose(
            at.hessian[:, :, index],
            (up.gradient - down.gradient) / 2e-6,
            atol=1e-6 * np.abs(at.hessian).max(),
            rtol=1e-6,
        )


def test_jacobian_is_the_derivative_of_the_residuals() -> None:
    objective = make_objective(planted_table(0.05), dense="bf16", delta=np.inf)
    theta = np.array([0.3, 0.2, 0.1, 0.4, 0.5, -0.2, -0.5, -1.0, 0.1])
    jacobian = objective.jacobian(theta)
    for index in range(len(theta)):
        shift = np.zeros(len(theta))
        shift[index] = STEP
        change = objective.residuals((theta - shift)[None]) - objective.residuals(
            (theta + shift)[None]
        )
        np.testing.assert_allclose(jacobian[:, index], change[0] / (2 * STEP), atol=1e-9)
