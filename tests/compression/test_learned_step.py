"""Laws of LSQ, LSQ+ and PACT: their gradients, their state, their life in a layer."""

from __future__ import annotations

import dataclasses
from math import sqrt

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from unified_laws.cli.build import load_format
from unified_laws.cli.format_names import canonical_name
from unified_laws.cli.paths import config_dir
from unified_laws.compression.compressor import Compressor
from unified_laws.compression.gaussian import grid_mse
from unified_laws.compression.gmse import gmse, monte_carlo
from unified_laws.compression.gradient.learned_step import LearnedStep
from unified_laws.compression.gradient.trust import Trust
from unified_laws.compression.gradient.unclipped import Unclipped
from unified_laws.compression.linear import CompressedLinear
from unified_laws.compression.quantizer.learned import LearnedQuantizer
from unified_laws.compression.quantizer.lsq import Lsq
from unified_laws.compression.quantizer.lsq_plus import LsqPlus
from unified_laws.compression.quantizer.pact import Pact
from unified_laws.compression.sparsifier.magnitude import Magnitude
from unified_laws.compression.swap import swap_linears, unswap_linears
from unified_laws.errors import UsageError

from .builders import compressor, normal, uniform


def quantizers(bits: int = 3) -> list[LearnedQuantizer]:
    return [
        Lsq(bits, "gaussian"),
        Lsq(bits, "mean"),
        LsqPlus(bits, "gaussian"),
        LsqPlus(bits, "minmax"),
        Pact(bits, "gaussian"),
        Pact(bits, "absmax"),
    ]


def begun(quantizer: LearnedQuantizer, x: Tensor) -> Compressor:
    """Attached to x, then moved off its start, as training would."""
    own = compressor(quantizer=quantizer, gradient=Unclipped())
    own.attach(x, is_weight=True)
    with torch.no_grad():
        quantizer.factor.fill_(0.7)
        if quantizer.shift is not None:
            quantizer.shift.fill_(0.31)
    return own


def values_at(own: Compressor, x: Tensor, name: str, number: float) -> Tensor:
    """x̂ in double precision, with the rounding error of every value frozen at the present step."""
    quantizer = own.quantizer
    assert isinstance(quantizer, LearnedQuantizer)

    def position(factor: float, shift: float) -> tuple[Tensor, Tensor, Tensor]:
        step = quantizer.unit.double() * factor
        offset = quantizer.origin.double() + quantizer.unit.double() * shift
        return (x.double() - offset) / step, step, offset

    now = {
        "factor": quantizer.factor.item(),
        "shift": 0.0 if quantizer.shift is None else quantizer.shift.item(),
    }
    v, _, _ = position(**now)
    clipped = v.clamp(quantizer.low, quantizer.high)
    frozen = clipped.round() - clipped
    now[name] = number
    v, step, offset = position(**now)
    return (v.clamp(quantizer.low, quantizer.high) + frozen) * step + offset


@pytest.mark.parametrize(
    ("index", "name"),
    [(0, "factor"), (1, "factor"), (2, "factor"), (2, "shift"), (3, "factor"), (3, "shift")],
)
def test_the_gradient_of_lsq_is_the_difference_quotient(index: int, name: str) -> None:
    """Straight through the rounding: its error stays, clipping and scaling are differentiated."""
    quantizer = quantizers()[index]
    x, upstream = normal(16, 32), normal(16, 32, seed=1)
    own = begun(quantizer, x)
    parameter = getattr(quantizer, name)
    (own(x) * upstream).sum().backward()
    here, h = parameter.item(), 1e-6
    high = values_at(own, x, name, here + h)
    low = values_at(own, x, name, here - h)
    expected = ((high - low) / (2 * h) * upstream.double()).sum().item()
    assert parameter.grad is not None
    assert parameter.grad.item() == pytest.approx(expected, rel=2e-4)
    # Beyond the outermost levels nothing is rounded: the true function has this slope.
    assert torch.allclose(values_at(own, x, name, here).float(), own(x), atol=1e-6)


def test_the_gradient_of_pact_is_that_of_its_equation() -> None:
    quantizer = Pact(3, "gaussian")
    x, upstream = normal(16, 32), normal(16, 32, seed=1)
    own = begun(quantizer, x)
    alpha = float(quantizer.unit) * quantizer.high * 0.7
    w = x.clone().requires_grad_()
    (own(w) * upstream).sum().backward()
    outside = x.abs() >= alpha
    assert 0.05 < outside.float().mean() < 0.5
    assert w.grad is not None
    assert torch.equal(w.grad, torch.where(outside, 0.0, upstream))  # not inverted, as in QuEST
    expected = (upstream * x.sign())[outside].sum() * alpha / 0.7
    assert quantizer.factor.grad is not None
    assert quantizer.factor.grad.item() == pytest.approx(expected.item(), rel=1e-4)


