"""Outliers in high precision, and the noise that stands for a format."""

from __future__ import annotations

from math import log2
from typing import Any, Literal

import pytest
import torch
from scipy.integrate import quad
from scipy.stats import norm

from unified_laws.compression.gmse import gmse
from unified_laws.compression.gradient.trust import Trust
from unified_laws.compression.quantizer.grid import GridQuantizer
from unified_laws.compression.quantizer.identity import IdentityQuantizer
from unified_laws.compression.quantizer.noise import NoiseQuantizer
from unified_laws.compression.quantizer.outliers import OutlierQuantizer
from unified_laws.compression.sparsifier.magnitude import Magnitude
from unified_laws.compression.storage import bits_per_weight
from unified_laws.errors import UsageError

from .builders import compressor, normal, uniform


def noise(
    gmse: float = 0.0115,
    distribution: Literal["gaussian", "uniform"] = "gaussian",
    seed: int = 0,
) -> NoiseQuantizer:
    return NoiseQuantizer(gmse, distribution, seed=seed, scope="row", statistics="kept")


@pytest.mark.parametrize("share", [0.05, 0.25])
@pytest.mark.parametrize("base", [uniform(4), uniform(3, scale="absmax")], ids=str)
def test_outliers_are_exact_and_the_rest_is_the_base(share: float, base: GridQuantizer) -> None:
    quantizer, y = OutlierQuantizer(share, base).bind(64), normal(6, 64)
    y[0] = 0
    support = normal(6, 64, seed=1) > 0.5
    for kept in (None, support):
        projection = quantizer.project(y, kept)
        magnitude = y.abs() if kept is None else torch.where(kept, y.abs(), 0)
        order = magnitude.argsort(-1, descending=True)
        top = torch.zeros_like(y, dtype=torch.bool)
        top.scatter_(1, order[:, : round(share * 64)], True)
        top &= magnitude > 0
        assert torch.equal(projection.value[top], y[top])
        rest = ~top if kept is None else kept & ~top
        assert torch.equal(projection.value[~top], base.project(y, rest).value[~top])
        assert torch.equal(quantizer.project(2 * y, kept).value, 2 * projection.value)
        flow = Trust().flow(y, projection)
        assert flow is not None
        assert flow[top].all()
    assert (quantizer.project(y, support).value[~support] == 0).all()
    assert (quantizer.project(y, None).value[0] == 0).all()


def test_the_error_of_outliers_is_that_of_a_cut_normal() -> None:
    """One bit on |x| < t at the limit alpha·RMS of the rest, integrated in closed form."""
    share, t = 0.05, norm.ppf(0.975)
    rest = quad(lambda x: x * x * norm.pdf(x), -t, t)[0]
    limit = uniform(1).clip * (rest / (1 - share)) ** 0.5
    expected = quad(lambda x: 2 * (x - limit) ** 2 * norm.pdf(x), 0, t)[0]
    c = compressor(quantizer=OutlierQuantizer(share, uniform(1)))
    found = gmse(c, samples=2**21, in_features=4096, seed=0, block=2**18)
    assert found.value == pytest.approx(expected, rel=4e-3)


def test_storage_of_outliers() -> None:
    places = -0.05 * log2(0.05) - 0.95 * log2(0.95)
    dense = compressor(quantizer=OutlierQuantizer(0.05, uniform(4)))
    assert bits_per_weight(dense) == pytest.approx(0.95 * 4 + 0.05 * 16 + places + 16 / 1024)
    places = -0.1 * log2(0.1) - 0.9 * log2(0.9)
    half = compressor(
        sparsifier=Magnitude(0.5, "row"), quantizer=OutlierQuantizer(0.05, uniform(4))
    ).bind(1024)
    expected = 0.5 * (0.9 * 4 + 0.1 * 16 + places) + 16 / 1024 + 1
    assert bits_per_weight(half) == pytest.approx(expected)


def test_outliers_refuse() -> None:
    for share in (0.0, 1.0, 5.0):
        with pytest.raises(UsageError, match="allowed is a fraction strictly between 0 and 1"):
            OutlierQuantizer(share, uniform(4))
    base: Any = IdentityQuantizer()
    with pytest.raises(UsageError, match="base: got IdentityQuantizer"):
        OutlierQuantizer(0.05, base)
    with pytest.raises(UsageError, match=r"share 0.05: got in_features 8"):
        OutlierQuantizer(0.05, uniform(4)).bind(8)


@pytest.mark.parametrize("distribution", ["gaussian", "uniform"])
@pytest.mark.parametrize("error", [0.3, 0.0115, 1e-4])
def test_noise_has_the_error_it_was_given(
    distribution: Literal["gaussian", "uniform"], error: float
) -> None:
    c = compressor(quantizer=noise(error, distribution))
    found = gmse(c, samples=2**21, in_features=1024, seed=0, block=2**18)
    assert found.value == pytest.approx(error, rel=0.005)
    x = normal(64, 4096)
    n = (c(x) - x) / x.square().mean(-1, keepdim=True).sqrt() / error**0.5
    assert abs(float(n.mean())) < 0.01
    assert float((n**4).mean()) == pytest.approx(
        3.0 if distribution == "gaussian" else 1.8, rel=0.03
    )
    assert abs(float((n * x).mean())) < 0.01


def test_noise_is_drawn_anew_and_repeats_from_the_seed() -> None:
    x, quantizer = normal(8, 64), noise()
    first, second = quantizer.project(x, None).value, quantizer.project(x, None).value
    assert not torch.equal(first, second)
    assert torch.equal(noise().project(x, None).value, first)
    assert not torch.equal(noise(seed=1).project(x, None).value, first)
    c = compressor(quantizer=noise())
    assert torch.equal(c.bind(64)(x), c.bind(64)(x))
    apart = normal(8, 64, seed=1)
    errors = c.bind(64)(x) - x, c.bind(64)(apart) - apart
    assert abs(float((errors[0] * errors[1]).mean())) < 0.2 * 0.0115  # layers differ
    support = x > 0
    assert (quantizer.project(x, support).value[~support] == 0).all()
    assert (quantizer.project(torch.zeros(2, 64), None).value == 0).all()


def test_a_traced_graph_draws_the_same_numbers() -> None:
    x, c = normal(8, 64), compressor(quantizer=noise())
    eager, traced = c.bind(64), torch.compile(c.bind(64), backend="aot_eager", fullgraph=True)
    for _ in range(3):
        assert torch.equal(eager(x), traced(x))


def test_noise_stores_at_the_bound_and_refuses() -> None:
    assert noise(1 / 256).bits == 4
    for wrong in (0.0, 1.0):
        with pytest.raises(UsageError, match=r"gmse: got .*, allowed are numbers between 0 and 1"):
            noise(wrong)
    word: Any = "laplace"
    with pytest.raises(UsageError, match="distribution: got 'laplace'"):
        noise(distribution=word)
    with pytest.raises(UsageError, match="seed: got -1"):
        noise(seed=-1)
