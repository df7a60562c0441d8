"""What every format keeps, found by globbing the registry: files, examples of families, the list.

Stages that draw random numbers at every call are the one documented exemption (`draws`): their seed
depends on the bits of the operand, so they commute with nothing and are no constant of a graph.
"""

from __future__ import annotations

import copy
import math
from functools import cache

import pytest
import torch
from torch import Tensor, nn

from unified_laws.cli.build import load_format
from unified_laws.cli.paths import config_dir
from unified_laws.cli.registry import registry_names
from unified_laws.compression.backward_mask.forward import ForwardMask
from unified_laws.compression.backward_mask.full import FullMask
from unified_laws.compression.compressor import Compressor
from unified_laws.compression.gmse import gmse, monte_carlo
from unified_laws.compression.gradient.clip import Clip
from unified_laws.compression.gradient.straight_through import StraightThrough
from unified_laws.compression.gradient.trust import Trust
from unified_laws.compression.linear import CompressedLinear
from unified_laws.compression.random_source import rewound, sources
from unified_laws.compression.swap import swap_linears, unswap_linears

from .builders import Decoder, normal

NAMES = registry_names(config_dir())
WIDTH = 256
ROWS = 24
every = pytest.mark.parametrize("name", NAMES)


@cache
def operands(name: str) -> dict[str, Compressor]:
    """The compressors of a format, not bound; tests bind copies of their own."""
    format = load_format(name)
    both = {"weight": format.weight, "activation": format.activation}
    return {operand: c for operand, c in both.items() if c is not None}


def bound(name: str, width: int = WIDTH) -> list[Compressor]:
    return [c.bind(width) for c in operands(name).values()]


def draws(c: nn.Module) -> bool:
    """Whether a stage draws random numbers at every call."""
    return bool(sources(c))


def is_dynamic(c: Compressor) -> bool:
    """Whether every scale follows the operand."""
    return getattr(c.quantizer, "scale", None) != "static"


