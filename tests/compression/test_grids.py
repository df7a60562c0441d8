"""Laws that hold for every scalar grid and every way to scale it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from unified_laws.compression.gmse import gmse
from unified_laws.compression.nearest_level import NearestLevel
from unified_laws.compression.optimal_grid import lloyd_max_levels
from unified_laws.compression.quantizer.grid import GridQuantizer
from unified_laws.compression.quantizer.lloyd_max import LloydMaxQuantizer
from unified_laws.compression.quantizer.tread import TreadQuantizer
from unified_laws.compression.quantizer.uniform import UniformQuantizer
from unified_laws.errors import UsageError

from .builders import compressor, normal

DEFAULTS: dict[str, Any] = {
    "scale": "rms",
    "scope": "row",
    "group_size": None,
    "statistics": "kept",
    "rms": None,
    "search_steps": None,
    "search_floor": None,
}
MSE = {"scale": "mse", "search_steps": 100, "search_floor": 0.2}
STATIC = {"scale": "static", "scope": "tensor", "rms": 0.5}
SCALES: list[dict[str, Any]] = [{}, {"scale": "absmax"}, MSE, {"scope": "tensor"}]
GROUPS: list[dict[str, Any]] = [{**scale, "group_size": 16} for scale in SCALES[:3]]


def tread(bits: int, packed: bool = False, **changed: Any) -> TreadQuantizer:
    return TreadQuantizer(bits, packed=packed, **{**DEFAULTS, **changed})


def lloyd(bits: int, **changed: Any) -> LloydMaxQuantizer:
    return LloydMaxQuantizer(bits, **{**DEFAULTS, **changed})


def rise(bits: int, **changed: Any) -> UniformQuantizer:
    return UniformQuantizer(bits, **{**DEFAULTS, **changed})


Make = Callable[..., GridQuantizer]
GRIDS: list[Make] = [rise, tread, lloyd]


def error_of(quantizer: GridQuantizer, in_features: int = 1024) -> float:
    found = gmse(
        compressor(quantizer=quantizer),
        samples=2**21,
        in_features=in_features,
        seed=0,
        block=2**17,
    )
    converges = quantizer.scale in ("rms", "static") and quantizer.group_size is None
    assert found.method == ("quadrature" if converges else "monte carlo")
    return found.value


@pytest.mark.parametrize(  # papers.md §9
    ("bits", "lloyd_max", "with_zero"),
    [
        (1, 0.363380, None),
        (2, 0.117482, 0.190174),
        (3, 0.0345478, 0.0468600),
        (4, 0.00950101, 0.0128894),
        (5, 0.00250467, 0.0036932),
        (6, 6.4424e-4, 0.00106929),
        (7, 1.6348e-4, 3.0862e-4),
        (8, 4.1185e-5, 8.8308e-5),
    ],
)
def test_published_errors(bits: int, lloyd_max: float, with_zero: float | None) -> None:
    assert error_of(lloyd(bits)) == pytest.approx(lloyd_max, rel=1.2e-5)
    if with_zero is not None:
        assert error_of(tread(bits)) == pytest.approx(with_zero, rel=1.2e-5)


@pytest.mark.parametrize(
    ("group", "bits", "error"),  # papers.md §9, absolute maximum of a group
    [(4, 2, 0.15328), (16, 4, 0.007264), (32, 3, 0.05126), (128, 4, 0.013729), (128, 8, 4.17e-5)],
)
def test_absmax_by_group(group: int, bits: int, error: float) -> None:
    found = error_of(tread(bits, scale="absmax", group_size=group))
    assert found == pytest.approx(error, rel=0.012)  # Monte Carlo of a percent


@pytest.mark.parametrize("make", GRIDS)
def test_the_search_is_better_than_absmax_and_near_the_optimum(make: Make) -> None:
    found = error_of(make(4, **MSE))
    assert found < error_of(make(4, scale="absmax"))
    assert found == pytest.approx(error_of(make(4)), rel=0.05)
    fixed = error_of(make(4, scale="static", scope="tensor", rms=1.0))
    assert fixed == pytest.approx(error_of(make(4)))


@pytest.mark.parametrize("make", GRIDS)
@pytest.mark.parametrize("scale", [*SCALES, *GROUPS], ids=str)
def test_every_grid_obeys_the_laws(make: Make, scale: dict[str, Any]) -> None:
    quantizer, y, support = make(3, **scale).bind(64), normal(6, 64), normal(6, 64, seed=1) > 0
    y[0], y[1, :16] = 0, 0
    for kept in (None, support):
        projection = quantizer.project(y, kept)
        assert projection.limit is not None
        assert projection.reach is not None
        assert projection.value.isfinite().all()
        if quantizer.scope == "row":
            assert projection.value[0].abs().max() == 0
        assert torch.equal(quantizer.project(2 * y, kept).value, 2 * projection.value)
        assert torch.equal(quantizer.project(-y, kept).value.abs(), projection.value.abs())
        assert (projection.value.abs() <= projection.limit * (1 + 1e-6)).all()
        assert (projection.reach >= projection.limit).all()
    assert (quantizer.project(y, support).value[~support] == 0).all()
    per_scope = quantizer.scaling.split(quantizer.project(y, None).value)
    for values in per_scope.reshape(-1, per_scope.shape[-1]):
        assert quantizer.scope == "tensor" or len(torch.unique(values)) <= len(quantizer.grid)
    assert quantizer.project(torch.full((2, 64), torch.nan), None).value.isnan().all()


@pytest.mark.parametrize("make", GRIDS)
def test_groups_are_rows_of_their_own(make: Make) -> None:
    y = normal(4, 64)
    grouped = make(4, group_size=16).project(y, None)
    apart = make(4).project(y.reshape(16, 16), None)
    assert torch.equal(grouped.value, apart.value.reshape(4, 64))
    assert grouped.limit is not None
    assert apart.limit is not None
    assert torch.equal(grouped.limit[:, ::16], apart.limit.reshape(4, 4))
    assert make(4, group_size=16).scale_bits(64) == 4 * 16
    assert make(4, scope="tensor").scale_bits(64) == 0


@pytest.mark.parametrize("make", GRIDS)
def test_a_static_scale_does_not_move(make: Make) -> None:
    y = normal(4, 64)
    quantizer = make(3, **STATIC)
    assert torch.equal(quantizer.project(y, None).value[:1], quantizer.project(y[:1], None).value)
    assert quantizer.project(8 * y, None).value.max() == quantizer.project(9 * y, None).value.max()
    torch.testing.assert_close(
        torch.unique(quantizer.project(y, None).value),
        torch.from_numpy(quantizer.grid / quantizer.grid[-1] * quantizer.clip * 0.5).float(),
    )
    assert quantizer.project(torch.tensor([[torch.nan, 1.0]]), None).value.isnan()[0, 0]


@pytest.mark.parametrize("bits", range(1, 9))
def test_nearest_level_is_that_of_a_search(bits: int) -> None:
    """At random values, at every edge, and one float away from it."""
    levels = np.asarray(lloyd_max_levels(bits))
    edges = torch.from_numpy((levels[1:] + levels[:-1]) / 2).float()
    far = torch.tensor([torch.inf, -torch.inf, 1e30, -1e30, 0.0])
    z = torch.cat([normal(100_000), edges, far])
    z = torch.cat([z, z.nextafter(far[:1]), z.nextafter(far[1:2])])
    found = NearestLevel(levels)(z)
    assert torch.equal(found, torch.from_numpy(levels).float()[torch.bucketize(z, edges)])


def test_storage_of_trits() -> None:
    assert tread(2).bits == 2
    assert tread(2, packed=True).bits == pytest.approx(1.5849625)


@pytest.mark.parametrize("make", GRIDS)
@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"group_size": 1}, "group_size: got 1"),
        ({"group_size": 8, "scope": "tensor"}, "group_size: got 8 in scope 'tensor'"),
        ({"rms": 1.0}, "rms: got 1.0 under scale 'rms'"),
        ({"scale": "static", "scope": "tensor"}, "rms: got None under scale 'static'"),
        ({"scale": "static", "rms": 1.0}, "allowed is 'tensor'"),
        ({**MSE, "search_steps": 1}, "search_steps: got 1"),
        ({**MSE, "search_floor": 1.0}, "search_floor: got 1.0"),
        ({"search_steps": 5}, "search_steps: got 5 under scale 'rms'"),
        ({"scale": "max"}, "scale: got 'max'"),
    ],
)
def test_refusals(make: Make, changed: dict[str, Any], reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        make(4, **changed)
    with pytest.raises(UsageError, match="bits: got 9"):
        make(9)
    with pytest.raises(UsageError, match="got in_features 24, allowed are multiples of 16"):
        make(4, group_size=16).bind(24)


@pytest.mark.parametrize("group_size", [None, 16])
@pytest.mark.parametrize("pruned", [False, True])
def test_a_search_in_parts_finds_the_same_to_the_bit(
    monkeypatch: pytest.MonkeyPatch, group_size: int | None, pruned: bool
) -> None:
    y = normal(5, 13, 64)
    support = normal(5, 13, 64, seed=1) > 0 if pruned else None
    quantizer = tread(3, scale="mse", search_steps=20, search_floor=0.2, group_size=group_size)
    whole = quantizer.project(y, support)
    monkeypatch.setattr("unified_laws.compression.quantizer.grid.PART", 2**9)
    parts = quantizer.project(y, support)
    assert torch.equal(parts.value, whole.value)
    assert parts.limit is not None
    assert whole.limit is not None
    assert torch.equal(parts.limit, whole.limit)
