"""Runs whose micro-batches share one projection of every weight: the same run as without."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import pytest
import torch

from tests.conftest import run_module
from unified_laws.records.record import read_record
from unified_laws.training.checkpoint import load_weights

from .test_format_schedule import elsewhere, trained

FEW = ["num_tokens=1536", "micro_batch_size=1"]


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
@pytest.mark.parametrize("name", ["w4a4", "lsq4_alsq4", "int4_rigl50every2", "overparam"])
def test_a_run_is_the_same_to_the_bit(
    tiny: list[str], monkeypatch: pytest.MonkeyPatch, name: str, precision: str
) -> None:
    settings = [*tiny, *FEW, f"+format={name}", f"precision={precision}"]
    shared, one = trained(settings)
    monkeypatch.setattr("unified_laws.training.module.cache_weights", lambda _: None)
    monkeypatch.setattr("unified_laws.training.evaluate.cached_weights", lambda _: nullcontext())
    apart, two = trained([*settings, elsewhere(tiny, "apart")])
    assert shared.run_id == apart.run_id
    assert (shared.val_loss, shared.train_loss) == (apart.val_loss, apart.train_loss)
    weights = load_weights(two)
    assert all(torch.equal(weights[key], value) for key, value in load_weights(one).items())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["int4_sparse50", "lsq4_alsq4"])
@pytest.mark.parametrize("how", ["devices=2", "compile=true"])
def test_two_ranks_and_compiled_runs_share_it_too(tiny: list[str], name: str, how: str) -> None:
    one, _ = trained([*tiny, "+format=" + name, "micro_batch_size=1"])
    runs = elsewhere(tiny, "other")
    settings = [*tiny, f"+format={name}", "device=cpu", "micro_batch_size=1", how, runs]
    done = run_module("train", *settings)
    assert done.returncode == 0, done.stdout + done.stderr
    two = read_record(Path(runs.partition("=")[2]) / one.run_id)
    assert two.status == "finished"
    assert two.val_loss == pytest.approx(one.val_loss, abs=5e-3)
