"""Laws of compressed linear layers and of swapping them in and out."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from unified_laws.compression.format import Format, matches
from unified_laws.compression.gradient.trust import Trust
from unified_laws.compression.linear import CompressedLinear
from unified_laws.compression.sparsifier.magnitude import Magnitude
from unified_laws.compression.sparsifier.semi_structured import SemiStructured
from unified_laws.compression.swap import Skipped, Swapped, swap_linears, unswap_linears
from unified_laws.compression.transform.hadamard import Hadamard
from unified_laws.errors import UsageError

from .builders import Decoder, compressor, decoder, normal, uniform

BASELINE = Format(name="baseline", weight=None, activation=None)
DENSE = Format(name="dense", weight=compressor(), activation=compressor())
MIX = Format(
    name="mix",
    weight=compressor(
        transform=Hadamard("auto", fold=True),
        sparsifier=SemiStructured(2, 4),
        quantizer=uniform(4),
        gradient=Trust(),
    ),
    activation=compressor(
        transform=Hadamard("auto", fold=True), quantizer=uniform(4), gradient=Trust()
    ),
)
TOKENS = torch.arange(10).reshape(2, 5)


def gradients(model: nn.Module, logits: torch.Tensor) -> list[torch.Tensor]:
    model.zero_grad()
    logits.square().sum().backward()  # type: ignore[no-untyped-call]
    found = [p.grad.clone() for p in model.parameters() if p.grad is not None]
    assert len(found) == len(list(model.parameters()))
    return found


@pytest.mark.parametrize("format", [BASELINE, DENSE])
def test_a_dense_swap_changes_no_bit(format: Format) -> None:
    model = decoder()
    logits = model(TOKENS)
    expected = gradients(model, logits)
    swap_linears(model, format)
    swapped = model(TOKENS)
    assert torch.equal(swapped, logits)
    assert all(map(torch.equal, gradients(model, swapped), expected))


def test_reports_what_was_swapped_and_why_not() -> None:
    report = swap_linears(decoder(), MIX)
    assert report.swapped == (
        Swapped("blocks.0.up", 48, 96, 16),
        Swapped("blocks.0.down", 96, 48, 32),
        Swapped("blocks.1.up", 48, 96, 16),
        Swapped("blocks.1.down", 96, 48, 32),
    )
    assert report.skipped == (
        Skipped("embedding", "an embedding, not a linear layer"),
        Skipped("head", "outside blocks"),
    )


def test_targets_and_ignore_choose_layers() -> None:
    weight = compressor(quantizer=uniform(4))
    chosen = Format("some", weight, None, targets=("blocks.*.up", "blocks.1"), ignore=("*.1.up",))
    report = swap_linears(decoder(), chosen, ignore=("blocks.0",), within="")
    assert [layer.fqn for layer in report.swapped] == ["blocks.1.down"]
    assert dict(report.skipped) == {
        "embedding": "an embedding, not a linear layer",
        "blocks.0.up": "ignored by the caller",
        "blocks.0.down": "ignored by the caller",
        "blocks.1.up": "ignored by format some",
        "head": "not a target of format some",
    }


def test_patterns_cover_what_is_below_but_not_namesakes() -> None:
    assert matches("blocks.1.up", ("blocks.1",))
    assert not matches("blocks.10.up", ("blocks.1",))
    assert matches("blocks.10.up", ("*",))


def test_shares_parameters_and_keeps_the_state_dict() -> None:
    model = decoder()
    parameters, state = dict(model.named_parameters()), copy.deepcopy(model.state_dict())
    random_state = torch.random.get_rng_state()
    swap_linears(model, MIX)
    assert torch.equal(torch.random.get_rng_state(), random_state)
    assert list(model.state_dict()) == list(state)
    assert all(p is parameters[name] for name, p in model.named_parameters())
    other = decoder(seed=1)
    swap_linears(other, MIX)
    other.load_state_dict(state)
    assert torch.equal(other(TOKENS), model(TOKENS))


def test_unswap_restores_the_plain_model() -> None:
    model = decoder().eval()
    logits, parameters = model(TOKENS), dict(model.named_parameters())
    text = repr(model)
    swap_linears(model, MIX)
    assert not torch.equal(model(TOKENS), logits)
    unswap_linears(model)
    assert repr(model) == text
    assert torch.equal(model(TOKENS), logits)
    assert all(p is parameters[name] for name, p in model.named_parameters())
    assert all(type(m) is not CompressedLinear and not m.training for m in model.modules())


def test_a_compressed_model_takes_another_format() -> None:
    model, direct = decoder(), decoder()
    upper = Format("up2", compressor(quantizer=uniform(2)), None, targets=("*.up",))
    swap_linears(model, MIX)
    swap_linears(model, upper)
    swap_linears(direct, upper)
    assert torch.equal(model(TOKENS), direct(TOKENS))
    assert type(model.get_submodule("blocks.0.down")) is nn.Linear


def test_two_swapped_layers_share_no_stage() -> None:
    model = decoder()
    swap_linears(model, MIX)
    layers = [m for m in model.modules() if isinstance(m, CompressedLinear)]
    assert len({id(m.weight_compressor) for m in layers}) == len(layers) == 4


def test_a_layer_used_twice_stays_one_layer() -> None:
    model = decoder()
    model.blocks.append(model.blocks[0])
    swap_linears(model, MIX)
    assert model.get_submodule("blocks.2.up") is model.get_submodule("blocks.0.up")
    tied = nn.Module()
    tied.blocks = nn.ModuleList([nn.Linear(8, 8)])
    tied.blocks.append(tied.blocks[0])
    swap_linears(tied, BASELINE)
    assert tied.blocks[0] is tied.blocks[1]
    unswap_linears(tied)
    assert type(tied.blocks[0]) is nn.Linear
    assert tied.blocks[0] is tied.blocks[1]


def test_evaluation_compresses_too() -> None:
    model = decoder()
    swap_linears(model, MIX)
    assert torch.equal(model.train()(TOKENS), model.eval()(TOKENS))
    with torch.inference_mode():
        assert torch.equal(model(TOKENS), model.train()(TOKENS))


def test_computes_with_both_projections() -> None:
    linear, x = nn.Linear(32, 8), normal(4, 32)
    layer = CompressedLinear.from_linear(linear, MIX)
    assert layer.weight_compressor is not None
    assert layer.activation_compressor is not None
    expected = layer.activation_compressor(x) @ layer.weight_compressor(linear.weight).T
    torch.testing.assert_close(layer(x), expected + linear.bias)


def test_the_projected_weight_is_in_the_basis_of_the_master() -> None:
    linear = nn.Linear(64, 16)
    folded = CompressedLinear.from_linear(linear, MIX).projected_weight()
    assert not folded.requires_grad
    error = (folded - linear.weight).square().sum() / linear.weight.square().sum()
    assert error < 0.2  # 2:4 and four bits, GMSE .14
    assert torch.equal(
        CompressedLinear.from_linear(linear, BASELINE).projected_weight(), linear.weight
    )


# torch 2.13 warns of its own use of autograd.Function while tracing one.
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize(
    "format",
    [MIX, Format("topk", compressor(sparsifier=Magnitude(0.5, "tensor")), None)],
    ids=["mix", "topk"],
)
def test_a_compiled_graph_is_whole_and_bit_equal(format: Format, autocast: bool) -> None:
    model = decoder()
    del model.blocks[1]
    swap_linears(model, format)
    torch.compiler.reset()
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        eager_logits, logits = model(TOKENS), compiled(TOKENS)
    assert torch.equal(logits, eager_logits)
    expected = gradients(model, eager_logits)
    for found, wanted in zip(gradients(model, logits), expected, strict=True):
        if autocast:  # see the note of Hadamard: the compiled backward rotates in bf16
            assert (found - wanted).norm() < 0.01 * wanted.norm()
        else:
            assert torch.equal(found, wanted)


def test_works_on_the_meta_device_and_after_materialising() -> None:
    with torch.device("meta"):
        model = Decoder()
    report = swap_linears(model, MIX)
    assert len(report.swapped) == 4
    assert model(TOKENS.to("meta")).shape == (2, 5, 11)
    model.to_empty(device="cpu")
    reference = decoder()
    model.load_state_dict(reference.state_dict())
    swap_linears(reference, MIX)
    assert torch.equal(model(TOKENS), reference(TOKENS))


def test_a_subclass_of_linear_is_left_alone() -> None:
    class Adapter(nn.Linear):
        pass

    model = nn.Module()
    model.blocks = nn.ModuleList([nn.Linear(4, 4), Adapter(4, 4)])
    report = swap_linears(model, BASELINE)
    assert report.skipped == (Skipped("blocks.1", "a Adapter, not a plain nn.Linear"),)


def test_refuses_a_part_that_is_not_there() -> None:
    with pytest.raises(
        UsageError, match=r"got 'layers', allowed are .*\(embedding, blocks, head\)"
    ):
        swap_linears(decoder(), MIX, within="layers")
    with pytest.raises(UsageError, match=r"within 'embedding': got no nn.Linear there"):
        swap_linears(decoder(), MIX, within="embedding")


@pytest.mark.parametrize("where", ["targets", "ignore"])
def test_refuses_a_pattern_that_names_nothing(where: str) -> None:
    kwargs = {where: ("*.upp",)}
    with pytest.raises(UsageError, match=r"format f: got pattern '\*.upp', which names no linear"):
        swap_linears(decoder(), Format("f", None, None, **kwargs))


def test_refuses_a_width_and_leaves_the_model_as_it_was() -> None:
    model = Decoder(width=48, hidden=98)
    with pytest.raises(
        UsageError, match=r"^layer blocks.0.down: semi-structured sparsity 2:4: got"
    ):
        swap_linears(model, MIX)
    assert all(type(m) is not CompressedLinear for m in model.modules())


def test_refuses_operands_folded_in_different_bases() -> None:
    w = compressor(transform=Hadamard(16, fold=True))
    a = compressor(transform=Hadamard(8, fold=True))
    with pytest.raises(
        UsageError, match=r"folded blocks of 16 \(weight\) and 8 \(activation\), al"
    ):
        swap_linears(decoder(), Format("f", w, a))
    assert swap_linears(decoder(), Format("f", w, None)).swapped[0].block == 16
    assert swap_linears(decoder(), Format("f", None, a)).swapped[0].block == 8
