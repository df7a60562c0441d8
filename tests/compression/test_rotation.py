"""Laws of random signs, the DCT, and of which side is rotated."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from scipy.fft import dct
from torch import Tensor, nn

from unified_laws.cli.build import load_format
from unified_laws.compression.compressor import Compressor
from unified_laws.compression.format import Format
from unified_laws.compression.gmse import gmse, monte_carlo
from unified_laws.compression.linear import CompressedLinear
from unified_laws.compression.transform.base import Transform
from unified_laws.compression.transform.dct import Dct
from unified_laws.compression.transform.hadamard import Hadamard, random_signs, sylvester
from unified_laws.compression.transform.identity import Identity
from unified_laws.errors import UsageError

from .builders import compressor, normal, uniform

NEW = (
    Hadamard("auto", False, signs=3),
    Hadamard(32, True, signs=0),
    Dct("auto", False),
    Dct(6, True),
)


@pytest.mark.parametrize("transform", NEW, ids=str)
def test_is_orthonormal_and_inverts(transform: Transform) -> None:
    x, t = normal(3, 5, 96), transform.bind(96)
    y = t.encode(x)
    torch.testing.assert_close(t.inverse(y), x, rtol=0, atol=3e-6)
    torch.testing.assert_close(t.decode(y), y if t.folded else x, rtol=0, atol=3e-6)
    torch.testing.assert_close(y.square().sum(-1), x.square().sum(-1))
    assert t.is_orthonormal
    assert not t.is_identity
    assert torch.equal(transform.encode(x), y)  # bound or not


@pytest.mark.parametrize("transform", NEW, ids=str)
def test_works_within_blocks_only(transform: Transform) -> None:
    t = transform.bind(96)
    assert t.block is not None
    x = torch.zeros(1, 96)
    x[0, 95] = 1.0
    y = t.encode(x)[0]
    assert (y[: 96 - t.block] == 0).all()
    assert (y[96 - t.block :] != 0).any()


@pytest.mark.parametrize("block", [1, 2, 3, 8, 100])
def test_dct_is_that_of_scipy(block: int) -> None:
    x = normal(7, block)
    expected = torch.from_numpy(dct(x.double().numpy(), type=2, norm="ortho", axis=-1))
    torch.testing.assert_close(
        Dct(block, fold=False).encode(x).double(), expected, atol=1e-5, rtol=0
    )


@pytest.mark.parametrize(("width", "block"), [(640, 128), (96, 96), (7, 7), (254, 127), (131, 1)])
def test_dct_auto_is_the_largest_divisor_up_to_128(width: int, block: int) -> None:
    assert Dct("auto", fold=False).bind(width).block == block


def test_signs_are_fair_and_depend_on_the_seed_alone() -> None:
    signs = random_signs(4096, 0)
    assert set(signs.tolist()) == {-1.0, 1.0}
    assert abs(float(signs.mean())) < 4 / 64
    state = torch.random.get_rng_state()
    assert torch.equal(signs, random_signs(4096, 0))
    assert torch.equal(state, torch.random.get_rng_state())
    assert abs(float((signs * random_signs(4096, 1)).mean())) < 4 / 64
    with torch.device("meta"):
        bound = Hadamard("auto", False, signs=0).bind(64)
    assert bound.encode(torch.ones(1, 64)).device.type == "cpu"


def test_signs_come_before_the_rotation() -> None:
    x, s, h = normal(4, 64), random_signs(64, 5), sylvester(64, torch.device("cpu"), torch.float32)
    torch.testing.assert_close(Hadamard(64, False, signs=5).encode(x), (x * s) @ h)


def test_signs_after_the_rotation_would_change_nothing() -> None:
    """The tagged bug of Quartet-II: x·(H·diag(s)) flips columns, and the grid is symmetric."""
    x, s = normal(16, 128), random_signs(128, 0)
    h = Hadamard(128, fold=False)
    quantizer = uniform(3)
    plain = h.inverse(quantizer.project(h.encode(x), None).value)
    after = h.inverse(quantizer.project(h.encode(x) * s, None).value * s)
    before = compressor(transform=Hadamard(128, False, signs=0), quantizer=quantizer)(x)
    assert torch.equal(after, plain)
    assert (before - plain).square().mean() > 0.01 * plain.square().mean()


def test_signs_spread_what_the_rotation_would_concentrate() -> None:
    """A constant row is one Hadamard coefficient; behind signs it is like any other."""
    x = torch.ones(8, 128)
    plain = Hadamard(128, fold=False).encode(x)
    signed = Hadamard(128, False, signs=0).encode(x)
    assert float(plain.abs().amax()) == pytest.approx(128**0.5)
    assert float(signed.abs().amax()) < 4.5


@pytest.mark.parametrize("transform", [Hadamard(32, True, signs=1), Dct(24, True)], ids=str)
def test_folding_both_operands_leaves_the_product(transform: Transform) -> None:
    t = transform.bind(96)
    x, w = normal(9, 96), normal(11, 96, seed=1)
    torch.testing.assert_close(t.encode(x) @ t.encode(w).T, x @ w.T, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("one", "two"),
    [
        (Hadamard(32, True, signs=1), Hadamard(32, True)),
        (Hadamard(32, True, signs=1), Hadamard(32, True, signs=2)),
        (Hadamard(32, True), Dct(32, True)),
    ],
    ids=str,
)
def test_refuses_to_fold_different_bases(one: Transform, two: Transform) -> None:
    with pytest.raises(UsageError, match=r"got folded bases .* allowed is one basis for both"):
        Format("f", compressor(one), compressor(two)).bind(64)
    Format("f", compressor(one), compressor(one)).bind(64)


@pytest.mark.parametrize("transform", NEW, ids=str)
def test_gmse_is_that_without_rotation(transform: Transform) -> None:
    c = compressor(transform=transform, quantizer=uniform(4))
    plain = gmse(c, samples=2**16, in_features=96, seed=0, block=2**13)
    assert plain.method == "quadrature"
    assert plain.value == pytest.approx(0.0115429, rel=2e-5)
    rows = 960  # long rows: the RMS of 96 values is not exactly 1
    found = monte_carlo(c, samples=2**19, in_features=rows, seed=0, block=2**16)
    assert found.value == pytest.approx(plain.value, abs=4 * found.stderr + 0.003 * plain.value)


# torch 2.13 warns of its own use of autograd.Function while tracing one.
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
@pytest.mark.parametrize("transform", NEW, ids=str)
def test_a_compiled_graph_is_whole_and_bit_equal(transform: Transform) -> None:
    linear, x = nn.Linear(96, 16), normal(8, 96)
    c = compressor(transform=transform, quantizer=uniform(4))
    layer = CompressedLinear.from_linear(linear, Format("f", c, c))
    torch.compiler.reset()
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)

    def run(forward: Callable[[Tensor], Tensor]) -> tuple[Tensor, ...]:
        out = forward(x)
        return (out, *torch.autograd.grad(out.square().sum(), linear.weight))

    for found, wanted in zip(run(compiled), run(layer), strict=True):
        assert torch.equal(found, wanted)
    assert layer.state_dict().keys() == linear.state_dict().keys()


def weight_of(name: str) -> Compressor:
    weight = load_format(name).weight
    assert weight is not None
    return weight


def test_names_say_what_is_rotated() -> None:
    x = normal(8, 128)
    assert weight_of("int4_signs").transform.basis != weight_of("int4").transform.basis
    assert isinstance(weight_of("int4_dct").transform, Dct)
    assert isinstance(weight_of("int4_unrotated").transform, Identity)
    assert weight_of("int4_fold").transform.folded
    assert weight_of("vq2x256_fold").transform.folded
    assert load_format("int4_fold").activation is None
    values = [
        weight_of(n).bind(128)(x) for n in ("int4", "int4_signs", "int4_dct", "int4_unrotated")
    ]
    for i, value in enumerate(values):
        assert all(not torch.equal(value, other) for other in values[:i])
    for part in ("fold", "signs", "dct", "unrotated"):
        format = load_format(f"w4a4_{part}")
        assert format.weight is not None
        assert format.activation is not None
        assert format.weight.transform.basis == format.activation.transform.basis
        assert format.weight.transform.folded == format.activation.transform.folded
        format.bind(128)


def test_folding_both_is_rotating_both_back() -> None:
    linear, x = nn.Linear(128, 16), normal(4, 128)
    one, two = (
        CompressedLinear.from_linear(linear, load_format(name)) for name in ("w4a4", "w4a4_fold")
    )
    torch.testing.assert_close(one(x), two(x), rtol=0, atol=1e-5)
    three = CompressedLinear.from_linear(linear, load_format("int4_fold"))
    assert not torch.allclose(three(x), one(x), atol=0.1)  # one side: another layer


@pytest.mark.parametrize("name", ["signs", "fold", "dct", "unrotated", "dct_signs"])
def test_a_change_without_a_format_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match=r"changes stages without having any; put it behind"):
        load_format(name)


def test_refuses_what_means_nothing() -> None:
    for signs in (-1, 1.5, True, "yes"):
        with pytest.raises(UsageError, match=r"Hadamard signs: got .*, allowed are null"):
            Hadamard("auto", False, signs=signs)  # type: ignore[arg-type]
    for block in (0, -1, 2.0, True, "full"):
        with pytest.raises(UsageError, match=r"DCT block: got .*'auto'"):
            Dct(block, fold=False)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"DCT block 5: got in_features 96, allowed are multiples"):
        Dct(5, fold=False).bind(96)
    with pytest.raises(UsageError, match=r"signs"):
        load_format("int4_dct_signs")
