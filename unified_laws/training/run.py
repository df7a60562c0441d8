"""One run, from its parts to its record."""

from __future__ import annotations

import dataclasses
import fcntl
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from unified_laws.compression.format import Format
from unified_laws.compression.swap import swap_linears
from unified_laws.data.store import TokenStore
from unified_laws.errors import UsageError
from unified_laws.model.counting import num_params_non_embedding, num_params_total
from unified_laws.model.llama import Llama, LlamaShape, initialise
from unified_laws.records.record import RunRecord, read_record, write_record
from unified_laws.training import provenance
from unified_laws.training.callbacks import Progress
from unified_laws.training.checkpoint import CHECKPOINT, save_weights, usable_checkpoint
from unified_laws.training.evaluate import validation_loss
from unified_laws.training.fit_model import FitResult, Hardware, fit_model
from unified_laws.training.hooks import BeforeStep
from unified_laws.training.module import OptimizerFactory, Schedule, TrainingModule


@dataclass(frozen=True)
class RunPlan:
    """Everything that one run needs, resolved.

    Attributes:
        run_id: from `records.identity`.
        batch_size: sequences per optimizer step over all ranks.
        steps: optimizer steps; steps * batch_size * seq_len = the record's num_tokens.
        validation_tokens: how many validation tokens to use, None for all.
        checkpoint_minutes, checkpoint_steps: how often the state is saved.
    """

    run_id: str
    label: str
    model_name: str
    shape: LlamaShape
    init_std: float
    format: Format
    optimizer: OptimizerFactory
    schedule: Schedule
    gradient_clip: float
    before_step: Sequence[BeforeStep]
    seed: int
    steps: int
    batch_size: int
    validation_tokens: int | None
    hardware: Hardware
    log_every: int
    checkpoint_minutes: float
    checkpoint_steps: int | None
    save_weights: bool
    identity: Mapping[str, Any]
    config: Mapping[str, Any]

    @property
    def num_tokens(self) -> int:
        """D of the law."""
        return self.steps * self.batch_size * self.shape.seq_len


def train(
    plan: RunPlan,
    store: TokenStore,
    folder: Path,
    *,
    loggers: Sequence[Any] = (),
    progress: Progress | None = None,
) -> tuple[RunRecord, bool]:
    """Train a run unless it is done, and leave its record in ``folder``.

    Returns:
        The record, and whether anything was trained now (False: it was already finished or
        diverged). An interrupted run goes on from its checkpoint to the bit-identical loss.

    Raises:
        UsageError: the record or checkpoint is damaged, the disk refuses, another process has
            the run in hand.
    """
    first = is_first_rank()
    with _only_process(folder) if first else nullcontext():
        provenance.reset_peak_memory()
        attempts = 0
        if first and (folder / "record.json").exists():
            old = read_record(folder)
            if old.status in ("finished", "diverged"):
                return old, False
            attempts = old.attempts
        record = _started(plan, store, attempts + 1)
        checkpoint = usable_checkpoint(folder)
        if first:
            write_record(record, folder)
        try:
            done = _train(plan, store, folder, record, checkpoint, loggers, progress)
        except BaseException as error:
            if first and isinstance(error, Exception):
                text = str(error).splitlines() or [""]
                failed = dataclasses.replace(
                    record,
                    status="failed",
                    message=f"{type(error).__name__}: {text[-1]}"[:500],
                    ended=provenance.now(),
                )
                _try_write(failed, folder)
            raise
        if first:
            write_record(done, folder)
            (folder / CHECKPOINT).unlink(missing_ok=True)
        return done, True


def is_first_rank() -> bool:
    """Whether this process writes: rank 0, known before the ranks are connected.

    Lightning starts the other ranks of a node with LOCAL_RANK set, SLURM every rank with
    SLURM_PROCID; a single process has neither.
    """
    ranks = ("LOCAL_RANK", "NODE_RANK", "GROUP_RANK", "SLURM_PROCID")
    return all(int(os.environ.get(name, "0")) == 0 for name in ranks)


def build_module(plan: RunPlan) -> tuple[TrainingModule, dict[str, Any]]:
    """Seeded initialisation, then the swap: every format of one (size, seed) starts the same."""
    model = Llama(plan.shape)
    initialise(model, seed=plan.seed, std=plan.init_std)
    report = swap_linears(model, plan.format)
    module = TrainingModule(
        model,
        plan.optimizer,
        plan.schedule,
        steps=plan.steps,
        before_step=plan.before_step,
        autocast=plan.hardware.precision == "bf16-mixed",
        compiled=plan.hardware.compile,
    )
    layers = {
        "swapped": [layer._asdict() for layer in report.swapped],
        "skipped": [layer._asdict() for layer in report.skipped],
    }
    return module, layers


