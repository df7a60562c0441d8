"""Bounds of arXiv:2506.01863 App. G, asserted on quadratics where every constant is known."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

from tests.compression.builders import compressor, uniform
from unified_laws.compression.compressor import Compressor
from unified_laws.compression.sparsifier.magnitude import Magnitude
from unified_laws.errors import UsageError
from unified_laws.laws.amsgrad_reference import AmsgradReference
from unified_laws.laws.theory import (
    Setting,
    amsgrad_bound,
    first_moment_bounds,
    preconditioner_change_bounds,
    second_moment_bound,
    sgd_bound,
    sgd_mean_square,
    sgd_step,
    theorem_compression_term,
)

Compress = Callable[[np.ndarray], np.ndarray]
SIZE = 32


def by(stages: Compressor) -> Compress:
    def compress(theta: np.ndarray) -> np.ndarray:
        row = torch.tensor(theta, dtype=torch.float32)[None]
        with torch.no_grad():
            return np.asarray(stages.bind(SIZE)(row)[0].double().numpy())

    return compress


COMPRESSORS: dict[str, Compress] = {
    "none": lambda theta: theta,
    "8 bits": by(compressor(quantizer=uniform(8))),
    "4 bits": by(compressor(quantizer=uniform(4))),
    "2 bits": by(compressor(quantizer=uniform(2))),
    "1 bit": by(compressor(quantizer=uniform(1))),
    "half pruned": by(compressor(sparsifier=Magnitude(sparsity=0.5, scope="tensor"))),
}


class Quadratic:
    """f = (theta - a)^T H (theta - a) / 2, f* = 0, with bounded noise on its gradient."""

    def __init__(self, seed: int, largest: float = 1.0, noise: float = 0.1) -> None:
        generator = np.random.default_rng(seed)
        basis, _ = np.linalg.qr(generator.standard_normal((SIZE, SIZE)))
        self.hessian = basis @ np.diag(np.linspace(0.05, largest, SIZE)) @ basis.T
        self.target = generator.standard_normal(SIZE)
        self.start = generator.standard_normal(SIZE)
        self.smoothness, self.noise = largest, noise
        self.generator = generator

    def value(self, theta: np.ndarray) -> float:
        far = theta - self.target
        return float(0.5 * far @ self.hessian @ far)

    def gradient(self, theta: np.ndarray) -> np.ndarray:
        return np.asarray(self.hessian @ (theta - self.target))

    def noisy(self, theta: np.ndarray) -> np.ndarray:
        """Uniform noise: bounded by ``noise`` in every entry, variance N noise²/3."""
        return self.gradient(theta) + self.generator.uniform(-self.noise, self.noise, SIZE)

    @property
    def variance(self) -> float:
        return SIZE * self.noise**2 / 3.0


@pytest.mark.parametrize("name", COMPRESSORS)
@pytest.mark.parametrize("steps", [20, 200])
def test_amsgrad_keeps_the_bound_of_theorem_1(name: str, steps: int) -> None:
    """G_inf is taken from the trajectory itself: the bound needs it there alone."""
    beta1, beta2, eps = 0.9, 0.95, 1.0
    for seed in range(2):
        problem, compress = Quadratic(seed), COMPRESSORS[name]
        # The step depends on G_inf, which depends on the step: a first pass with a tiny step has
        # the largest gradients, at the start; the second keeps below them.
        guess = 1.2 * float(np.abs(problem.gradient(compress(problem.start))).max()) + 0.3
        setting = Setting(
            smoothness=problem.smoothness,
            largest_entry=guess,
            num_params=SIZE,
            variance=problem.variance,
            gap=problem.value(problem.start),
            beta1=beta1,
            eps=eps,
            steps=steps,
        )
        optimizer = AmsgradReference(lr=setting.step, beta1=beta1, beta2=beta2, eps=eps)
        theta, squares, errors, moments, seen = problem.start.copy(), [], [], [], []
        preconditioner, falls = np.full(SIZE, eps**-0.5), []
        for _ in range(steps):
            compressed = compress(theta)
            gradient = problem.noisy(compressed)
            squares.append(float(np.square(problem.gradient(compressed)).sum()))
            errors.append(float(np.linalg.norm(compressed - theta)))
            seen.append(float(np.abs(gradient).max()))
            theta = optimizer.step(theta, gradient)
            assert optimizer.first is not None
            assert optimizer.largest is not None
            moments.append(float(np.linalg.norm(optimizer.first)))
            now = (optimizer.largest + eps) ** -0.5
            falls.append(preconditioner - now)
            preconditioner = now
        assert max(seen) <= guess, "the constants of the test do not hold"
        bound = amsgrad_bound(setting, float(np.mean(errors)))
        assert float(np.mean(squares)) <= bound.total
        # Lemmas 1, 2 (per entry) and 3
        largest, total = first_moment_bounds(setting, float(np.sum(squares)))
        assert max(moments) <= largest
        assert float(np.square(moments).sum()) <= total * 1.05  # in expectation; one path here
        change, change_squares = preconditioner_change_bounds(eps)
        assert (np.array(falls) >= -1e-15).all()
        assert np.sum(falls, axis=0).max() <= change
        assert np.square(falls).sum(axis=0).max() <= change_squares
        assert optimizer.largest is not None
        assert optimizer.largest.max() <= second_moment_bound(setting.gradient_norm)


def test_the_lemma_as_printed_fails_for_the_largest_entry() -> None:
    """Entries that fall one after the other: the sum of the largest fall is nearly N/√eps."""
    eps, size = 1e-4, 5
    optimizer = AmsgradReference(lr=0.1, beta1=0.9, beta2=0.5, eps=eps)
    theta, before, total = np.zeros(size), np.full(size, eps**-0.5), 0.0
    for entry in range(size):
        optimizer.step(theta, 10.0 * np.eye(size)[entry])
        assert optimizer.largest is not None
        now = (optimizer.largest + eps) ** -0.5
        total += float((before - now).max())
        before = now
    printed, _ = preconditioner_change_bounds(eps)
    assert 0.98 * size * printed < total <= size * printed


def test_compression_alone_stays_as_steps_grow() -> None:
    def setting(steps: int) -> Setting:
        return Setting(1.0, 2.0, 10, 0.5, 3.0, 0.9, 1.0, steps)

    few, many = amsgrad_bound(setting(100), 0.3), amsgrad_bound(setting(10**8), 0.3)
    assert few.compression == many.compression
    assert many.start + many.noise + many.momentum < 0.02 * (few.start + few.noise + few.momentum)
    assert many.compression_share > 0.9
    assert amsgrad_bound(setting(100), 0.0).compression == 0.0
    assert amsgrad_bound(setting(100), 0.6).compression == pytest.approx(2 * few.compression)


def test_the_theorem_is_the_explicit_bound_in_other_letters() -> None:
    setting = Setting(0.7, 1.3, 17, 0.5, 3.0, 0.9, 0.01, 100)
    assert theorem_compression_term(setting, 0.4) == pytest.approx(
        amsgrad_bound(setting, 0.4).compression, rel=1e-12
    )


def test_the_explicit_bound_by_hand() -> None:
    """L = G = gap = sigma² = eps = 1, N = 1, beta1 = 1/2, T = 4, mean error 1."""
    setting = Setting(1.0, 1.0, 1, 1.0, 1.0, 0.5, 1.0, 4)
    C0 = math.sqrt(2.0)
    eta0 = 0.5 / (4 * C0)
    assert pytest.approx(C0) == setting.C0
    assert setting.largest_step == pytest.approx(eta0)
    assert setting.step == pytest.approx(eta0)
    bound = amsgrad_bound(setting, 1.0)
    assert bound.start == pytest.approx(2 * C0 * 0.5 + 4 * C0 / (2 * eta0 * 4))
    assert bound.noise == pytest.approx(2 * C0 * (0.5 + C0 * 0.25 / (0.25 * 4)))
    assert bound.momentum == pytest.approx(4 * C0 * (1 / (4 * 0.5) + 0.5 / (8 * 0.25)))
    assert bound.compression == pytest.approx(2 * C0)


def stochastic_round(theta: np.ndarray, step: float, generator: np.random.Generator) -> np.ndarray:
    """Unbiased: up with the probability of the remainder."""
    return np.asarray(step * np.floor(theta / step + generator.random(theta.shape)))


@pytest.mark.parametrize("step", [0.1, 0.5, 2.0])
def test_the_identity_of_unbiased_compression_on_quadratics(step: float) -> None:
    problem, generator = Quadratic(0), np.random.default_rng(1)
    theta = problem.start
    draws = stochastic_round(np.tile(theta, (40_000, 1)), step, generator)
    measured = np.square((draws - problem.target) @ problem.hessian).sum(axis=1)
    part = theta / step - np.floor(theta / step)
    covariance = np.diag(step**2 * part * (1.0 - part))
    total, square, spread = sgd_mean_square(problem.hessian, problem.gradient(theta), covariance)
    assert total == square + spread
    assert total == pytest.approx(measured.mean(), abs=4 * measured.std() / 200)
    assert spread <= problem.smoothness**2 * np.trace(covariance)


@pytest.mark.parametrize("step", [0.0, 0.1, 0.5, 2.0])
@pytest.mark.parametrize("largest", [1.0, 60.0])
@pytest.mark.parametrize("steps", [25, 900])
def test_sgd_keeps_its_bound_and_its_floor(step: float, largest: float, steps: int) -> None:
    """Means of 8 paths; L = 60 exceeds √25 and √900, where max(1, L/√T) acts."""
    squares, at_compressed, errors, gaps = [], [], [], []
    for seed in range(8):
        problem, generator = Quadratic(seed, largest), np.random.default_rng(seed)
        theta = problem.start.copy()
        gaps.append(problem.value(theta))
        for _ in range(steps):
            compressed = stochastic_round(theta, step, generator) if step else theta
            squares.append(float(np.square(problem.gradient(theta)).sum()))
            at_compressed.append(float(np.square(problem.gradient(compressed)).sum()))
            errors.append(float(np.square(compressed - theta).sum()))
            theta = theta - sgd_step(largest, steps) * problem.noisy(compressed)
    error = float(np.mean(errors))
    bound = sgd_bound(largest, float(np.mean(gaps)), problem.variance, error, steps)
    assert float(np.mean(squares)) <= bound
    assert float(np.mean(at_compressed)) <= bound + largest**2 * error
    assert sgd_bound(largest, 1.0, 1.0, error, 10**12) < 1e-2 * largest**3 * (1 + error)


def test_impossible_constants_are_refused() -> None:
    good = {
        "smoothness": 1.0,
        "largest_entry": 1.0,
        "num_params": 1,
        "variance": 0.0,
        "gap": 0.0,
        "beta1": 0.9,
        "eps": 1e-8,
        "steps": 1,
    }
    for name, value in (("smoothness", 0.0), ("eps", 0.0), ("variance", -1.0), ("beta1", 1.0)):
        with pytest.raises(UsageError, match=f"{name} is {value}"):
            Setting(**(good | {name: value}))  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="mean_error is nan"):
        amsgrad_bound(Setting(**good), math.nan)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="gap is -1"):
        sgd_bound(1.0, -1.0, 0.0, 0.0, 1)
