"""Laws of the stages together, forward and backward."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor

from unified_laws.compression.backward_mask.base import BackwardMask
from unified_laws.compression.backward_mask.forward import ForwardMask
from unified_laws.compression.backward_mask.full import FullMask
from unified_laws.compression.compressor import Compressor
from unified_laws.compression.gaussian import optimal_clip
from unified_laws.compression.gradient.base import GradientEstimator
from unified_laws.compression.gradient.clip import Clip
from unified_laws.compression.gradient.straight_through import StraightThrough
from unified_laws.compression.gradient.trust import Trust
from unified_laws.compression.quantizer.identity import IdentityQuantizer
from unified_laws.compression.sparsifier.dense import Dense
from unified_laws.compression.sparsifier.magnitude import Magnitude
from unified_laws.compression.sparsifier.semi_structured import SemiStructured
from unified_laws.compression.transform.hadamard import Hadamard
from unified_laws.compression.transform.identity import Identity
from unified_laws.errors import UsageError

from .builders import compressor, normal, uniform

TRANSFORMS = (Identity(), Hadamard("auto", fold=False), Hadamard("auto", fold=True))
SPARSIFIERS = (Dense(), Magnitude(0.5, "tensor"), Magnitude(0.7, "row"), SemiStructured(2, 4))
MASKS = (ForwardMask(), FullMask())
QUANTIZERS = (
    IdentityQuantizer(),
    uniform(1),
    uniform(4, statistics="dense"),
    uniform(3, scale="absmax", scope="tensor"),
)
GRADIENTS = (StraightThrough(), Clip(1.25), Trust())


def acts(stages: tuple[Any, ...]) -> bool:
    """Whether no stage is refused because it would change nothing."""
    _, sparsifier, _, quantizer, gradient = stages
    if isinstance(quantizer, IdentityQuantizer):
        return isinstance(gradient, StraightThrough)
    return not (isinstance(sparsifier, Dense) and quantizer.statistics == "dense")


ALL = [
    Compressor(*stages)
    for stages in product(TRANSFORMS, SPARSIFIERS, MASKS, QUANTIZERS, GRADIENTS)
    if acts(stages)
]


def backward(c: Compressor, x: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
    x = x.clone().requires_grad_()
    out = c(x)
    out.backward(g)
    assert x.grad is not None
    return out.detach(), x.grad


def test_dense_is_the_same_tensor_and_gradient() -> None:
    x = normal(3, 8).requires_grad_()
    c = compressor().bind(8)
    assert c.is_identity
    assert c(x) is x
    assert c.reconstruct(x) is x


def test_a_stage_that_acts_is_not_identity() -> None:
    assert not compressor(transform=Hadamard("auto", fold=True)).is_identity
    assert not compressor(sparsifier=SemiStructured(2, 4)).is_identity
    assert not compressor(quantizer=uniform(8)).is_identity
    assert compressor(backward_mask=FullMask()).is_identity


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_every_mix_keeps_shape_dtype_and_finiteness(dtype: torch.dtype) -> None:
    x, g = normal(2, 6, 32).to(dtype), normal(2, 6, 32, seed=1).to(dtype)
    x[0, 2] = 0  # a row of zeros
    for c in ALL:
        out, grad = backward(c.bind(32), x, g)
        for tensor in (out, grad):
            assert tensor.shape == x.shape
            assert tensor.dtype == dtype
            assert tensor.isfinite().all()


def test_every_mix_commutes_with_powers_of_two() -> None:
    x = normal(6, 32)
    for c, factor in product(ALL, (2.0, 2.0**-20, 2.0**20)):
        assert torch.equal(c(factor * x), factor * c(x)), (c, factor)


def test_every_mix_is_zero_off_its_support_and_on_its_grid() -> None:
    """The grid has no zero: were pruned values not masked again they would become half a step."""
    x = normal(6, 32)
    for c in ALL:
        y, value, support = c.encoded(x)
        if support is not None:
            assert (value[~support] == 0).all()
            assert support.float().mean() == pytest.approx(c.sparsifier.kept_fraction, abs=0.02)
        if not c.quantizer.is_identity:
            kept = value if support is None else torch.where(support, value, torch.nan)
            for row in kept:
                assert len(row[~row.isnan()].unique()) <= 2**c.quantizer.bits
        else:
            assert torch.equal(value, y if support is None else torch.where(support, y, 0))


def test_every_mix_outputs_its_decoded_projection() -> None:
    x = normal(6, 32)
    for c in ALL:
        if c.is_identity:
            continue
        value = c.encoded(x)[1]
        assert torch.equal(c(x), c.transform.decode(value))
        assert torch.equal(c.reconstruct(x), c.transform.inverse(value))


def closed_form(c: Compressor, x: Tensor, g: Tensor) -> Tensor:
    """((g·H)⊙M)·Hᵀ with M of the definitions, from thresholds found by sorting."""
    t = c.transform
    y = t.encode(x)
    mask = torch.ones_like(y, dtype=torch.bool)
    support = c.sparsifier.support(y)
    if support is not None and isinstance(c.backward_mask, ForwardMask):
        mask &= support
    limit = c.quantizer.project(y, support).limit
    if limit is not None and isinstance(c.gradient, Clip):
        mask &= y.abs() <= c.gradient.clip_scale * limit
    if limit is not None and isinstance(c.gradient, Trust):
        n = 2**c.quantizer.bits
        mask &= y.abs() <= limit * n / (n - 1)
    return t.inverse((g if t.folded else t.encode(g)) * mask)


def test_the_gradient_of_every_mix_is_its_closed_form() -> None:
    x, g = normal(6, 32), normal(6, 32, seed=1)
    for c in ALL:
        grad = backward(c, x, g)[1]
        torch.testing.assert_close(grad, closed_form(c, x, g), rtol=0, atol=2e-6, msg=str(c))


@pytest.mark.parametrize("bits", range(2, 9))
def test_trust_is_a_move_of_at_most_half_a_step(bits: int) -> None:
    """QuEST's definition M = |q - y| <= T, away from the edges of its cells."""
    y = normal(64, 256)
    projection = uniform(bits).project(y, None)
    assert projection.limit is not None
    half_step = projection.limit / (2**bits - 1)
    mask = Trust().flow(y, projection)
    assert mask is not None
    moved = (projection.value - y).abs()
    clear = (moved - half_step).abs() > 1e-5
    assert torch.equal(mask[clear], (moved <= half_step)[clear])