def model_of(name: str, seed: int = 0) -> Decoder:
    """A small model in the format; learned activations have seen their first input."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Decoder(width=128, hidden=256)
    swap_linears(model, load_format(name))
    for layer in model.modules():
        if isinstance(layer, CompressedLinear) and layer.activation_compressor is not None:
            first = normal(8, layer.in_features, seed=seed)
            layer.activation_compressor.attach(first, is_weight=False)
    return model


TOKENS = torch.arange(10).reshape(2, 5)


@every
def test_shape_dtype_and_finiteness(name: str) -> None:
    x = normal(2, ROWS, WIDTH)
    x[0, 1] = 0.0  # a row, and a block of every size up to half a row
    x[1, 0, : WIDTH // 2] = 0.0
    for operand, prototype in operands(name).items():
        c = prototype.bind(WIDTH)
        given = x if operand == "activation" else x.flatten(0, 1)  # weights are matrices
        for dtype in (torch.float32, torch.bfloat16):
            out = c(given.to(dtype))
            assert out.shape == given.shape
            assert out.dtype == dtype
            assert out.isfinite().all()


@every
def test_zeros_stay_zeros(name: str) -> None:
    for c in bound(name):
        out = c(torch.zeros(4, WIDTH, requires_grad=True))
        assert (out == 0).all() or not is_dynamic(c)


@every
def test_what_does_nothing_is_bitwise_identity_both_ways(name: str) -> None:
    for c in bound(name):
        x = normal(ROWS, WIDTH)
        assert c.is_identity == (c(x) is x)
        assert not c.is_identity, "a format that names an operand compresses it"
    if not operands(name):
        plain, layer = nn.Linear(WIDTH, 8), nn.Linear(WIDTH, 8)
        layer.load_state_dict(plain.state_dict())
        swapped = CompressedLinear.from_linear(layer, load_format(name))
        assert torch.equal(swapped(normal(ROWS, WIDTH)), plain(normal(ROWS, WIDTH)))
        for module in (plain, swapped):
            module(normal(ROWS, WIDTH)).square().sum().backward()
        assert plain.weight.grad is not None
        assert swapped.weight.grad is not None
        assert torch.equal(plain.weight.grad, swapped.weight.grad)


@every
def test_pruned_values_are_exactly_zero_in_the_basis_where_they_were_pruned(name: str) -> None:
    for c in bound(name):
        y, value, support = c.encoded(normal(ROWS, WIDTH))
        assert (support is None) == c.sparsifier.is_identity
        if support is None:
            continue
        assert support.dtype == torch.bool
        assert (value[~support] == 0).all()
        assert support.double().mean().item() == pytest.approx(
            c.sparsifier.kept_fraction, abs=0.5 / math.sqrt(y.numel())
        )
        if c.quantizer.is_identity:
            assert torch.equal(value[support], y[support])


@every
def test_no_more_levels_than_bits_allow_in_each_scope_of_a_scale(name: str) -> None:
    for c in bound(name):
        quantizer = c.quantizer
        dimension = int(getattr(quantizer, "dimension", 1))
        levels = 2 ** (quantizer.bits * dimension)
        most = round(levels)
        if quantizer.is_identity or abs(levels - most) > 1e-6:
            continue  # noise, or outliers in high precision: bits of no whole number of levels
        _, value, support = c.encoded(normal(ROWS, WIDTH))
        if dimension > 1 and support is not None:
            continue  # the zeros of pruned values split the codes
        scaling = getattr(quantizer, "scaling", None)
        rows = scaling.split(value).flatten(0, -2) if scaling is not None else value.flatten()[None]
        kept = None if support is None else support.reshape(rows.shape)
        if scaling is not None and scaling.scope == "tensor":
            rows, kept = rows.flatten()[None], None if kept is None else kept.flatten()[None]
        for i, row in enumerate(rows):
            chosen = row if kept is None else row[kept[i]]
            assert len(chosen.reshape(-1, dimension).unique(dim=0)) <= most


@every
def test_commutes_with_powers_of_two(name: str) -> None:
    x = normal(ROWS, WIDTH)
    x[3] = 0.0
    for c in bound(name):
        if draws(c) or not is_dynamic(c):
            continue
        for factor in (2.0, 2.0**-16, 2.0**16):
            assert torch.equal(c(factor * x), factor * c(x))


@every
def test_is_pure_and_the_same_in_evaluation(name: str) -> None:
    x = normal(ROWS, WIDTH)
    before = x.clone()
    for c in bound(name):
        first = copy.deepcopy(c).train()(x)
        assert torch.equal(copy.deepcopy(c).eval()(x), first)
        with torch.inference_mode():
            assert torch.equal(copy.deepcopy(c)(x), first)
        assert draws(c) or torch.equal(c(x), c(x))
        assert not torch.equal(first, x)
    assert torch.equal(x, before)


def multiplier(c: Compressor, y: Tensor) -> Tensor:
    """The gradient's mask in closed form; that of masks with their own tests, from the stage."""
    support = c.sparsifier.support(y)
    projection = c.quantizer.project(y, support)
    mask = torch.ones_like(y)
    if isinstance(c.backward_mask, ForwardMask):
        mask *= 1.0 if support is None else support
    elif not isinstance(c.backward_mask, FullMask):
        chosen = c.backward_mask.mask(y, support)
        mask *= 1.0 if chosen is None else chosen
    if isinstance(c.gradient, Trust):
        mask *= 1.0 if projection.reach is None else y.abs() <= projection.reach
    elif isinstance(c.gradient, Clip):
        inside = projection.limit is None or y.abs() <= c.gradient.clip_scale * projection.limit
        mask *= inside
    elif not isinstance(c.gradient, StraightThrough):
        flow = c.gradient.flow(y, projection)
        mask *= 1.0 if flow is None else flow
    return mask


@every
def test_the_gradient_is_finite_and_its_closed_form(name: str) -> None:
    g = normal(ROWS, WIDTH, seed=1)
    for c in bound(name):
        x = normal(ROWS, WIDTH).requires_grad_()
        c.attach(x.detach(), is_weight=True)
        twin = copy.deepcopy(c)
        c(x).backward(g)
        assert x.grad is not None
        assert x.grad.isfinite().all()
        y = twin.transform.encode(x)
        z = y.detach().requires_grad_()
        (above,) = torch.autograd.grad(twin.transform.decode(z), z, g)
        (expected,) = torch.autograd.grad(y, x, above * multiplier(twin, y.detach()))
        torch.testing.assert_close(x.grad, expected, rtol=0, atol=1e-5)
        for parameter in c.parameters():
            assert parameter.grad is not None
            assert parameter.grad.isfinite().all()


@every
def test_the_state_goes_round_and_unswap_restores(name: str) -> None:
    model, other = model_of(name), model_of(name, seed=1)
    other.load_state_dict(copy.deepcopy(model.state_dict()))
    with rewound(model):
        out = model(TOKENS)
    assert torch.equal(copy.deepcopy(other)(TOKENS), out)
    loaded = dict(other.state_dict())
    assert all(torch.equal(value, loaded[key]) for key, value in model.state_dict().items())
    parameters = {k: p for k, p in model.named_parameters() if "compressor" not in k}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        plain = Decoder(width=128, hidden=256)
    unswap_linears(model)
    assert repr(model) == repr(plain)
    assert torch.equal(model(TOKENS), plain(TOKENS))
    assert all(p is parameters[k] for k, p in model.named_parameters())
    assert not operands(name) or not torch.equal(out, plain(TOKENS))


