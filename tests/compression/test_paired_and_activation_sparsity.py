"""Laws of N:M by pairs, and of sparsity of the activations."""

from __future__ import annotations

from itertools import pairwise
from math import log2

import pytest
import torch

from unified_laws.cli.build import load_format
from unified_laws.cli.format_names import canonical_name
from unified_laws.cli.paths import config_dir
from unified_laws.compression.gmse import gmse, monte_carlo
from unified_laws.compression.sparsifier.magnitude import Magnitude
from unified_laws.compression.sparsifier.paired_semi_structured import PairedSemiStructured
from unified_laws.compression.sparsifier.semi_structured import SemiStructured
from unified_laws.errors import UsageError

from .builders import compressor, normal


@pytest.mark.parametrize(("kept", "group"), [(4, 8), (2, 4), (2, 8), (6, 8)])
def test_keeps_whole_pairs_of_largest_norm(kept: int, group: int) -> None:
    y = normal(16, 8 * group)
    y[0] = 1.0
    support = PairedSemiStructured(kept, group).support(y)
    assert support is not None
    assert support.shape == y.shape
    pairs = support.reshape(-1, group // 2, 2)
    assert torch.equal(pairs[..., 0], pairs[..., 1])
    assert (pairs[..., 0].sum(-1) == kept // 2).all()
    assert pairs[0, :, 0].tolist() == [True] * (kept // 2) + [False] * ((group - kept) // 2)
    norms = y.reshape(-1, group // 2, 2).square().sum(-1)
    for chosen, norm in zip(pairs[..., 0], norms, strict=True):
        assert norm[chosen].min() >= norm[~chosen].max()


def test_gmse_of_4_of_8_by_pairs() -> None:
    """5/24: of four exponential norms of mean 1 the two smallest hold (1/4 + 7/12)/4."""
    pairs = compressor(sparsifier=PairedSemiStructured(4, 8))
    found = gmse(pairs, samples=1, in_features=1024, seed=0, block=1)
    assert found.method == "quadrature"
    assert found.value == pytest.approx(5 / 24, rel=1e-9)
    sampled = monte_carlo(pairs, samples=2**20, in_features=1024, seed=0, block=2**16)
    assert abs(sampled.value - found.value) < 4 * sampled.stderr


@pytest.mark.parametrize(("kept", "group"), [(4, 8), (2, 4), (6, 16)])
def test_keep_probability_is_what_happens_to_normals(kept: int, group: int) -> None:
    sparsifier = PairedSemiStructured(kept, group)
    y = normal(64, 8192)
    support = sparsifier.support(y)
    assert support is not None
    for low, high in pairwise([0.0, 0.1, 0.5, 1.0, 1.5, 2.0, 6.0]):
        inside = (y.abs() >= low) & (y.abs() < high)
        expected = sparsifier.keep_probability(y[inside].abs().double().numpy())
        assert expected is not None
        assert abs(float(support[inside].double().mean()) - float(expected.mean())) < 0.015


def test_entropy_and_refusals() -> None:
    assert PairedSemiStructured(4, 8).mask_entropy_bits == log2(6) / 8
    for kept, group in [(3, 8), (4, 7), (8, 8), (0, 4), (2.0, 4)]:
        with pytest.raises(UsageError, match="allowed are even numbers with 0 < kept < group"):
            PairedSemiStructured(kept, group)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="4:8: got in_features 12, allowed are multiples of 8"):
        PairedSemiStructured(4, 8).bind(12)


def test_scaling_and_zeros() -> None:
    own = compressor(sparsifier=PairedSemiStructured(4, 8))
    x = normal(4, 64)
    assert torch.equal(own(2 * x), 2 * own(x))
    assert torch.equal(own(torch.zeros(2, 8)), torch.zeros(2, 8))


@pytest.mark.parametrize(
    ("name", "canonical"),
    [
        ("sparse4of8pairs", "sparse4of8pairs"),
        ("asparse50", "asparse50"),
        ("asparse50_sparse50", "sparse50_asparse50"),
        ("sparse4of8pairs_w4a4", "w4a4_sparse4of8pairs"),
        ("asparse2of4_int4", "int4_asparse2of4"),
        ("asparse4of8pairs", "asparse4of8pairs"),
        ("sparserow75", "sparserow75"),
    ],
)
def test_names(name: str, canonical: str) -> None:
    assert canonical_name(name, config_dir()) == canonical
    assert load_format(name).name == canonical


def test_both_sides_are_pruned_by_their_own_parts() -> None:
    both = load_format("sparse75_asparse50")
    assert both.weight is not None
    assert both.activation is not None
    assert isinstance(both.weight.sparsifier, Magnitude)
    assert isinstance(both.activation.sparsifier, Magnitude)
    assert (both.weight.sparsifier.sparsity, both.weight.sparsifier.scope) == (0.75, "tensor")
    assert (both.activation.sparsifier.sparsity, both.activation.sparsifier.scope) == (0.5, "row")
    assert load_format("asparse50").weight is None
    mixed = load_format("w4a4_asparse2of4").activation
    assert mixed is not None
    assert isinstance(mixed.sparsifier, SemiStructured)
    x = normal(3, 5, 64)
    y, value, support = mixed.encoded(x)
    assert support is not None
    assert torch.equal(value != 0, support)
    assert (support.reshape(-1, 4).sum(-1) == 2).all()
    assert y.shape == x.shape


def test_a_token_is_pruned_without_knowledge_of_the_others() -> None:
    activation = load_format("asparse50").activation
    assert activation is not None
    x = normal(2, 7, 64)
    assert torch.equal(activation(x)[:, :3], activation(x[:, :3]))
    assert ((activation(x) != 0).sum(-1) == 32).all()
