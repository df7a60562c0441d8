"""One run: identical starts, resuming after SIGKILL, divergence, the open doors."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.conftest import assert_one_line_error, run_module
from unified_laws.cli.build import load_format
from unified_laws.cli.entry import compose
from unified_laws.compression.linear import CompressedLinear
from unified_laws.compression.swap import swap_linears, unswap_linears
from unified_laws.errors import UsageError
from unified_laws.model.llama import Llama
from unified_laws.records.record import RunRecord, read_record
from unified_laws.train import plan_run, run
from unified_laws.training.checkpoint import load_weights
from unified_laws.training.run import build_module


def trained(overrides: list[str]) -> tuple[RunRecord, Path]:
    record, _, folder = run(compose("train", overrides))
    return record, folder


def rows(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def without_rates(folder: Path) -> list[dict[str, Any]]:
    return [{k: v for k, v in row.items() if k != "tokens_per_second"} for row in rows(folder)]


def test_a_run_leaves_its_record_metrics_and_weights(tiny: list[str]) -> None:
    record, folder = trained([*tiny, "+format=int4_sparse50"])
    assert read_record(folder) == record
    assert folder.name == record.run_id
    assert record.status == "finished"
    assert record.format == "int4_sparse50"
    assert record.num_tokens == record.steps * 4 * 64 == 5120
    assert record.tokens_per_param == pytest.approx(5120 / record.num_params)
    assert record.val_loss is not None
    assert 3 < record.val_loss < 7
    assert record.val_loss_stderr is not None
    assert 0 < record.val_loss_stderr < 0.1
    assert record.peak_memory_bytes is not None
    assert len(record.swap["swapped"]) == 5
    assert [row["step"] for row in rows(folder)] == list(range(1, 21))
    assert not (folder / "checkpoint.ckpt").exists()
    again, trained_now, _ = run(compose("train", [*tiny, "+format=int4_sparse50"]))
    assert again == record
    assert not trained_now


def test_formats_start_from_the_same_weights_and_see_the_same_batches(tiny: list[str]) -> None:
    built = []
    for name in ("bf16", "int2", "sparse75"):
        plan, store = plan_run(compose("train", [*tiny, f"+format={name}"]))
        module, _ = build_module(plan)
        batch = store.batch(
            seed=plan.seed,
            step=3,
            rank=0,
            world_size=1,
            batch_size=plan.batch_size,
            seq_len=plan.shape.seq_len,
            num_tokens=plan.num_tokens,
        )
        built.append((module.state_dict(), batch))
    for state, batch in built[1:]:
        assert state.keys() == built[0][0].keys()
        assert all(torch.equal(state[key], built[0][0][key]) for key in state)
        assert torch.equal(batch[0], built[0][1][0])


def test_seed_and_format_change_the_loss_and_twins_share_a_run(tiny: list[str]) -> None:
    first, _ = trained([*tiny, "+format=int4"])
    twin, trained_now, _ = run(compose("train", [*tiny, "+format=w4a16"]))
    assert not trained_now
    assert twin == first
    other, _ = trained([*tiny, "+format=int4", "seed=1"])
    dense, _ = trained(tiny)
    assert dense.format == "bf16"
    assert len({first.val_loss, other.val_loss, dense.val_loss}) == 3


def test_a_changed_number_changes_the_label_and_the_id(tiny: list[str]) -> None:
    plan, _ = plan_run(compose("train", [*tiny, "+format=int4", "format.weight.quantizer.bits=3"]))
    named, _ = plan_run(compose("train", [*tiny, "+format=int3"]))
    assert plan.format.name == "int4[weight.quantizer.bits=3]"
    assert plan.run_id == named.run_id


def test_micro_batches_change_nothing_but_rounding(tiny: list[str]) -> None:
    whole, folder = trained([*tiny, "runs_dir=" + _elsewhere(tiny, "a")])
    parts, other = trained([*tiny, "runs_dir=" + _elsewhere(tiny, "b"), "micro_batch_size=2"])
    assert whole.run_id == parts.run_id
    first, second = rows(folder)[0], rows(other)[0]
    assert first["train_loss"] == pytest.approx(second["train_loss"], rel=1e-6)
    assert parts.val_loss == pytest.approx(whole.val_loss, abs=1e-3)
    with pytest.raises(UsageError, match="micro_batch_size 3 does not divide"):
        trained([*tiny, "runs_dir=" + _elsewhere(tiny, "c"), "micro_batch_size=3"])


def _elsewhere(tiny: list[str], name: str) -> str:
    runs = next(o.partition("=")[2] for o in tiny if o.startswith("runs_dir="))
    return f"{runs}-{name}"


def test_sigkill_at_several_points_resumes_to_the_bit_identical_loss(tiny: list[str]) -> None:
    settings = [*tiny, "+format=int4_sparse50", "num_tokens=30720", "checkpoint.steps=7"]
    undisturbed, calm = trained([*settings, "runs_dir=" + _elsewhere(tiny, "calm")])
    folder = calm.parent.with_name(calm.parent.name.replace("-calm", "")) / undisturbed.run_id
    command = [sys.executable, "-m", "unified_laws.train", *settings]
    kills = 0
    for step in (3, 40, 80):  # before the first checkpoint, between two, and again
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        deadline = time.monotonic() + 120
        while process.poll() is None and time.monotonic() < deadline:
            if _last_step(folder) >= step:
                process.send_signal(signal.SIGKILL)
                break
            time.sleep(0.005)
        process.communicate()
        kills += process.returncode == -signal.SIGKILL
        if process.returncode == -signal.SIGKILL:
            assert read_record(folder).status == "running"
    assert kills >= 2
    done = run_module("train", *settings)
    assert done.returncode == 0, done.stderr
    resumed = read_record(folder)
    assert resumed.attempts == kills + 1
    assert resumed.val_loss == undisturbed.val_loss
    assert resumed.train_loss == undisturbed.train_loss
    assert without_rates(folder) == without_rates(calm)
    first, second = load_weights(folder), load_weights(calm)
    assert all(torch.equal(first[key], second[key]) for key in second)


def _last_step(folder: Path) -> int:
    try:
        lines = (folder / "metrics.jsonl").read_text().splitlines()
        return int(json.loads(lines[-1])["step"]) if lines else 0
    except (OSError, ValueError):
        return 0


def test_divergence_is_a_result(tiny: list[str]) -> None:
    settings = [*tiny, "model.learning_rate=1e6", "gradient_clip=1e9"]
    record, folder = trained(settings)
    assert record.status == "diverged"
    assert record.val_loss is None
    assert "training loss" in record.message
    assert read_record(folder) == record
    assert not run(compose("train", settings))[1]


def test_a_failure_is_recorded_and_the_next_attempt_trains(
    tiny: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, _ = plan_run(compose("train", tiny))
    folder = Path(next(o for o in tiny if o.startswith("runs_dir="))[9:]) / plan.run_id

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("the cable was pulled")

    with monkeypatch.context() as patch:
        patch.setattr("unified_laws.training.run.fit_model", broken)
        with pytest.raises(RuntimeError, match="cable"):
            trained(tiny)
    failed = read_record(folder)
    assert failed.status == "failed"
    assert failed.message == "RuntimeError: the cable was pulled"
    record, _ = trained(tiny)
    assert (record.status, record.attempts) == ("finished", 2)


def test_a_damaged_checkpoint_is_one_line_and_stays(tiny: list[str]) -> None:
    plan, _ = plan_run(compose("train", tiny))
    folder = Path(next(o for o in tiny if o.startswith("runs_dir="))[9:]) / plan.run_id
    folder.mkdir(parents=True)
    (folder / "checkpoint.ckpt").write_bytes(b"torn")
    done = run_module("train", *tiny)
    assert_one_line_error(done, ["checkpoint.ckpt cannot be read", "delete it"])
    assert (folder / "checkpoint.ckpt").read_bytes() == b"torn"


def interrupted(tiny: list[str], monkeypatch: pytest.MonkeyPatch, *extra: str) -> Path:
    """A run that stopped after its checkpoint at step 7."""
    from unified_laws.training.checkpoint import Checkpointer

    original = Checkpointer.save

    def stop(self: Checkpointer, trainer: Any) -> None:
        original(self, trainer)
        raise RuntimeError("pulled")

    with monkeypatch.context() as patch:
        patch.setattr(Checkpointer, "save", stop)
        with pytest.raises(RuntimeError, match="pulled"):
            trained([*tiny, "checkpoint.steps=7", *extra])
    run_id: str = plan_run(compose("train", tiny))[0].run_id
    return Path(next(o for o in tiny if o.startswith("runs_dir="))[9:]) / run_id


def test_a_flipped_byte_in_a_checkpoint_is_found(
    tiny: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = interrupted(tiny, monkeypatch) / "checkpoint.ckpt"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(UsageError, match=r"checkpoint\.ckpt cannot be read.*checksum"):
        trained(tiny)
    assert path.read_bytes() == bytes(content)


def test_other_micro_batches_than_the_checkpoints_are_refused(
    tiny: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    calm, _ = trained([*tiny, "log_every=5", "runs_dir=" + _elsewhere(tiny, "calm")])
    folder = interrupted(tiny, monkeypatch, "log_every=5")
    with pytest.raises(UsageError, match="made with 1 micro-batches per step, now there are 2"):
        trained([*tiny, "micro_batch_size=2"])
    resumed, _ = trained([*tiny, "log_every=5"])
    assert resumed.val_loss == calm.val_loss
    # The row at step 10 averages steps 6 to 10, though 6 and 7 were trained before the stop.
    assert without_rates(folder) == without_rates(Path(_elsewhere(tiny, "calm")) / calm.run_id)


def test_two_ranks_train_one_run(tiny: list[str]) -> None:
    """Two gloo processes, one record, the first step's loss that of one process."""
    one, folder = trained([*tiny, "+format=int4_sparse50", "runs_dir=" + _elsewhere(tiny, "one")])
    done = run_module("train", *tiny, "+format=int4_sparse50", "device=cpu", "devices=2")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("val_loss") == 1
    runs = Path(next(o for o in tiny if o.startswith("runs_dir="))[9:])
    two = read_record(runs / one.run_id)
    assert two.status == "finished"
    first, second = rows(folder)[0], rows(runs / one.run_id)[0]
    assert second["train_loss"] == pytest.approx(first["train_loss"], rel=1e-6)
    assert two.val_loss == pytest.approx(one.val_loss, abs=5e-3)


