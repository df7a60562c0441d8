"""Laws of the learnable block-diagonal factor and of folding it away."""

from __future__ import annotations

from typing import Literal

import pytest
import torch
from torch import Tensor, nn

from unified_laws.cli.build import load_format
from unified_laws.compression.fold import fold_linears
from unified_laws.compression.format import Format
from unified_laws.compression.gmse import gmse
from unified_laws.compression.linear import CompressedLinear
from unified_laws.compression.storage import bits_per_weight
from unified_laws.compression.swap import swap_linears, unswap_linears
from unified_laws.compression.transform.hadamard import Hadamard, sylvester
from unified_laws.compression.transform.overparam import Overparam
from unified_laws.errors import UsageError

from .builders import Decoder, compressor, decoder, normal, uniform

Side = Literal["output", "input"]
SIDES: tuple[Side, ...] = ("output", "input")
TOKENS = torch.tensor([[1, 2, 3, 4, 5], [6, 7, 8, 9, 10]])


def overparam(side: Side, bits: int | None = None) -> Format:
    quantizer = None if bits is None else uniform(bits)
    return Format("o", compressor(Overparam("auto", side), quantizer=quantizer), None)


def matrix_of(layer: CompressedLinear) -> nn.Parameter:
    assert layer.weight_compressor is not None
    transform = layer.weight_compressor.transform
    assert isinstance(transform, Overparam)
    assert transform.matrix is not None
    return transform.matrix


def block_diag(*blocks: Tensor) -> Tensor:
    found: Tensor = torch.block_diag(*blocks)  # type: ignore[no-untyped-call]
    return found


def perturb(model: nn.Module) -> None:
    """As training would: R leaves the orthonormal matrices."""
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("transform.matrix"):
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))


@pytest.mark.parametrize(("side", "blocks"), [("output", 3), ("input", 2)])
def test_starts_as_hadamard_of_128(side: Side, blocks: int) -> None:
    layer = CompressedLinear.from_linear(nn.Linear(256, 384), overparam(side))
    matrix = matrix_of(layer)
    assert matrix.shape == (blocks, 128, 128)
    h = sylvester(128, torch.device("cpu"), torch.float32)
    assert all(torch.equal(block, h) for block in matrix)
    assert layer.block == 128
    assert dict(layer.named_parameters())["weight_compressor.transform.matrix"] is matrix


@pytest.mark.parametrize("side", SIDES)
def test_is_the_dense_product(side: Side) -> None:
    """R·W for the output side, W·Rᵀ for the input side, with R = diag of its blocks."""
    linear, x = nn.Linear(48, 96), normal(5, 48)
    layer = CompressedLinear.from_linear(linear, overparam(side))
    perturb(layer)
    r = block_diag(*matrix_of(layer))
    effective = r @ linear.weight if side == "output" else linear.weight @ r.T
    torch.testing.assert_close(layer(x), x @ effective.T + linear.bias, atol=1e-5, rtol=1e-5)


