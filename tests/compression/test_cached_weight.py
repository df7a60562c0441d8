"""Weights projected once for many passes: the same bits, the same gradients, and when it ends."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.utils import counters

from unified_laws.cli.build import load_format
from unified_laws.compression.compressor import Compressor
from unified_laws.compression.linear import CompressedLinear
from unified_laws.compression.random_source import rewound
from unified_laws.compression.swap import swap_linears
from unified_laws.compression.weight_scope import cache_weights, cached_weights, drop_weights

from .builders import Decoder, normal

NAMES = [
    "int4",
    "w4a4",
    "int4_sparse50_rbbm50",
    "sparse2of4",
    "gmp50",
    "rigl50",
    "lsq4",
    "lsqplus4_alsqplus4",
    "pact4",
    "mxfp4",
    "nvfp4fos",
    "vq2x256",
    "int4_fold",
    "e2m1_dct",
    "overparam",
    "absmax4outlier5",
]
DRAWN = ["e2m1sr", "noise1.15"]
TOKENS = torch.arange(40).remainder(11).reshape(4, 10)


def model_of(name: str) -> Decoder:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Decoder(width=64, hidden=128)
    swap_linears(model, load_format(name))
    for layer in layers(model):
        if layer.activation_compressor is not None:
            layer.activation_compressor.attach(normal(8, layer.in_features), is_weight=False)
    return model


def layers(model: nn.Module) -> list[CompressedLinear]:
    return [m for m in model.modules() if isinstance(m, CompressedLinear)]


def step(model: nn.Module, *, cached: bool, parts: int = 4) -> list[Tensor]:
    """The outputs of the micro-batches of one step."""
    out = []
    for tokens in TOKENS.chunk(parts):
        if cached:
            cache_weights(model)
        out.append(model(tokens))
        out[-1].square().mean().backward()
    drop_weights(model)
    return out


def count(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The operands that are projected from here on."""
    seen: list[Any] = []
    forward = Compressor.forward

    def counted(self: Compressor, x: Tensor) -> Tensor:
        seen.append(x.shape)
        return forward(self, x)

    monkeypatch.setattr(Compressor, "forward", counted)
    return seen


@pytest.mark.parametrize("name", NAMES)
def test_outputs_and_gradients_are_those_of_projecting_every_time(name: str) -> None:
    model = model_of(name)
    twin = copy.deepcopy(model)
    optimizers = [torch.optim.AdamW(m.parameters(), lr=1e-2) for m in (model, twin)]
    for _ in range(2):  # a second step sees the weights of the second step
        first, second = step(model, cached=True), step(twin, cached=False)
        assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
        for (key, p), q in zip(model.named_parameters(), twin.parameters(), strict=True):
            assert p.grad is not None, key
            assert q.grad is not None, key
            assert torch.equal(p.grad, q.grad), key
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
    assert all(torch.equal(v, twin.state_dict()[k]) for k, v in model.state_dict().items())


@pytest.mark.parametrize("name", ["lsq4", "overparam"])
def test_learned_numbers_get_the_gradient_of_every_micro_batch(name: str) -> None:
    """Of a sum over micro-batches: one backward of the sum gives the same, up to its rounding."""
    model = model_of(name)
    twin = copy.deepcopy(model)
    step(model, cached=True)
    sum(twin(tokens).square().mean() for tokens in TOKENS.chunk(4)).backward()
    learned = [(k, p) for k, p in model.named_parameters() if "_compressor." in k]
    assert learned
    for key, p in learned:
        assert p.grad is not None
        assert p.grad.abs().sum() > 0
        torch.testing.assert_close(p.grad, twin.get_parameter(key).grad, rtol=1e-4, atol=1e-6)


