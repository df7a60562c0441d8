"""Published and closed-form values of the Gaussian error, and the two ways to find it."""

from __future__ import annotations

from typing import Literal

import pytest
from scipy.stats import norm

from unified_laws.compression.compressor import Compressor
from unified_laws.compression.gmse import Estimate, gmse, monte_carlo
from unified_laws.compression.quantizer.identity import IdentityQuantizer
from unified_laws.compression.sparsifier.dense import Dense
from unified_laws.compression.sparsifier.magnitude import Magnitude
from unified_laws.compression.sparsifier.semi_structured import SemiStructured
from unified_laws.compression.storage import bits_per_weight
from unified_laws.compression.transform.hadamard import Hadamard
from unified_laws.errors import UsageError

from .builders import compressor, uniform


def measure(c: Compressor, samples: int = 2**20, in_features: int = 1024) -> Estimate:
    return gmse(c, samples=samples, in_features=in_features, seed=0, block=2**17)


def test_identity_is_exact() -> None:
    assert measure(compressor()) == Estimate(0.0, 0.0, "exact")


# Minimal error of the mid-rise grid; the first seven agree with the constants of QuEST's code to
# the printed digits, the eighth is better (see test_quantizer).
@pytest.mark.parametrize(
    ("bits", "error"),
    [
        (1, 0.3633802),
        (2, 0.1188461),
        (3, 0.0374397),
        (4, 0.0115429),
        (5, 0.00349521),
        (6, 0.00104005),
        (7, 3.0433e-4),
        (8, 8.7686e-5),
    ],
)
def test_uniform(bits: int, error: float) -> None:
    estimate = measure(compressor(quantizer=uniform(bits)))
    assert estimate.method == "quadrature"
    assert estimate.stderr == 0.0
    assert estimate.value == pytest.approx(error, rel=2e-5)


@pytest.mark.parametrize("sparsity", [0.1, 0.25, 0.5, 0.625, 0.75, 0.8, 0.9, 0.99])
@pytest.mark.parametrize("scope", ["tensor", "row"])
def test_magnitude_is_its_closed_form(sparsity: float, scope: Literal["tensor", "row"]) -> None:
    """E x² over |x| < t, with t the threshold: s - 2tφ(t)."""
    t = norm.ppf(0.5 + sparsity / 2)
    estimate = measure(compressor(sparsifier=Magnitude(sparsity, scope)))
    assert estimate.method == "quadrature"
    assert estimate.value == pytest.approx(sparsity - 2 * t * norm.pdf(t), rel=1e-9)


@pytest.mark.parametrize(
    ("kept", "group", "error", "precision"),
    [
        (2, 4, 0.13225, 2e-3),  # Monte-Carlo references, precise to about 1e-3
        (2, 4, 0.13254, 2e-3),
        (4, 8, 0.10329, 1e-3),
        (1, 4, 0.38243, 1e-3),
        (1, 2, 0.18172, 1e-3),
        (1, 2, 0.5 - 1 / 3.141592653589793, 1e-9),  # E min(|x|,|y|)²/2, exactly 1/2 - 1/π
    ],
)
def test_semi_structured(kept: int, group: int, error: float, precision: float) -> None:
    estimate = measure(compressor(sparsifier=SemiStructured(kept, group)))
    assert estimate.method == "quadrature"
    assert estimate.value == pytest.approx(error, rel=precision)


@pytest.mark.parametrize(
    ("bits", "dense", "masked", "kept", "not_masked_again"),
    [
        (2, 0.2092, 0.2170, 0.2058, 0.324),
        (3, 0.1556, 0.1585, 0.1581, 0.196),
        (4, 0.1393, 0.1404, 0.1407, 0.152),
        (8, 0.1325, 0.1325, 0.1325, 0.1326),
    ],
)
def test_two_of_four_with_bits(
    bits: int, dense: float, masked: float, kept: float, not_masked_again: float
) -> None:
    """By statistics of the scale; pruned values must not come back as half a step."""
    names: tuple[Literal["dense", "masked", "kept"], ...] = ("dense", "masked", "kept")
    for name, error in zip(names, (dense, masked, kept), strict=True):
        c = compressor(sparsifier=SemiStructured(2, 4), quantizer=uniform(bits, statistics=name))
        estimate = measure(c)
        assert estimate.method == "quadrature"
        assert estimate.value == pytest.approx(error, rel=1.5e-3)
        assert bits == 8 or estimate.value < 0.97 * not_masked_again


