"""Laws of the uniform grid."""

from __future__ import annotations

from typing import Literal

import pytest
import torch

from unified_laws.compression.gaussian import grid_mse, mid_rise_levels, optimal_clip
from unified_laws.compression.quantizer.identity import IdentityQuantizer
from unified_laws.compression.quantizer.uniform import UniformQuantizer
from unified_laws.errors import UsageError

from .builders import normal, uniform

# bits: (alpha*, mean squared error), as printed in the code of QuEST (arXiv:2502.05003)
QUEST = {
    1: (0.7978845587140913, 0.3633802),
    2: (1.4935346200015913, 0.1188461),
    3: (2.051068354131873, 0.0374397),
    4: (2.513930578568423, 0.0115429),
    5: (2.9160938834961225, 0.00349522),
    6: (3.276597282593217, 0.00104005),
    7: (3.6010497188221655, 3.0437e-4),
    8: (3.884938678807525, 8.782e-5),
}
Scale = Literal["rms", "absmax"]
Scope = Literal["row", "tensor"]
Statistics = Literal["dense", "masked", "kept"]


@pytest.mark.parametrize("bits", QUEST)
def test_the_clip_is_that_of_quest_or_better(bits: int) -> None:
    """Note of `optimal_clip`: QuEST's constants drift off the optimum as bits grow."""
    alpha, error = QUEST[bits]
    ours = grid_mse(mid_rise_levels(optimal_clip(bits), 2**bits))
    theirs = grid_mse(mid_rise_levels(alpha, 2**bits))
    assert theirs == pytest.approx(error, rel=3e-6 if bits < 7 else 7e-5)  # its printed digits
    assert ours <= theirs
    assert ours == pytest.approx(theirs, rel=3e-6 if bits < 7 else 1.6e-3)
    drift = {4: 3e-5, 5: 2e-5, 6: 4.3e-4, 7: 2.8e-3, 8: 9.6e-3}.get(bits, 4e-6)
    assert optimal_clip(bits) == pytest.approx(alpha, rel=drift)


def test_the_clip_of_one_bit_is_the_mean_magnitude() -> None:
    assert optimal_clip(1) == pytest.approx((2 / torch.pi) ** 0.5, abs=1e-8)


@pytest.mark.parametrize("bits", range(1, 9))
def test_the_clip_is_a_minimum(bits: int) -> None:
    def error(limit: float) -> float:
        return grid_mse(mid_rise_levels(limit, 2**bits))

    best = optimal_clip(bits)
    assert error(best) < min(error(best * 0.999), error(best * 1.001))


@pytest.mark.parametrize("bits", range(1, 9))
@pytest.mark.parametrize("scale", ["rms", "absmax"])
def test_rows_take_at_most_two_to_the_bits_equidistant_values(bits: int, scale: Scale) -> None:
    y = normal(4, 4096)
    projection = uniform(bits, scale=scale).project(y, None)
    assert projection.limit is not None
    for row, limit in zip(projection.value, projection.limit, strict=True):
        levels = torch.from_numpy(mid_rise_levels(float(limit), 2**bits)).float()
        found = row.unique()
        assert len(found) <= 2**bits
        distance = (found[:, None] - levels).abs().min(-1).values
        assert distance.max() < 1e-6 * float(limit)
        assert (found != 0).all()


@pytest.mark.parametrize("bits", [1, 3, 4])
def test_every_value_goes_to_its_nearest_level(bits: int) -> None:
    y = normal(3, 500)
    projection = uniform(bits).project(y, None)
    assert projection.limit is not None
    for row, value, limit in zip(y, projection.value, projection.limit, strict=True):
        levels = torch.from_numpy(mid_rise_levels(float(limit), 2**bits)).float()
        nearest = (row[:, None] - levels).abs().min(-1).values
        torch.testing.assert_close((row - value).abs(), nearest, rtol=0, atol=1e-6)


@pytest.mark.parametrize("statistics", ["dense", "masked", "kept"])
@pytest.mark.parametrize("scope", ["row", "tensor"])
def test_the_limit_is_the_statistic_that_was_asked_for(
    scope: Scope, statistics: Statistics
) -> None:
    y, support = normal(6, 64), normal(6, 64, seed=1) > 0.3
    projection = uniform(4, scope=scope, statistics=statistics).project(y, support)
    assert projection.limit is not None
    assert projection.limit.shape == ((6, 1) if scope == "row" else (1, 1))
    rows = [(y, support)] if scope == "tensor" else list(zip(y, support, strict=True))
    for (values, kept), limit in zip(rows, projection.limit.reshape(-1), strict=True):
        over = {"dense": values, "masked": values * kept, "kept": values[kept]}[statistics]
        expected = optimal_clip(4) * over.square().mean().sqrt()
        torch.testing.assert_close(limit, expected, rtol=1e-6, atol=0)


