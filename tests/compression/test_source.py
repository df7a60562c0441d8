"""Inputs other than N(0,1): moments, ranks and errors against independent integrals."""

from __future__ import annotations

from itertools import pairwise
from math import exp, sqrt
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.integrate import quad

from unified_laws.compression.compressor import Compressor
from unified_laws.compression.gaussian import optimal_clip
from unified_laws.compression.gmse import Estimate, _rule, gmse, monte_carlo
from unified_laws.compression.source import Laplace, Logistic, Normal, Source, Student
from unified_laws.compression.sparsifier.magnitude import Magnitude
from unified_laws.compression.sparsifier.semi_structured import SemiStructured
from unified_laws.compression.transform.hadamard import Hadamard
from unified_laws.errors import UsageError

from .builders import compressor, uniform

# Each source and what scipy calls it, standardised.
TWINS: list[tuple[Source, Any]] = [
    (Normal(), stats.norm()),
    (Laplace(), stats.laplace(scale=1 / sqrt(2))),
    (Logistic(), stats.logistic(scale=sqrt(3) / np.pi)),
    (Student(2.5), stats.t(2.5, scale=sqrt(0.5 / 2.5))),
    (Student(5), stats.t(5, scale=sqrt(3 / 5))),
    (Student(50), stats.t(50, scale=sqrt(48 / 50))),
]
ids = [f"{type(s).__name__}{getattr(s, 'nu', '')}" for s, _ in TWINS]


def measure(c: Compressor, source: Source) -> Estimate:
    return gmse(c, samples=2**20, in_features=1024, seed=0, block=2**17, source=source)


@pytest.mark.parametrize(("source", "twin"), TWINS, ids=ids)
def test_density_and_ranks_are_scipys(source: Source, twin: Any) -> None:
    x = np.linspace(0.0, 8.0, 50)
    np.testing.assert_allclose(source.density(-x), twin.pdf(x), rtol=1e-12)
    np.testing.assert_allclose(source.log_tail(x), twin.logsf(x), rtol=1e-9)
    for magnitude in (0.1, 1.0, 5.0):
        normal = source.normal_magnitude(np.asarray([magnitude]))
        assert stats.norm.sf(normal[0]) == pytest.approx(float(twin.sf(magnitude)), rel=1e-9)
        assert source.own_magnitude(float(normal[0])) == pytest.approx(magnitude, rel=1e-9)


@pytest.mark.parametrize("source", [s for s, _ in TWINS], ids=ids)
def test_mass_and_variance_are_one(source: Source) -> None:
    nodes, weights = _rule(source, (0.3, -0.3))
    assert float(weights.sum()) == pytest.approx(1.0, abs=1e-12)
    assert float((weights * nodes**2).sum()) == pytest.approx(1.0, abs=1e-9)


@pytest.mark.parametrize(("source", "twin"), TWINS, ids=ids)
def test_samples_follow_the_density(source: Source, twin: Any) -> None:
    drawn = source.sample(256, 256, torch.Generator().manual_seed(0))
    assert drawn.shape == (256, 256)
    assert drawn.dtype == torch.float32
    again = source.sample(256, 256, torch.Generator().manual_seed(0))
    assert torch.equal(drawn, again)
    found = stats.kstest(drawn.flatten().double().numpy(), twin.cdf)
    assert found.pvalue > 1e-3


@pytest.mark.parametrize("sparsity", [0.1, 0.5, 0.9, 0.99])
def test_pruned_laplace_is_its_closed_form(sparsity: float) -> None:
    """∫ x² over |x| < t of √2·exp(-√2·x): with a = √2·t, 1 - exp(-a)·(1 + a + a²/2)."""
    a = -np.log(1 - sparsity)
    estimate = measure(compressor(sparsifier=Magnitude(sparsity, "tensor")), Laplace())
    assert estimate.method == "quadrature"
    assert estimate.value == pytest.approx(1 - exp(-a) * (1 + a + a * a / 2), rel=1e-9)


@pytest.mark.parametrize(("source", "twin"), TWINS, ids=ids)
def test_four_bits_against_an_independent_integral(source: Source, twin: Any) -> None:
    """The grid stays the Gaussian-optimal one."""
    limit = optimal_clip(4)
    levels = np.linspace(-limit, limit, 16)

    def squared(x: float) -> float:
        return float(np.min((x - levels) ** 2) * twin.pdf(x))

    # half of the line in pieces that end where the nearest level changes
    cuts = [0.0, *((levels[1:] + levels[:-1]) / 2)[8:], 10.0, 1e3, np.inf]
    whole = 2 * sum(quad(squared, a, b, limit=500)[0] for a, b in pairwise(cuts))
    estimate = measure(compressor(quantizer=uniform(4)), source)
    assert estimate.method == "quadrature"
    assert estimate.value == pytest.approx(whole, rel=1e-6)