MIXES = [
    compressor(quantizer=uniform(1)),
    compressor(quantizer=uniform(4, scope="tensor")),
    compressor(transform=Hadamard("auto", fold=False), quantizer=uniform(3)),
    compressor(transform=Hadamard("auto", fold=True), sparsifier=SemiStructured(2, 4)),
    compressor(sparsifier=Magnitude(0.25, "tensor"), quantizer=uniform(2, statistics="dense")),
    compressor(sparsifier=Magnitude(0.5, "row"), quantizer=uniform(2, statistics="masked")),
    compressor(
        transform=Hadamard(64, fold=True),
        sparsifier=SemiStructured(4, 8),
        quantizer=uniform(3, statistics="kept"),
    ),
]


@pytest.mark.parametrize("c", MIXES)
def test_monte_carlo_agrees_with_quadrature(c: Compressor) -> None:
    """Wide rows, since the quadrature is the limit; the rotations change nothing."""
    exact = measure(c)
    drawn = monte_carlo(c, samples=2**21, in_features=2**14, seed=1, block=2**16)
    assert exact.method == "quadrature"
    assert drawn.method == "monte carlo"
    assert 0 < drawn.stderr < 0.01 * exact.value
    assert abs(drawn.value - exact.value) < 4 * drawn.stderr


def test_the_standard_error_is_honest() -> None:
    c = compressor(quantizer=uniform(3))
    drawn = [
        monte_carlo(c, samples=2**14, in_features=2**9, seed=seed, block=2**10)
        for seed in range(200)
    ]
    mean = sum(d.value for d in drawn) / len(drawn)
    spread = (sum((d.value - mean) ** 2 for d in drawn) / (len(drawn) - 1)) ** 0.5
    typical = sum(d.stderr for d in drawn) / len(drawn)
    assert typical == pytest.approx(spread, rel=0.2)


@pytest.mark.parametrize(
    ("group", "bits", "error"),
    [(32, 2, 0.207), (32, 3, 0.0377), (32, 4, 0.00820), (128, 4, 0.0120), (1024, 4, 0.01775)],
)
def test_absmax_by_the_width_of_its_scope(group: int, bits: int, error: float) -> None:
    """Data-dependent, hence drawn. The references are Monte Carlo of one percent or so."""
    c = compressor(quantizer=uniform(bits, scale="absmax"))
    estimate = measure(c, samples=2**21, in_features=group)
    assert estimate.method == "monte carlo"
    assert estimate.value == pytest.approx(error, rel=0.01)


def test_is_reproducible_and_depends_on_the_seed() -> None:
    c = compressor(quantizer=uniform(4, scale="absmax"))
    one = gmse(c, samples=2**14, in_features=64, seed=1, block=2**10)
    assert one == gmse(c, samples=2**14, in_features=64, seed=1, block=2**10)
    assert one != gmse(c, samples=2**14, in_features=64, seed=2, block=2**10)


def test_refuses_sizes_that_measure_nothing() -> None:
    c = compressor(quantizer=uniform(4, scale="absmax"))
    with pytest.raises(
        UsageError, match=r"gmse samples: got 0, allowed are positive whole numbers"
    ):
        gmse(c, samples=0, in_features=64, seed=1, block=64)
    with pytest.raises(
        UsageError, match=r"got 64 in 1 block of 64, allowed are at least two blocks"
    ):
        gmse(c, samples=64, in_features=64, seed=1, block=64)
    with pytest.raises(UsageError, match=r"got in_features 6, allowed are multiples of 4"):
        measure(compressor(sparsifier=SemiStructured(2, 4)), in_features=6)


def test_storage_counts_values_scales_and_mask() -> None:
    assert bits_per_weight(compressor()) == 16.0
    assert bits_per_weight(compressor(quantizer=uniform(4))) == 4 + 16 / 1024
    assert bits_per_weight(compressor(quantizer=uniform(4, scope="tensor"))) == 4.0
    half = compressor(sparsifier=Magnitude(0.5, "tensor"), quantizer=uniform(4))
    assert bits_per_weight(half, in_features=640) == 2 + 16 / 640 + 1
    two_four = compressor(sparsifier=SemiStructured(2, 4), quantizer=IdentityQuantizer())
    assert bits_per_weight(two_four) == pytest.approx(8 + 0.6462406, abs=1e-7)
    assert bits_per_weight(compressor(sparsifier=Dense(), quantizer=uniform(1))) < 1.02
