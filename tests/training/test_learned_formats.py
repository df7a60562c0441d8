"""Learned steps through a whole run: groups, first batch, resuming to the bit."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from unified_laws.cli.entry import compose
from unified_laws.compression.swap import swap_linears
from unified_laws.model.llama import Llama
from unified_laws.train import plan_run
from unified_laws.training.checkpoint import load_weights
from unified_laws.training.evaluate import validation_loss
from unified_laws.training.format_schedule import begin_activations
from unified_laws.training.module import parameter_groups
from unified_laws.training.run import build_module

from .test_format_schedule import elsewhere, stop_at, trained


@pytest.mark.parametrize("name", ["lsq4_alsq4", "lsqplus3_alsqplus4", "pact4", "lsq4_gmp50_pact4"])
def test_a_pulled_cable_changes_no_bit(tiny: list[str], name: str) -> None:
    settings = [*tiny, f"+format={name}", "checkpoint.steps=4", "micro_batch_size=2"]
    calm, calm_folder = trained([*settings, elsewhere(tiny, "calm")])
    with pytest.raises(RuntimeError, match="cable"):
        trained(settings, stop_at(6))
    resumed, folder = trained(settings)
    assert resumed.attempts == 2
    assert (resumed.val_loss, resumed.train_loss) == (calm.val_loss, calm.train_loss)
    first, second = load_weights(folder), load_weights(calm_folder)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[key], second[key]) for key in second)
    factors = torch.stack([v for k, v in first.items() if k.endswith("factor")])
    assert (factors != 1).all()
    assert (factors - 1).abs().max() < 0.5
    assert all(v.item() for k, v in first.items() if k.endswith("initialised"))


def test_learned_numbers_are_in_the_group_without_decay(tiny: list[str]) -> None:
    plan, _ = plan_run(compose("train", [*tiny, "+format=lsqplus4_pact4"]))
    module, _ = build_module(plan)
    hidden, rest = parameter_groups(module.model)
    assert all(p.dim() == 2 for p in hidden["params"])
    assert len([p for p in rest["params"] if p.dim() == 0]) == 5 * 3
    assert (rest["role"], rest["weight_decay"]) == ("rest", 0.0)
    plain = build_module(plan_run(compose("train", tiny))[0])[0].state_dict()
    state = module.state_dict()
    assert all(torch.equal(state[key], value) for key, value in plain.items())


def test_activations_begin_on_the_first_batch_once(tiny: list[str]) -> None:
    plan, store = plan_run(compose("train", [*tiny, "+format=alsq4"]))
    module, _ = build_module(plan)
    tokens, _ = store.validation(plan.shape.seq_len, 256)
    begin_activations(module.model, tokens)
    state = {k: v.clone() for k, v in module.state_dict().items() if k.endswith("unit")}
    assert len(state) == 5
    assert all(v > 0 for v in state.values())
    begin_activations(module.model, tokens[:1])
    assert all(torch.equal(module.state_dict()[k], v) for k, v in state.items())


def test_saved_weights_evaluate_as_in_the_run(tiny: list[str]) -> None:
    overrides = [*tiny, "+format=lsq4_alsq4"]
    record, folder = trained(overrides)
    plan, store = plan_run(compose("train", overrides))
    module, _ = build_module(plan)
    module.model.load_state_dict(load_weights(folder))
    windows = store.validation(plan.shape.seq_len, plan.validation_tokens)
    batch: Any = max(1, 2**15 // plan.shape.seq_len)
    assert validation_loss(module, windows, batch_size=batch).nats == record.val_loss
    fresh = Llama(plan.shape)
    swap_linears(fresh, plan.format)
    fresh.load_state_dict(load_weights(folder))
    with torch.no_grad():
        assert torch.equal(fresh(windows[0][:2]), module.model(windows[0][:2]))