@pytest.mark.parametrize("index", range(6))
def test_the_gradient_of_the_operand_stops_at_the_outermost_levels(index: int) -> None:
    quantizer = quantizers()[index]
    x = normal(16, 32)
    own = begun(quantizer, x)
    w = (2 * x).requires_grad_()
    own(w).sum().backward()
    values = own(w).detach()
    assert w.grad is not None
    extremes = (values == values.max()) | (values == values.min())
    assert (w.grad[~extremes] == 1).all()
    assert set(w.grad.flatten().tolist()) == {0.0, 1.0}
    assert 2 <= len(set(values.flatten().tolist())) <= 8


def test_the_scale_of_the_gradient_is_the_papers() -> None:
    x = normal(16, 32)
    plain, scaled = Lsq(4, "gaussian"), Lsq(4, "gaussian")
    for quantizer, gradient in ((plain, Unclipped()), (scaled, LearnedStep())):
        own = compressor(quantizer=quantizer, gradient=gradient)
        own.attach(x, is_weight=True)
        own(x).square().sum().backward()
    assert plain.factor.grad is not None
    assert scaled.factor.grad is not None
    ratio = (scaled.factor.grad / plain.factor.grad).item()
    assert ratio == pytest.approx(1 / sqrt(16 * 32 * 7), rel=1e-5)
    activation = compressor(quantizer=Lsq(4, "gaussian"), gradient=LearnedStep())
    activation.attach(x, is_weight=False)
    learned = activation.quantizer.project(x, None).learned[0]
    assert (learned.count, learned.levels) == (32, 7)  # features; whatever the batch


def test_first_steps() -> None:
    x = normal(64, 64) + 0.25
    step, offset = Lsq(4, "mean").start(x, None)
    assert step.item() == pytest.approx(2 * x.abs().mean().item() / sqrt(7))
    assert offset.item() == 0
    step, offset = LsqPlus(4, "minmax").start(x, None)
    assert (step * -8 + offset).item() == pytest.approx(x.min().item(), rel=1e-5)
    assert (step * 7 + offset).item() == pytest.approx(x.max().item(), rel=1e-5)
    step, _ = Pact(4, "absmax").start(x, None)
    assert (step * 7).item() == pytest.approx(x.abs().max().item())


@pytest.mark.parametrize("bits", range(2, 9))
def test_gmse_of_the_first_step(bits: int) -> None:
    for quantizer in (Lsq(bits, "gaussian"), LsqPlus(bits, "gaussian"), Pact(bits, "gaussian")):
        own = compressor(quantizer=quantizer)
        exact = gmse(own, samples=1, in_features=256, seed=0, block=1)
        assert exact.method == "quadrature"
        sampled = monte_carlo(own, samples=2**18, in_features=256, seed=0, block=2**15)
        assert sampled.value == pytest.approx(exact.value, rel=0.02)
        if isinstance(quantizer, Lsq):  # the step is the best one
            for factor in (0.99, 1.01):
                assert grid_mse(quantizer.indices * quantizer.ratio * factor) > exact.value
    mean = gmse(compressor(quantizer=Lsq(4, "mean")), samples=2**20, in_features=256, seed=0,
                block=2**15)  # fmt: skip
    assert mean.value == pytest.approx(0.0305, rel=0.02)  # methods.md 2.6


def test_lsq_plus_starts_as_the_mid_rise_grid_of_quest() -> None:
    exact = gmse(compressor(quantizer=LsqPlus(4, "gaussian")), samples=1, in_features=8, seed=0,
                 block=1)  # fmt: skip
    assert exact.value == pytest.approx(0.0115429, rel=1e-4)


@pytest.mark.parametrize("index", range(6))
def test_scaling_zeros_and_pruned_values(index: int) -> None:
    quantizer = quantizers()[index]
    x = normal(8, 64)
    own = compressor(sparsifier=Magnitude(0.5, "tensor"), quantizer=quantizer)
    assert torch.equal(own(2 * x), 2 * own(x))  # unattached, the step follows the operand
    assert torch.equal(own(torch.zeros(2, 8)), torch.zeros(2, 8))
    _, value, support = own.encoded(x)
    assert support is not None
    assert (value[~support] == 0).all()
    own(x).square().sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in own.parameters() if p.grad is not None)
    projection = quantizer.project(x, support)
    assert all((learned.slope[~support] == 0).all() for learned in projection.learned)