@every
def test_the_gmse_is_what_is_drawn(name: str) -> None:
    """Rows are wide, since a quadrature is the limit of wide ones; else two draws agree."""
    width = 2**12
    for c in operands(name).values():
        found = gmse(c, samples=2**17, in_features=width, seed=0, block=2**12)
        drawn = monte_carlo(c, samples=2**18, in_features=width, seed=1, block=2**13)
        assert 0 < drawn.value < 1 + 4 * drawn.stderr
        allowed = 4 * math.hypot(drawn.stderr, found.stderr) + 1e-11  # rounding of float32
        assert abs(found.value - drawn.value) < allowed, (found, drawn)


# papers.md section 9 and methods.md section 5: computed there, independently of this package.
PUBLISHED = {
    "int1": 0.363380,
    "int4": 0.0115429,
    "lloyd2": 0.117482,
    "lloyd3": 0.0345478,
    "lloyd4": 0.00950101,
    "tread3": 0.0468600,
    "tread8": 8.8308e-5,
    "ternary": 0.190174,
    "e2m1": 0.0126849,
    "e3m2": 0.00276611,
    "e2m3": 8.2915e-4,
    "e4m1": 0.0106392,
    "e4m3": 6.9880e-4,
    "e5m2": 0.00276587,
    "e3m4": 1.7520e-4,
    "e2m5": 5.4121e-5,
    "e6m1": 0.0106392,
    "sparse10": 0.000525,
    "sparse62.5": 0.147433,
    "sparse90": 0.560714,
    "sparse2of4": 0.13240,
    "sparse4of8": 0.10329,
    "absmax4_g32": 0.009397,
    "absmax4_g128": 0.013729,
    "mxfp4": 0.01323,
    "nvfp4": 0.00904,
}


@pytest.mark.parametrize("name", [name for name in PUBLISHED if name in NAMES])
def test_the_gmse_is_the_published_one(name: str) -> None:
    found = gmse(operands(name)["weight"], samples=2**20, in_features=1024, seed=0, block=2**18)
    tolerance = 6e-3 if found.stderr else 1e-3
    assert found.value == pytest.approx(PUBLISHED[name], rel=tolerance)


def mechanisms() -> list[str]:
    """The first format of each class of sparsifier, mask, quantizer, gradient and transform."""
    seen: set[type] = set()
    chosen = []
    for name in NAMES:
        stages = {type(s) for c in operands(name).values() for s in c.children()}
        if not stages <= seen:
            chosen.append(name)
        seen |= stages
    return chosen


def compare_traced(name: str, backend: str) -> None:
    """Forward and gradients of a compiled layer, in one graph, against eager ones."""
    layer = model_of(name).blocks[0]
    twin = copy.deepcopy(layer)
    x = normal(4, 128)
    torch.compiler.reset()
    traced = torch.compile(twin, backend=backend, fullgraph=True)
    with torch.no_grad():
        assert backend != "aot_eager" or torch.equal(traced(x), layer(x))
    expected, found = layer(x), traced(x)
    expected.square().sum().backward()
    found.square().sum().backward()
    pairs = zip(layer.parameters(), twin.parameters(), strict=True)
    gradients = [(p.grad, q.grad) for p, q in pairs if p.grad is not None]
    for wanted, got in [(expected, found), *gradients]:
        assert got is not None
        if backend == "aot_eager":
            assert torch.equal(wanted, got)
        else:  # sums in another order, which moves a value at the edge of a cell to the next
            assert (wanted - got).norm() <= 1e-2 * wanted.norm()


# torch 2.13 warns of its own use of autograd.Function while tracing one.
compiled = pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
TRACEABLE = [name for name in NAMES if not any(draws(c) for c in operands(name).values())]


@compiled
@pytest.mark.parametrize("name", ["w4a4_sparse50"])
def test_traces_to_one_graph(name: str) -> None:
    compare_traced(name, "aot_eager")


@pytest.mark.slow
@compiled
@pytest.mark.parametrize("name", TRACEABLE)
def test_every_format_traces_to_one_graph(name: str) -> None:
    compare_traced(name, "aot_eager")


@pytest.mark.slow
@compiled
# torch's own inductor still calls a helper that torch has deprecated.
@pytest.mark.filterwarnings("ignore:.*torch.jit.script_method.*:DeprecationWarning")
@pytest.mark.parametrize("name", [name for name in mechanisms() if name in TRACEABLE])
def test_every_mechanism_compiles(name: str) -> None:
    compare_traced(name, "inductor")