def _train(
    plan: RunPlan,
    store: TokenStore,
    folder: Path,
    record: RunRecord,
    checkpoint: Path | None,
    loggers: Sequence[Any],
    progress: Progress | None,
) -> RunRecord:
    module, swap = build_module(plan)
    windows = store.validation(plan.shape.seq_len, plan.validation_tokens)

    def batch_at(step: int, rank: int, world_size: int) -> tuple[torch.Tensor, torch.Tensor]:
        return store.batch(
            seed=plan.seed,
            step=step,
            rank=rank,
            world_size=world_size,
            batch_size=plan.batch_size,
            seq_len=plan.shape.seq_len,
            num_tokens=plan.num_tokens,
        )

    result: FitResult = fit_model(
        module,
        batch_at,
        folder,
        hardware=plan.hardware,
        steps=plan.steps,
        batch_size=plan.batch_size,
        seq_len=plan.shape.seq_len,
        gradient_clip=plan.gradient_clip,
        loss_limit=2 * math.log(plan.shape.vocab_size),
        log_every=plan.log_every,
        checkpoint_minutes=plan.checkpoint_minutes,
        checkpoint_steps=plan.checkpoint_steps,
        checkpoint=checkpoint,
        loggers=loggers,
        progress=progress,
    )
    reason = result.diverged
    loss = None
    if not reason:
        loss = validation_loss(module, windows, batch_size=max(1, 2**15 // plan.shape.seq_len))
        if not math.isfinite(loss.nats):
            reason = f"validation loss is {loss.nats}"
    if not reason and plan.save_weights and is_first_rank():
        save_weights(module.model, folder)
    finite = loss if loss is not None and not reason else None
    return dataclasses.replace(
        record,
        status="diverged" if reason else "finished",
        message=reason,
        val_loss=finite.nats if finite else None,
        val_loss_stderr=(
            finite.stderr_nats if finite and math.isfinite(finite.stderr_nats) else None
        ),
        val_bits_per_byte=(
            finite.nats / math.log(2) / store.val_bytes_per_token if finite else None
        ),
        train_loss=result.last_loss if math.isfinite(result.last_loss) else None,
        seconds=round(result.seconds, 3),
        tokens_per_second=round(plan.num_tokens / max(result.seconds, 1e-9), 1),
        peak_memory_bytes=provenance.peak_memory_bytes(next(module.parameters()).device),
        swap=swap,
        ended=provenance.now(),
    )


def _started(plan: RunPlan, store: TokenStore, attempt: int) -> RunRecord:
    commit, dirty = provenance.git_state()
    num_params = num_params_non_embedding(plan.shape)
    return RunRecord(
        run_id=plan.run_id,
        status="running",
        format=plan.format.name,
        label=plan.label,
        model=plan.model_name,
        num_params=num_params,
        num_params_total=num_params_total(plan.shape),
        num_tokens=plan.num_tokens,
        tokens_per_param=plan.num_tokens / num_params,
        unique_tokens=store.unique_tokens(plan.num_tokens, plan.shape.seq_len),
        epochs=store.epochs(plan.num_tokens, plan.shape.seq_len),
        seed=plan.seed,
        steps=plan.steps,
        attempts=attempt,
        started=provenance.now(),
        git_commit=commit,
        git_dirty=dirty,
        machine=provenance.machine(),
        versions=provenance.versions(),
        identity=dict(plan.identity),
        config=dict(plan.config),
    )


def _try_write(record: RunRecord, folder: Path) -> None:
    """Record a failure if the disk lets us; the original error matters more than this one."""
    try:
        write_record(record, folder)
    except UsageError:
        return


@contextmanager
def _only_process(folder: Path) -> Iterator[None]:
    """Hold the run's lock; the kernel frees it when the process dies, however it dies."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = (folder / ".lock").open("w")
    except OSError as error:
        raise UsageError(
            f"cannot write in {folder}: {error.strerror or error}; choose another runs_dir"
        ) from error
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise UsageError(f"run {folder.name} is being trained by another process") from error
        yield