def test_a_weight_is_projected_once_in_a_scope(monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_of("w4a4")
    seen = count(monkeypatch)
    step(model, cached=True)
    weights, activations = len(layers(model)), 4 * len(layers(model))
    assert len(seen) == weights + activations
    seen.clear()
    with torch.no_grad(), cached_weights(model):
        for tokens in TOKENS:
            model(tokens[None])
    assert len(seen) == weights + activations
    seen.clear()
    for tokens in TOKENS:  # outside a scope every pass projects
        model(tokens[None])
    assert len(seen) == 2 * activations


def test_a_scope_ends_with_the_step_the_mode_the_device_and_what_is_loaded() -> None:
    model = model_of("int4")
    other = model_of("int4")
    with torch.no_grad():
        for p in other.parameters():
            p.mul_(2.0)

    def is_cached() -> bool:
        return any(layer._cached is not None for layer in layers(model))

    endings: dict[str, Callable[[], object]] = {
        "drop": lambda: drop_weights(model),
        "eval": lambda: model.eval(),
        "train": lambda: model.train(),
        "dtype": lambda: model.double().float(),
        "load": lambda: model.load_state_dict(other.state_dict()),
    }
    for name, end in endings.items():
        cache_weights(model)
        assert is_cached()
        end()
        assert not is_cached(), name
    assert torch.equal(model(TOKENS), other(TOKENS))


def test_what_was_written_to_is_projected_again_inside_a_scope() -> None:
    """The counters of autograd are a second line of defence: writes and replacements are seen."""
    for name in ("int4", "gmp50", "lsq4"):
        model = model_of(name)
        cache_weights(model)
        before = model(TOKENS)
        layer = layers(model)[0]
        kept = layer._cached
        cache_weights(model)
        assert layer._cached is kept
        with torch.no_grad():
            if name == "gmp50":
                assert layer.weight_compressor is not None
                mask = layer.weight_compressor.sparsifier.get_buffer("mask")
                mask.copy_(~mask)
            elif name == "lsq4":
                next(p for k, p in layer.named_parameters() if "_compressor" in k).mul_(1.5)
            else:
                layer.weight.neg_()
        cache_weights(model)
        assert layer._cached is not kept
        assert not torch.equal(model(TOKENS), before)
        drop_weights(model)
        with torch.no_grad():
            assert torch.equal(layer.projected_weight(), model_projection(layer))


def model_projection(layer: CompressedLinear) -> Tensor:
    assert layer.weight_compressor is not None
    return layer.weight_compressor.reconstruct(layer.weight)


def test_what_was_cached_without_gradient_gives_no_wrong_one() -> None:
    model, twin = model_of("int4"), model_of("int4")
    with torch.no_grad():
        cache_weights(model)
    step(model, cached=False)
    step(twin, cached=False)
    for p, q in zip(model.parameters(), twin.parameters(), strict=True):
        assert p.grad is not None
        assert q.grad is not None
        assert torch.equal(p.grad, q.grad)


@pytest.mark.parametrize("name", ["int4", "int4_fold", "sparse50", *DRAWN])
def test_hooks_see_the_projection_of_the_step(name: str) -> None:
    """In the basis of the weight; of a format that draws, what the forward passes have used."""
    model = model_of(name)
    cache_weights(model)
    for layer in layers(model):
        assert layer._cached is not None
        assert layer.weight_compressor is not None
        expected = layer._cached
        if layer.weight_compressor.transform.folded:
            expected = layer.weight_compressor.transform.inverse(expected)
        with rewound(model):
            assert torch.equal(layer.projected_weight(), expected.detach())
            drop_weights(model)
            assert torch.equal(layer.projected_weight(), expected.detach()) == (name not in DRAWN)
        cache_weights(model)


@pytest.mark.parametrize("name", DRAWN)
def test_a_format_that_draws_does_so_once_in_a_scope(name: str) -> None:
    model = model_of(name)
    whole, parts = copy.deepcopy(model), copy.deepcopy(model)
    with torch.no_grad(), cached_weights(model):
        first, second = model(TOKENS), model(TOKENS)
        assert torch.equal(first, second)
    with torch.no_grad(), cached_weights(model):
        assert not torch.equal(model(TOKENS), first)
    with torch.no_grad():
        assert not torch.equal(model(TOKENS), model(TOKENS))
    # One step on a whole batch and on its parts draws the same: micro-batches mean nothing.
    out = torch.cat(step(parts, cached=True))
    torch.testing.assert_close(whole(TOKENS), out, rtol=1e-5, atol=1e-6)


def test_copies_do_without_what_is_cached() -> None:
    model = model_of("int4")
    cache_weights(model)
    twin = copy.deepcopy(model)
    assert all(layer._cached is None for layer in layers(twin))
    assert torch.equal(twin(TOKENS), model(TOKENS))


# torch 2.13 warns of its own use of autograd.Function while tracing one, and of its own look at the
# gradient of an input of a graph that is no leaf.
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:.*grad attribute of a Tensor that is not a leaf:UserWarning")
@pytest.mark.parametrize("name", ["int4"])
def test_a_compiled_model_uses_what_is_cached(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_of(name)
    twin = copy.deepcopy(model)
    torch.compiler.reset()
    compiled = torch.compile(model, backend="aot_eager")
    seen = count(monkeypatch)
    for tokens in TOKENS.chunk(2):
        cache_weights(model)
        out = compiled(tokens)
        assert torch.equal(out, twin(tokens))
        for result in (out, twin(tokens)):
            result.square().mean().backward()
    assert len(seen) == len(layers(model)) * (1 + 4)  # the twin: two passes of two micro-batches
    graphs = counters["stats"]["unique_graphs"]
    drop_weights(model)
    cache_weights(model)  # another step is no other graph
    compiled(TOKENS[:2])
    assert counters["stats"]["unique_graphs"] == graphs
    for p, q in zip(model.parameters(), twin.parameters(), strict=True):
        assert p.grad is not None
        assert q.grad is not None
        assert torch.equal(p.grad, q.grad)
    torch.compiler.reset()