def test_the_input_side_starts_as_the_folded_hadamard() -> None:
    linear, x = nn.Linear(64, 48), normal(5, 64)
    one = CompressedLinear.from_linear(linear, overparam("input", bits=4))
    c = compressor(Hadamard("auto", fold=True), quantizer=uniform(4))
    two = CompressedLinear.from_linear(linear, Format("h", c, None))
    torch.testing.assert_close(one(x), two(x), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("bits", [None, 4])
def test_gradients_are_those_of_the_product(side: Side, bits: int | None) -> None:
    linear, x, dy = nn.Linear(48, 32, bias=False), normal(5, 48), normal(5, 32, seed=1)
    layer = CompressedLinear.from_linear(linear, overparam(side, bits))
    perturb(layer)
    matrix = matrix_of(layer)
    layer(x).backward(dy)
    blocks = [block.detach().requires_grad_() for block in matrix]
    weight = linear.weight.detach().requires_grad_()
    r = block_diag(*blocks)
    effective = r @ weight if side == "output" else weight @ r.T
    # straight through the grid
    effective.backward(dy.T @ x)  # type: ignore[no-untyped-call]
    torch.testing.assert_close(linear.weight.grad, weight.grad, atol=1e-4, rtol=1e-4)
    assert matrix.grad is not None
    for found, block in zip(matrix.grad, blocks, strict=True):
        torch.testing.assert_close(found, block.grad, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("bits", [None, 4])
def test_folds_into_exactly_the_plain_model(side: Side, bits: int | None) -> None:
    model, plain = decoder(), decoder()
    swap_linears(model, overparam(side, bits))
    perturb(model)
    before = model(TOKENS)
    fold_linears(model)
    torch.testing.assert_close(model(TOKENS), before, rtol=0, atol=1e-5)
    assert {k: p.shape for k, p in model.named_parameters()} == {
        k: p.shape for k, p in plain.named_parameters()
    }
    assert type(model.get_submodule("blocks.0.up")) is nn.Linear
    assert not any(isinstance(m, CompressedLinear) for m in model.modules())
    Decoder().load_state_dict(model.state_dict())


def test_folding_is_what_any_weight_format_multiplies_with() -> None:
    for name in ("int4", "int4_fold", "sparse50", "vq2x16"):
        model = decoder()
        swap_linears(model, load_format(name))
        before = model(TOKENS)
        fold_linears(model)
        assert torch.equal(model(TOKENS), before)
    model = decoder()
    model.blocks.append(model.blocks[0])
    swap_linears(model, load_format("int4"))
    fold_linears(model)
    assert model.get_submodule("blocks.2.up") is model.get_submodule("blocks.0.up")


def test_folding_refuses_compressed_activations() -> None:
    model = decoder()
    swap_linears(model, load_format("w4a4"))
    with pytest.raises(UsageError, match=r"fold of layer blocks.0.up: got format w4a4, which comp"):
        fold_linears(model)
    assert isinstance(model.get_submodule("blocks.0.up"), CompressedLinear)


def test_state_round_trips_and_unswapping_restores_the_model() -> None:
    model, other, plain = decoder(), decoder(seed=1), decoder()
    for each in (model, other):
        swap_linears(each, overparam("output"))
    perturb(model)
    other.load_state_dict(model.state_dict())
    assert torch.equal(other(TOKENS), model(TOKENS))
    unswap_linears(model)
    assert torch.equal(model(TOKENS), plain(TOKENS))
    assert model.state_dict().keys() == plain.state_dict().keys()


def test_training_moves_both_and_lowers_the_loss() -> None:
    model = decoder()
    swap_linears(model, overparam("output"))
    start = {k: p.detach().clone() for k, p in model.named_parameters()}
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    losses: list[float] = []
    for _ in range(20):
        loss = nn.functional.cross_entropy(model(TOKENS).flatten(0, 1), TOKENS.flatten())
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0]
    moved = [k for k, p in model.named_parameters() if not torch.equal(p, start[k])]
    assert sum(k.endswith("transform.matrix") for k in moved) == 4
    matrix = matrix_of(model.get_submodule("blocks.0.up"))  # type: ignore[arg-type]
    assert (matrix[0] @ matrix[0].T - torch.eye(32)).abs().max() > 1e-3


def test_two_layers_share_no_factor() -> None:
    model = decoder()
    swap_linears(model, overparam("input"))
    factors = [p for k, p in model.named_parameters() if k.endswith("matrix")]
    assert len({id(p) for p in factors}) == len(factors) == 4


def test_the_projected_weight_is_in_the_basis_of_the_master() -> None:
    linear = nn.Linear(64, 32)
    layer = CompressedLinear.from_linear(linear, overparam("output"))
    perturb(layer)
    torch.testing.assert_close(layer.projected_weight(), linear.weight, atol=1e-4, rtol=1e-3)


def test_costs_nothing_to_store_and_loses_nothing() -> None:
    weight = load_format("overparam").weight
    assert weight is not None
    assert bits_per_weight(weight) == 16
    estimate = gmse(weight, samples=2**14, in_features=128, seed=0, block=2**13)
    assert estimate.value == 0


# torch 2.13 warns of its own use of autograd.Function while tracing one.
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
@pytest.mark.parametrize("bits", [None, 4])
def test_a_compiled_graph_is_whole_and_bit_equal(bits: int | None) -> None:
    layer, x = (
        CompressedLinear.from_linear(nn.Linear(64, 32), overparam("output", bits)),
        normal(4, 64),
    )
    torch.compiler.reset()
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)

    def run(out: Tensor) -> tuple[Tensor, ...]:
        return (out, *torch.autograd.grad(out.square().sum(), [layer.weight, matrix_of(layer)]))

    for found, wanted in zip(run(compiled(x)), run(layer(x)), strict=True):
        assert torch.equal(found, wanted)


def test_refuses_what_does_not_fit() -> None:
    with pytest.raises(UsageError, match=r"overparam block: got 3, allowed is a power of two"):
        Overparam(3, "output")
    with pytest.raises(UsageError, match=r"overparam side: got 'left', allowed are"):
        Overparam("auto", "left")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"block 32 on the input side: got width 48, allowed are"):
        Overparam(32, "input").bind(48)
    c = compressor(Overparam(32, "output"))
    with pytest.raises(UsageError, match=r"block 32 on the output side: got width 48"):
        CompressedLinear.from_linear(nn.Linear(64, 48), Format("o", c, None))
    layer = CompressedLinear.from_linear(nn.Linear(64, 48), Format("o", None, c))
    with pytest.raises(UsageError, match=r"overparam transform: got"):
        layer(normal(2, 3, 64))