@pytest.mark.parametrize(
    "source", [Laplace(), Logistic(), Student(2.5)], ids=lambda s: type(s).__name__
)
def test_one_of_two_is_the_mean_square_of_the_smaller(source: Source) -> None:
    """E min(|x|,|y|)²/2 = ∫ x²·P(|x'| > x) over the density of |x|."""
    twin = next(t for s, t in TWINS if type(s) is type(source))
    whole = sum(
        quad(lambda x: x * x * 2 * twin.pdf(x) * 2 * twin.sf(x), a, b, limit=500)[0]
        for a, b in ((0, 1), (1, 10), (10, np.inf))
    )
    estimate = measure(compressor(sparsifier=SemiStructured(1, 2)), source)
    assert estimate.value == pytest.approx(whole, rel=1e-7)


MIXES = [
    compressor(quantizer=uniform(3)),
    compressor(sparsifier=Magnitude(0.5, "tensor"), quantizer=uniform(2, statistics="masked")),
    compressor(sparsifier=SemiStructured(2, 4), quantizer=uniform(4, statistics="dense")),
]


@pytest.mark.parametrize(
    "source", [Laplace(), Logistic(), Student(9)], ids=lambda s: type(s).__name__
)
@pytest.mark.parametrize("c", MIXES)
def test_monte_carlo_agrees_with_quadrature(c: Compressor, source: Source) -> None:
    exact = measure(c, source)
    drawn = monte_carlo(c, samples=2**21, in_features=2**14, seed=1, block=2**16, source=source)
    assert exact.method == "quadrature"
    assert 0 < drawn.stderr < 0.02 * exact.value
    assert abs(drawn.value - exact.value) < 4 * drawn.stderr


def test_a_rotation_of_another_source_is_drawn_and_brings_it_nearer_to_the_normal() -> None:
    """A block of 128 Laplace values adds up to nearly normal ones."""
    rotated = compressor(transform=Hadamard(128, fold=False), quantizer=uniform(4))
    found = measure(rotated, Laplace())
    assert found.method == "monte carlo"
    normal = measure(rotated, Normal()).value
    assert found.value == pytest.approx(normal, rel=0.05)
    assert measure(compressor(quantizer=uniform(4)), Laplace()).value > 3 * normal


def test_the_normal_spreads_pruned_errors_widest_among_light_tails() -> None:
    """arXiv:2506.01863 App. D.1: order by tail weight, for top-k and for clipped grids alike."""
    topk = compressor(sparsifier=Magnitude(0.5, "tensor"))
    errors = [measure(topk, s).value for s in (Normal(), Logistic(), Laplace())]
    assert errors == sorted(errors, reverse=True)
    grid = [measure(compressor(quantizer=uniform(4)), s).value for s in (Normal(), Logistic())]
    assert grid == sorted(grid)


def test_the_gaussian_errors_are_what_they_were() -> None:
    """The numbers of before other sources existed."""
    four = measure(compressor(quantizer=uniform(4)), Normal()).value
    assert four == pytest.approx(0.011542884431350873, rel=1e-14)
    half = compressor(sparsifier=Magnitude(0.5, "tensor"))
    assert measure(half, Normal()).value == 0.07132591774425937
    drawn = gmse(
        compressor(quantizer=uniform(4, scale="absmax")),
        samples=2**14,
        in_features=64,
        seed=1,
        block=2**10,
    )
    assert drawn.value == pytest.approx(0.010146536489334303, rel=1e-6)


@pytest.mark.parametrize("nu", [2.0, 1.0, -3.0, float("nan"), float("inf")])
def test_refuses_an_infinite_variance(nu: float) -> None:
    with pytest.raises(UsageError, match=r"Student-t nu: got .*, allowed are 2.1 to 10000"):
        Student(nu)


def test_refuses_to_draw_without_a_standard_error() -> None:
    rotated = compressor(transform=Hadamard(128, fold=False), quantizer=uniform(4))
    with pytest.raises(UsageError, match=r"gmse source: got Student-t with nu <= 4"):
        measure(rotated, Student(3))
    assert measure(compressor(quantizer=uniform(4)), Student(3)).method == "quadrature"
