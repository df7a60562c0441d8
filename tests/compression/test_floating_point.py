"""Small floating-point numbers: every code and every bf16 against ml_dtypes, published errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from unified_laws.compression.float_grid import FloatGrid
from unified_laws.compression.gmse import gmse
from unified_laws.compression.quantizer.floating_point import FloatingPointQuantizer
from unified_laws.errors import UsageError

from .builders import compressor, normal

ml_dtypes = pytest.importorskip("ml_dtypes")

# name in ml_dtypes: our arguments
OCP = {
    "float4_e2m1fn": (2, 1, "none"),
    "float6_e2m3fn": (2, 3, "none"),
    "float6_e3m2fn": (3, 2, "none"),
    "float8_e4m3fn": (4, 3, "nan"),
    "float8_e5m2": (5, 2, "ieee"),
    "float8_e3m4": (3, 4, "ieee"),
}


def make(exponent: int, mantissa: int, **changed: Any) -> FloatingPointQuantizer:
    arguments: dict[str, Any] = {
        "reserve": "none",
        "rounding": "nearest",
        "seed": None,
        "scale": "rms",
        "scope": "row",
        "group_size": None,
        "statistics": "kept",
        "rms": None,
        "search_steps": None,
        "search_floor": None,
    }
    return FloatingPointQuantizer(exponent, mantissa, **{**arguments, **changed})


def every_bf16() -> Tensor:
    return torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16).view(torch.bfloat16)


@pytest.mark.parametrize("name", OCP)
def test_all_codes_are_the_levels(name: str) -> None:
    dtype = np.dtype(getattr(ml_dtypes, name))
    grid = FloatGrid(*OCP[name])
    values = np.arange(2**grid.bits, dtype=np.uint8).view(dtype).astype(np.float64)
    assert np.array_equal(np.unique(values[np.isfinite(values)]), grid.levels())
    assert float(ml_dtypes.finfo(dtype).max) == grid.largest == grid.levels()[-1]


@pytest.mark.parametrize("name", OCP)
def test_every_bf16_rounds_as_in_ml_dtypes(name: str) -> None:
    """Bit for bit, saturating: ml_dtypes is given values within the range."""
    grid, x = FloatGrid(*OCP[name]), every_bf16().float()
    rounded = grid.round(x, None)
    inside = x.nan_to_num(0.0).clamp(-grid.largest, grid.largest).numpy()
    theirs = inside.astype(np.dtype(getattr(ml_dtypes, name))).astype(np.float32)
    number = ~np.isnan(x.numpy())
    assert np.array_equal(rounded.numpy()[number].view(np.int32), theirs[number].view(np.int32))
    assert rounded.isnan().numpy()[~number].all()


@pytest.mark.parametrize(
    ("shape", "error"),  # papers.md §9, at the optimal scale with all codes finite
    [
        ((2, 1), 0.0126849),
        ((3, 0), 0.037745),
        ((1, 2), 0.0128894),
        ((3, 2), 0.00276611),
        ((2, 3), 8.2915e-4),
        ((4, 1), 0.0106392),
        ((4, 3), 6.9880e-4),
        ((5, 2), 0.00276587),
        ((3, 4), 1.7520e-4),
        ((2, 5), 5.4121e-5),
        ((6, 1), 0.0106392),
    ],
)
def test_published_errors(shape: tuple[int, int], error: float) -> None:
    c = compressor(quantizer=make(*shape))
    found = gmse(c, samples=2**18, in_features=1024, seed=0, block=2**16)
    assert found.method == "quadrature"
    assert found.value == pytest.approx(error, rel=1.2e-4)


def test_the_limit_of_e2m1_is_quests() -> None:
    assert make(2, 1).clip == pytest.approx(2.92247856, rel=2e-6)


@pytest.mark.parametrize("shape", [(2, 1), (3, 2), (4, 3), (6, 1), (3, 0)])
@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"scale": "absmax", "group_size": 16},
        {"scope": "tensor"},
        {"scale": "mse", "search_steps": 20, "search_floor": 0.2},
    ],
    ids=str,
)
def test_laws(shape: tuple[int, int], changed: dict[str, Any]) -> None:
    quantizer, y, support = make(*shape, **changed).bind(64), normal(6, 64), normal(6, 64) > 0
    y[0], y[1, :16] = 0, 0
    for kept in (None, support):
        projection = quantizer.project(y, kept)
        assert projection.value.isfinite().all()
        assert (projection.value[0] == 0).all()
        assert torch.equal(quantizer.project(2 * y, kept).value, 2 * projection.value)
        assert torch.equal(quantizer.project(-y, kept).value, -projection.value)
    assert (quantizer.project(y, support).value[~support] == 0).all()


def test_stochastic_rounding_is_unbiased_between_neighbours() -> None:
    """A mean of n draws is within 5 standard errors; one bit per four times as many draws."""
    grid, generator = FloatGrid(2, 1, "none"), torch.Generator().manual_seed(0)
    x = torch.linspace(-6, 6, 97)
    draws = torch.stack(
        [grid.round(x, torch.rand(x.shape, generator=generator)) for _ in range(4096)]
    )
    assert ((draws.mean(0) - x).abs() <= 5 * draws.std(0) / 64 + 1e-6).all()
    below = (draws - x).abs() <= 1.0 + 1e-6  # half of the widest step would be nearest
    assert below[:, x.abs() <= 4].all()
    assert set(torch.unique(draws).tolist()) <= set(grid.levels().tolist())


def test_stochastic_draws_are_new_at_every_call_and_repeat_from_the_seed() -> None:
    y = normal(8, 64)
    one = make(2, 1, rounding="stochastic", seed=1)
    first, second = one.project(y, None).value, one.project(y, None).value
    assert not torch.equal(first, second)
    again = make(2, 1, rounding="stochastic", seed=1)
    assert torch.equal(again.project(y, None).value, first)
    other = make(2, 1, rounding="stochastic", seed=2)
    assert not torch.equal(other.project(y, None).value, first)
    c = compressor(quantizer=one)
    assert torch.equal(c.bind(64)(y), c.bind(64)(y))
    drawn = gmse(c, samples=2**18, in_features=1024, seed=0, block=2**16)
    assert drawn.method == "monte carlo"
    assert drawn.value > 0.02


@pytest.mark.parametrize(
    ("shape", "changed", "reason"),
    [
        ((0, 1), {}, "exponent bits: got 0, allowed are whole numbers from 1 to 7"),
        ((2, 8), {}, "mantissa bits: got 8, allowed are whole numbers from 0 to 7"),
        ((2, 1), {"reserve": "inf"}, "reserve: got 'inf'"),
        ((1, 2), {"reserve": "ieee"}, "allowed is 'none'"),
        ((3, 0), {"reserve": "nan"}, "allowed is 'none'"),
        ((2, 1), {"rounding": "up"}, "rounding: got 'up'"),
        ((2, 1), {"seed": 1}, "seed: got 1 under rounding 'nearest'"),
        ((2, 1), {"rounding": "stochastic"}, "seed: got None under rounding 'stochastic'"),
        ((2, 1), {"rounding": "stochastic", "seed": -1}, "seed: got -1"),
    ],
)
def test_refusals(shape: tuple[int, int], changed: dict[str, Any], reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        make(*shape, **changed)