@pytest.mark.parametrize("name", ["lsq4", "lsqplus3_alsqplus4", "lsq4_pact4", "lsq3_sparse50"])
def test_state_survives_and_unswap_removes_it(name: str) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model, other = nn.Sequential(nn.Linear(32, 16)), nn.Sequential(nn.Linear(32, 16))
    weight = model[0].weight
    before = list(model.state_dict())
    random_state = torch.random.get_rng_state()
    swap_linears(model, load_format(name), within="")
    assert torch.equal(torch.random.get_rng_state(), random_state)
    layer = model[0]
    assert isinstance(layer, CompressedLinear)
    assert layer.weight is weight
    x = normal(5, 32)
    if layer.activation_compressor is not None:
        layer.activation_compressor.attach(x, is_weight=False)
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if key.endswith("factor"):
                parameter.fill_(0.8)
    swap_linears(other, load_format(name), within="")
    other.load_state_dict(model.state_dict())
    assert torch.equal(other(3 * x), model(3 * x))  # the step does not follow the operand any more
    added = set(model.state_dict()) - set(before)
    assert {key.rpartition(".")[2] for key in added} <= {
        "factor", "shift", "unit", "origin", "initialised"}  # fmt: skip
    assert all(model.state_dict()[k].item() for k in added if k.endswith("initialised"))
    unswap_linears(model)
    assert list(model.state_dict()) == before
    assert model[0].weight is weight


def test_a_meta_rehearsal_begins_nothing() -> None:
    with torch.device("meta"):
        model = nn.Sequential(nn.Linear(32, 16))
        swap_linears(model, load_format("lsq4_gmp50"), within="")
    layer = model[0]
    assert isinstance(layer, CompressedLinear)
    assert layer.weight_compressor is not None
    assert not layer.weight_compressor.quantizer.has_begun


@pytest.mark.parametrize(
    ("name", "canonical"),
    [
        ("alsq4_lsq4", "lsq4_alsq4"),
        ("pact4_lsq3", "lsq3_pact4"),
        ("sparse50_lsqplus4", "lsqplus4_sparse50"),
        ("alsqplus2", "alsqplus2"),
        ("int4_pact4", "int4_pact4"),
    ],
)
def test_names(name: str, canonical: str) -> None:
    assert canonical_name(name, config_dir()) == canonical
    assert load_format(name).name == canonical


def test_refusals() -> None:
    for bad in (1, 9, 2.0, True):
        with pytest.raises(UsageError, match=r"LSQ quantizer bits: got .*from 2 to 8"):
            Lsq(bad, "gaussian")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"PACT quantizer init: got 'mean', allowed are 'gauss"):
        Pact(4, "mean")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"Lsq: got the gradient Trust, allowed are learned_step"):
        compressor(quantizer=Lsq(4, "gaussian"), gradient=Trust())
    with pytest.raises(UsageError, match=r"learned_step: got the quantizer UniformQ"):
        compressor(quantizer=uniform(4), gradient=LearnedStep())


def test_unclipped_is_a_clip_on_other_grids() -> None:
    x = normal(4, 64).requires_grad_()
    own = compressor(quantizer=uniform(2), gradient=Unclipped())
    own(x).sum().backward()
    limit = own.quantizer.project(x.detach(), None).limit
    assert limit is not None
    assert x.grad is not None
    assert torch.equal(x.grad, (x.detach().abs() < limit).float())


def test_a_sign_change_of_the_factor_changes_nothing_but_its_gradient() -> None:
    x = normal(8, 32)
    own = begun(Lsq(4, "gaussian"), x)
    quantizer = own.quantizer
    assert isinstance(quantizer, Lsq)
    first = own(x)
    with torch.no_grad():
        quantizer.factor.neg_()
    assert torch.equal(own(x), first)
    with torch.no_grad():
        quantizer.factor.zero_()
    assert np.isfinite(own(x).detach().numpy()).all()


def test_two_layers_of_one_format_learn_apart() -> None:
    model = nn.Sequential(nn.Linear(32, 16), nn.Linear(16, 32))
    swap_linears(model, load_format("lsq4"), within="")
    factors = [p for key, p in model.named_parameters() if key.endswith("factor")]
    assert len(factors) == 2
    assert factors[0] is not factors[1]
    assert dataclasses.is_dataclass(load_format("lsq4"))