def test_a_checkpoint_cannot_execute_code(tiny: list[str], tmp_path: Path) -> None:
    marker = tmp_path / "executed"

    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.system, (f"touch {marker}",)

    plan, _ = plan_run(compose("train", tiny))
    folder = Path(next(o for o in tiny if o.startswith("runs_dir="))[9:]) / plan.run_id
    folder.mkdir(parents=True)
    torch.save({"state_dict": Evil()}, folder / "checkpoint.ckpt")
    with pytest.raises(UsageError, match="cannot be read"):
        trained(tiny)
    assert not marker.exists()


def test_two_processes_do_not_train_one_run(tiny: list[str]) -> None:
    import fcntl

    plan, _ = plan_run(compose("train", tiny))
    folder = Path(next(o for o in tiny if o.startswith("runs_dir="))[9:]) / plan.run_id
    folder.mkdir(parents=True)
    with (folder / ".lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        with pytest.raises(UsageError, match="being trained by another process"):
            trained(tiny)
    assert trained(tiny)[0].status == "finished"


class Recorder:
    """A hook that keeps what it saw and pulls the weight towards its projection (as CAGE does)."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, int, float]] = []

    def __call__(
        self, name: str, master: nn.Parameter, projected: Tensor, *, step: int, steps: int
    ) -> None:
        assert master.grad is not None
        assert projected.shape == master.shape
        assert not projected.requires_grad
        assert step < steps
        distance = (master.detach() - projected).square().sum() / master.detach().square().sum()
        self.seen.append((name, step, distance.item()))
        master.grad += 10.0 * (master.detach() - projected)


def test_door_a_hook_between_backward_and_step(tiny: list[str], monkeypatch: Any) -> None:
    """It sees (master, projected) of every compressed linear and changes what is learned."""
    plain, _ = trained([*tiny, "+format=int2", "runs_dir=" + _elsewhere(tiny, "plain")])
    hook = Recorder()
    original = plan_run

    def with_hook(config: Any, **kwargs: Any) -> Any:
        import dataclasses

        plan, store = original(config, **kwargs)
        return dataclasses.replace(plan, before_step=[hook]), store

    monkeypatch.setattr("unified_laws.train.plan_run", with_hook)
    hooked, _ = trained([*tiny, "+format=int2"])
    assert len(hook.seen) == 20 * 5
    assert {step for _, step, _ in hook.seen} == set(range(20))
    # int2 keeps 1 - 0.119 of a Gaussian weight's energy
    assert hook.seen[0][2] == pytest.approx(0.1188, rel=0.1)
    assert hooked.val_loss != plain.val_loss


def test_door_the_optimizer_is_a_config_group(tiny: list[str]) -> None:
    adamw, _ = trained([*tiny, "num_tokens=1280"])
    sgd, _ = trained(
        [
            *tiny,
            "num_tokens=1280",
            "optimizer._target_=torch.optim.SGD",
            "~optimizer.betas",
            "~optimizer.eps",
        ]
    )
    assert sgd.run_id != adamw.run_id
    assert sgd.val_loss != adamw.val_loss
    with pytest.raises(UsageError, match=r"'os\.system' is not allowed"):
        trained([*tiny, "optimizer._target_=os.system"])


def test_door_a_finished_run_is_loaded_and_requantized(tiny: list[str]) -> None:
    record, folder = trained([*tiny, "+format=int4"])
    plan, store = plan_run(compose("train", [*tiny, "+format=int4"]))
    model = Llama(plan.shape)
    model.load_state_dict(load_weights(folder))
    tokens, targets = store.validation(plan.shape.seq_len, plan.validation_tokens)

    def loss() -> float:
        with torch.no_grad():
            logits = model(tokens)
            return nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten()).item()

    swap_linears(model, load_format("int4"))
    assert loss() == pytest.approx(record.val_loss, abs=1e-5)
    swap_linears(model, load_format("int1"))
    assert all(isinstance(b.get_submodule("attention.qkv"), CompressedLinear) for b in model.blocks)
    worse = loss()
    unswap_linears(model)
    assert abs(loss() - worse) > 1e-4


def test_bf16_autocast_is_another_run_with_about_the_same_loss(tiny: list[str]) -> None:
    full, _ = trained([*tiny, "+format=int4"])
    half, _ = trained([*tiny, "+format=int4", "precision=bf16-mixed"])
    assert full.run_id != half.run_id
    assert full.val_loss != half.val_loss
    assert half.val_loss == pytest.approx(full.val_loss, abs=0.05)


@pytest.mark.slow
def test_a_compiled_run_is_the_same_run_with_about_the_same_loss(tiny: list[str]) -> None:
    plain, _ = trained([*tiny, "+format=int4_sparse50"])
    elsewhere = "runs_dir=" + _elsewhere(tiny, "compiled")
    # In a process of its own: torch's tracing emits a deprecation warning of torch's own.
    done = run_module("train", *tiny, "+format=int4_sparse50", elsewhere, "compile=true")
    assert done.returncode == 0, done.stderr
    compiled = read_record(Path(_elsewhere(tiny, "compiled")) / plain.run_id)
    assert compiled.val_loss == pytest.approx(plain.val_loss, abs=5e-3)
