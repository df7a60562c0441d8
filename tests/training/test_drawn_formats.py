"""Formats that draw random numbers: resuming to the bit, micro-batches, evaluation."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch

from tests.compression.builders import normal
from unified_laws.cli.build import load_format
from unified_laws.cli.entry import compose
from unified_laws.compression.compressor import Compressor
from unified_laws.compression.random_source import RandomSource, rewound, sources
from unified_laws.train import plan_run
from unified_laws.training.checkpoint import load_weights
from unified_laws.training.evaluate import validation_loss
from unified_laws.training.run import build_module

from .test_format_schedule import elsewhere, stop_at, trained

BOTH = [
    "+format=noise1.15",
    "+compression/transform@format.activation.transform=identity",
    "+compression/sparsifier@format.activation.sparsifier=dense",
    "+compression/backward_mask@format.activation.backward_mask=forward",
    "+compression/quantizer@format.activation.quantizer=noise",
    "+compression/gradient@format.activation.gradient=straight_through",
    "format.activation.quantizer.gmse=0.01",
]


@pytest.mark.parametrize("format", [["+format=e2m1sr"], BOTH], ids=["e2m1sr", "noise"])
def test_a_pulled_cable_changes_no_bit(tiny: list[str], format: list[str]) -> None:
    # whole batches: how the noise of activations is cut depends on the micro-batches
    settings = [*tiny, *format, "checkpoint.steps=4"]
    calm, calm_folder = trained([*settings, elsewhere(tiny, "calm")])
    for step in (6, 13):
        with pytest.raises(RuntimeError, match="cable"):
            trained(settings, stop_at(step))
    resumed, folder = trained(settings)
    assert resumed.attempts == 3
    assert (resumed.val_loss, resumed.train_loss) == (calm.val_loss, calm.train_loss)
    first, second = load_weights(folder), load_weights(calm_folder)
    assert all(torch.equal(first[key], second[key]) for key in second)
    positions = [v for k, v in first.items() if k.endswith("random._extra_state")]
    assert len(positions) == 5 * (1 + (format is BOTH))
    # once per step, and not at all by the evaluation at the end
    assert all(drawn == 20 for _, drawn in positions)
    assert len({int(stream) for stream, _ in positions}) == len(positions)


def test_micro_batches_draw_the_same_for_weights(tiny: list[str]) -> None:
    settings = [*tiny, "+format=noise1.15", "num_tokens=1024"]
    whole, _ = trained(settings)
    parts, _ = trained([*settings, "micro_batch_size=1", elsewhere(tiny, "parts")])
    assert whole.run_id == parts.run_id
    # four steps; other noise moves the loss by a hundredth
    assert parts.val_loss == pytest.approx(whole.val_loss, abs=1e-4)
    other, _ = trained([*settings, "format.weight.quantizer.seed=1"])
    assert abs(other.val_loss - whole.val_loss) > 3e-4  # type: ignore[operator]


def test_an_evaluation_repeats_and_disturbs_nothing(tiny: list[str]) -> None:
    overrides = [*tiny, *BOTH, "num_tokens=1024"]
    record, folder = trained(overrides)
    plan, store = plan_run(compose("train", overrides))
    module, _ = build_module(plan)
    module.model.load_state_dict(load_weights(folder))
    windows = store.validation(plan.shape.seq_len, plan.validation_tokens)
    batch: Any = max(1, 2**15 // plan.shape.seq_len)
    for _ in range(2):
        assert validation_loss(module, windows, batch_size=batch).nats == record.val_loss
    with rewound(module.model), torch.no_grad():
        module.model(windows[0][:1])  # further on in the stream
        assert validation_loss(module, windows, batch_size=batch).nats != record.val_loss


@pytest.mark.parametrize("micro_batch_size", [1, 4])
@pytest.mark.parametrize("name", ["w4a4", "lsq4_gmp50"])
def test_a_run_projects_weights_once_per_step(
    tiny: list[str], monkeypatch: pytest.MonkeyPatch, name: str, micro_batch_size: int
) -> None:
    overrides = [
        *tiny,
        f"+format={name}",
        "num_tokens=1024",
        f"micro_batch_size={micro_batch_size}",
    ]
    weights: list[int] = []
    forward = Compressor.forward

    def counted(self: Compressor, x: torch.Tensor) -> torch.Tensor:
        if isinstance(x, torch.nn.Parameter) or (x.is_leaf and x.dim() == 2):
            weights.append(x.numel())
        return forward(self, x)

    monkeypatch.setattr(Compressor, "forward", counted)
    record, _ = trained(overrides)
    assert record.steps == 4
    assert len(weights) == 5 * (4 + 1)  # steps, and the evaluation


def test_hooks_and_micro_batches_share_the_projection(
    tiny: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bool] = []
    built: list[Any] = []

    def hook(name: str, master: Any, projected: torch.Tensor, *, step: int, steps: int) -> None:
        del step, steps
        layer = built[0].model.get_submodule(name)
        assert layer.weight is master
        seen.append(projected.data_ptr() == layer._cached.data_ptr())

    def with_hook(config: Any, **kwargs: Any) -> Any:
        plan, store = plan_run(config, **kwargs)
        return dataclasses.replace(plan, before_step=[hook]), store

    def keep(plan: Any) -> Any:
        module, layers = build_module(plan)
        built.append(module)
        return module, layers

    monkeypatch.setattr("unified_laws.train.plan_run", with_hook)
    monkeypatch.setattr("unified_laws.training.run.build_module", keep)
    trained([*tiny, "+format=noise1.15", "num_tokens=1024", "micro_batch_size=2"])
    assert seen == [True] * 5 * 4


def test_streams_differ_by_layer_operand_seed_and_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    x, like = normal(4, 64), normal(8, 64, seed=1)

    def drawn(seed: int = 0, *, of_ranks: bool = False, rank: int = 0, like: Any = like) -> Any:
        source = RandomSource("test", seed)
        source.begin(like, of_ranks=of_ranks)
        monkeypatch.setattr("unified_laws.compression.random_source._rank", lambda: rank)
        return source.normal(x)

    first = drawn()
    assert torch.equal(drawn(), first)
    assert torch.equal(drawn(rank=1), first)  # every rank holds the same weight
    others = [
        drawn(1),
        drawn(like=normal(8, 64, seed=2)),
        drawn(of_ranks=True),
        drawn(of_ranks=True, rank=1),
        drawn(of_ranks=True, rank=2),
    ]
    for i, a in enumerate([first, *others]):
        for b in others[i:]:
            assert abs(float((a * b).mean())) < 0.25
            assert not torch.equal(a, b)


def test_positions_are_kept_saved_and_copied() -> None:
    weight = load_format("noise1.15").weight
    assert weight is not None
    own, x = weight.bind(64), normal(4, 64)
    own.begin_streams(x, of_ranks=False)
    own(x)
    state = own.state_dict()
    following = own(x)
    fresh = weight.bind(64)
    fresh.load_state_dict(state)
    assert torch.equal(fresh(x), following)
    (source,) = sources(own)
    assert source.drawn == 2
    with rewound(own):
        third = own(x)
    assert source.drawn == 2
    assert torch.equal(own(x), third)


def test_meta_weights_begin_with_what_is_loaded() -> None:
    weight = load_format("noise1.15").weight
    assert weight is not None
    own = weight.bind(64)
    own.begin_streams(torch.empty(4, 64, device="meta"), of_ranks=False)
    (source,) = sources(own)
    assert source.stream == -1
