"""Laws of the choice of kept values."""

from __future__ import annotations

from itertools import combinations, pairwise
from math import log2
from typing import Literal

import numpy as np
import pytest
import torch

from unified_laws.compression.sparsifier.dense import Dense
from unified_laws.compression.sparsifier.magnitude import Magnitude
from unified_laws.compression.sparsifier.semi_structured import SemiStructured
from unified_laws.errors import UsageError

from .builders import normal


def test_dense_has_no_mask() -> None:
    dense = Dense().bind(3)
    assert dense.support(normal(2, 3)) is None
    assert dense.is_identity
    assert (dense.kept_fraction, dense.mask_entropy_bits, dense.breakpoints) == (1.0, 0.0, ())


@pytest.mark.parametrize("sparsity", [0.1, 0.25, 0.5, 0.62, 0.9])
@pytest.mark.parametrize("scope", ["tensor", "row"])
def test_magnitude_keeps_the_largest(sparsity: float, scope: Literal["tensor", "row"]) -> None:
    y = normal(7, 90)
    support = Magnitude(sparsity=sparsity, scope=scope).support(y)
    assert support is not None
    for values, kept in [(y, support)] if scope == "tensor" else zip(y, support, strict=True):
        assert kept.sum() == round((1 - sparsity) * values.numel())
        assert values[kept].abs().min() >= values[~kept].abs().max()


def test_magnitude_of_a_row_too_short_to_keep_one_keeps_none() -> None:
    support = Magnitude(sparsity=0.9, scope="row").support(normal(4, 3))
    assert support is not None
    assert not support.any()


def test_magnitude_keeps_ties() -> None:
    support = Magnitude(sparsity=0.5, scope="tensor").support(torch.tensor([1.0, -1.0, 1.0, 0.0]))
    assert support is not None
    assert support.tolist() == [True, True, True, False]


@pytest.mark.parametrize(("kept", "group"), [(1, 2), (2, 4), (1, 4), (4, 8), (5, 7)])
def test_semi_structured_keeps_exactly_n_of_every_m(kept: int, group: int) -> None:
    y = normal(5, group * 6)
    y[0] = 1.0  # all tied
    y[1] = 0.0
    support = SemiStructured(kept=kept, group=group).support(y)
    assert support is not None
    groups, values = support.reshape(-1, group), y.abs().reshape(-1, group)
    assert (groups.sum(-1) == kept).all()
    assert groups[0].tolist() == [True] * kept + [False] * (group - kept)
    for chosen, magnitudes in zip(groups, values, strict=True):
        assert magnitudes[chosen].min() >= magnitudes[~chosen].max()


@pytest.mark.parametrize(("kept", "group"), [(1, 2), (2, 4), (3, 8)])
def test_keep_probability_of_n_of_m_is_the_sum_over_subsets(kept: int, group: int) -> None:
    magnitude = np.array([0.0, 0.3, 1.1, 2.5])
    larger = np.array([2 * (1 - _cdf(m)) for m in magnitude])
    total = np.zeros_like(magnitude)
    for count in range(kept):
        for chosen in combinations(range(group - 1), count):
            total += larger ** len(chosen) * (1 - larger) ** (group - 1 - len(chosen))
    found = SemiStructured(kept=kept, group=group).keep_probability(magnitude)
    assert found is not None
    np.testing.assert_allclose(found, total, rtol=1e-12)


def _cdf(x: float) -> float:
    return float(torch.special.ndtr(torch.tensor(x, dtype=torch.float64)))


@pytest.mark.parametrize(
    "sparsifier",
    [Magnitude(0.3, "tensor"), Magnitude(0.8, "row"), SemiStructured(2, 4), SemiStructured(1, 8)],
)
def test_keep_probability_is_what_happens_to_normals(
    sparsifier: Magnitude | SemiStructured,
) -> None:
    y = normal(64, 8192)
    support = sparsifier.support(y)
    assert support is not None
    assert abs(support.float().mean() - sparsifier.kept_fraction) < 1e-3
    edges = [0.0, 0.1, 0.5, 1.0, 1.5, 2.0, 6.0]
    for low, high in pairwise(edges):
        inside = (y.abs() >= low) & (y.abs() < high)
        expected = sparsifier.keep_probability(y[inside].abs().double().numpy())
        assert expected is not None
        assert abs(float(support[inside].double().mean()) - float(expected.mean())) < 0.015


def test_mask_entropies() -> None:
    assert Magnitude(0.5, "tensor").mask_entropy_bits == 1.0
    assert Magnitude(0.25, "row").mask_entropy_bits == pytest.approx(0.8112781244591328)
    assert SemiStructured(2, 4).mask_entropy_bits == log2(6) / 4
    assert SemiStructured(4, 8).mask_entropy_bits == log2(70) / 8


@pytest.mark.parametrize("sparsity", [0.0, 1.0, -0.05, 100.0, float("nan")])
def test_refuses_a_sparsity_that_prunes_nothing_or_everything(sparsity: float) -> None:
    with pytest.raises(UsageError, match=r"sparsity: got .*strictly between 0 and 1; for no spars"):
        Magnitude(sparsity=sparsity, scope="tensor")


def test_explains_percent() -> None:
    with pytest.raises(UsageError, match=r"got 50, allowed is a fraction .*write 0.5 for 50 %"):
        Magnitude(sparsity=50, scope="tensor")


def test_refuses_an_unknown_scope() -> None:
    with pytest.raises(UsageError, match=r"scope: got 'layer', allowed are 'tensor' and 'row'"):
        Magnitude(sparsity=0.5, scope="layer")  # type: ignore[arg-type]


@pytest.mark.parametrize(("kept", "group"), [(4, 4), (0, 4), (5, 4), (-1, 4), (2.0, 4), ("2", 4)])
def test_refuses_n_of_m_that_prunes_nothing_or_everything(kept: object, group: int) -> None:
    with pytest.raises(UsageError, match=r"got .*:4, allowed are whole numbers with 0 < kept"):
        SemiStructured(kept=kept, group=group)  # type: ignore[arg-type]


def test_refuses_groups_that_do_not_fit() -> None:
    with pytest.raises(UsageError, match=r"2:4: got in_features 10, allowed are multiples of 4"):
        SemiStructured(2, 4).bind(10)
    with pytest.raises(UsageError, match=r"got in_features 10"):
        SemiStructured(2, 4).support(normal(1, 10))


def test_semi_structured_matches_a_stable_sort() -> None:
    y = normal(64, 64).mul(2).round()  # many ties
    support = SemiStructured(3, 8).support(y)
    order = y.abs().reshape(-1, 8).argsort(dim=-1, descending=True, stable=True)[:, :3]
    expected = torch.zeros(512, 8, dtype=torch.bool).scatter_(1, order, value=True)
    assert support is not None
    assert torch.equal(support.reshape(-1, 8), expected)