def test_trust_masks_seven_in_a_thousand_normals_at_four_bits() -> None:
    y = normal(1024, 1024)
    mask = Trust().flow(y, uniform(4).project(y, None))
    assert mask is not None
    tail = 2 * torch.special.ndtr(torch.tensor(-optimal_clip(4) * 16 / 15, dtype=torch.float64))
    assert float(tail) == pytest.approx(0.0073, abs=1e-4)
    assert float((~mask).double().mean()) == pytest.approx(float(tail), abs=4e-4)


@pytest.mark.parametrize("gradient", GRADIENTS)
@pytest.mark.parametrize("mask", MASKS)
def test_all_ones_is_no_tensor(gradient: GradientEstimator, mask: BackwardMask) -> None:
    y = normal(2, 8)
    assert gradient.bind(8).flow(y, IdentityQuantizer().project(y, None)) is None
    assert mask.bind(8).mask(y, None) is None
    support = y > 0
    found = mask.mask(y, support)
    assert found is (None if isinstance(mask, FullMask) else support)


def test_saves_a_byte_per_value_for_backward() -> None:
    saved: list[Tensor] = []
    x = normal(4, 32).requires_grad_()
    c = compressor(quantizer=uniform(4), gradient=Trust())

    def keep(tensor: Tensor) -> Tensor:
        saved.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        c(x)
        assert [t.dtype for t in saved] == [torch.bool]
        saved.clear()
        compressor(quantizer=uniform(4))(x)
        assert saved == []


def test_the_projection_is_pure() -> None:
    x = normal(4, 32)
    before = x.clone()
    for c in ALL:
        assert torch.equal(c(x), c(x))
    assert torch.equal(x, before)


def test_bind_makes_a_copy_of_its_own() -> None:
    prototype = compressor(transform=Hadamard("auto", fold=True), quantizer=uniform(4))
    one, two = prototype.bind(64), prototype.bind(48)
    assert (one.transform.block, two.transform.block) == (64, 16)
    assert one.quantizer is not two.quantizer
    assert prototype.transform.block is None


def test_bind_refuses_what_does_not_fit() -> None:
    with pytest.raises(UsageError, match=r"multiples of 4"):
        compressor(sparsifier=SemiStructured(2, 4)).bind(6)


def test_has_no_state() -> None:
    for c in ALL:
        assert c.state_dict() == {}
        assert list(c.buffers()) == []


@pytest.mark.parametrize("clip_scale", [0.0, -1.0, float("nan")])
def test_refuses_a_clip_scale_that_is_not_positive(clip_scale: float) -> None:
    with pytest.raises(
        UsageError, match=r"clip_scale: got .*, allowed are positive numbers; 1 pas"
    ):
        Clip(clip_scale=clip_scale)