def test_statistics_agree_without_sparsity_and_differ_with_it() -> None:
    y, support = normal(2, 64), normal(2, 64) > 0
    names: tuple[Statistics, ...] = ("dense", "masked", "kept")
    dense = [uniform(3, statistics=s).project(y, None).value for s in names]
    sparse = [uniform(3, statistics=s).project(y, support).value for s in names]
    assert torch.equal(dense[0], dense[1])
    assert torch.equal(dense[0], dense[2])
    assert len({tuple(v.flatten().tolist()) for v in sparse}) == 3


def test_absmax_reaches_the_largest_magnitude_and_is_idempotent() -> None:
    quantizer, y = uniform(4, scale="absmax"), normal(5, 100)
    once = quantizer.project(y, None).value
    torch.testing.assert_close(once.abs().amax(-1), y.abs().amax(-1))
    torch.testing.assert_close(quantizer.project(once, None).value, once)
    support = y.abs() < 1
    kept = quantizer.project(y, support).limit
    dense = uniform(4, scale="absmax", statistics="dense").project(y, support).limit
    assert kept is not None
    assert dense is not None
    assert (kept < dense).all()


@pytest.mark.parametrize("bits", range(1, 9))
def test_reach_is_half_a_step_beyond_the_limit(bits: int) -> None:
    """QuEST's trust region in closed form: limit·n/(n-1)."""
    n = 2**bits
    projection = uniform(bits).project(normal(4, 32), None)
    assert projection.limit is not None
    assert projection.reach is not None
    torch.testing.assert_close(projection.reach, projection.limit * n / (n - 1))


def test_ties_go_to_the_even_index() -> None:
    """Absmax 3 on two bits: levels -3, -1, 1, 3; the midpoints -2, 0, 2 are ties."""
    y = torch.tensor([[3.0, -2.0, 0.0, 2.0]])
    value = uniform(2, scale="absmax").project(y, None).value
    assert value.tolist() == [[3.0, -1.0, -1.0, 3.0]]


@pytest.mark.parametrize("scale", ["rms", "absmax"])
@pytest.mark.parametrize("scope", ["row", "tensor"])
def test_zeros_stay_zero_and_nan_stays_visible(scale: Scale, scope: Scope) -> None:
    quantizer = uniform(4, scale=scale, scope=scope)
    assert quantizer.project(torch.zeros(3, 8), None).value.abs().max() == 0
    nothing = torch.zeros(3, 8, dtype=torch.bool)
    assert quantizer.project(normal(3, 8), nothing).value.abs().max() == 0
    assert quantizer.project(torch.full((1, 8), torch.nan), None).value.isnan().all()


@pytest.mark.parametrize("tiny", [1e-30, 1e-42])
def test_a_row_below_the_range_of_its_square_is_finite(tiny: float) -> None:
    assert uniform(4).project(normal(2, 8) * tiny, None).value.isfinite().all()


def test_identity_keeps_the_support() -> None:
    y, support = normal(3, 4), normal(3, 4) > 0
    quantizer = IdentityQuantizer().bind(4)
    assert quantizer.project(y, None).value is y
    projection = quantizer.project(y, support)
    assert torch.equal(projection.value, torch.where(support, y, 0))
    assert projection.limit is None
    assert projection.reach is None


@pytest.mark.parametrize("bits", [0, 9, -1, 4.0, True, "4"])
def test_refuses_bits_outside_one_to_eight(bits: object) -> None:
    with pytest.raises(
        UsageError, match=r"bits: got .*, allowed are whole numbers from 1 to 8; fo"
    ):
        UniformQuantizer(bits=bits, scale="rms", scope="row", statistics="kept")  # type: ignore[arg-type]


def test_refuses_unknown_words() -> None:
    with pytest.raises(UsageError, match=r"scale: got 'std', allowed are 'rms', 'absmax'"):
        UniformQuantizer(bits=4, scale="std", scope="row", statistics="kept")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"scope: got 'group', allowed are 'row', 'tensor'"):
        UniformQuantizer(bits=4, scale="rms", scope="group", statistics="kept")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"statistics: got 'x', allowed are 'dense', 'masked', 'k"):
        UniformQuantizer(bits=4, scale="rms", scope="row", statistics="x")  # type: ignore[arg-type]
