"""The training loop: Lightning's Trainer, told about our batches, clocks and disks."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import lightning as L  # noqa: N812 - Lightning's own name for it
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from unified_laws.errors import UsageError
from unified_laws.training.batches import StepBatches
from unified_laws.training.callbacks import (
    DivergenceGuard,
    MetricsWriter,
    Progress,
    ProgressReporter,
)
from unified_laws.training.checkpoint import Checkpointer
from unified_laws.training.format_schedule import FormatSchedule
from unified_laws.training.module import TrainingModule

Precision = Literal["32-true", "bf16-mixed"]


@dataclass(frozen=True)
class Hardware:
    """Where a run computes.

    Attributes:
        accelerator: "cpu" or "cuda".
        devices: processes per node, one device each.
        num_nodes: nodes.
        threads: CPU threads of each process.
        precision: "bf16-mixed" is autocast; parameters and optimizer stay in fp32.
        micro_batch_size: sequences per forward on one device, None for all of them.
        compile: use torch.compile.
    """

    accelerator: Literal["cpu", "cuda"]
    devices: int
    num_nodes: int
    threads: int
    precision: Precision
    micro_batch_size: int | None
    compile: bool

    @property
    def world_size(self) -> int:
        """Processes of the run."""
        return self.devices * self.num_nodes

    def accumulation(self, batch_size: int) -> int:
        """Micro-batches per step of each rank.

        Raises:
            UsageError: the global batch does not divide over ranks and micro-batches.
        """
        if batch_size % self.world_size:
            raise UsageError(
                f"batch_size {batch_size} does not divide over {self.world_size} devices; "
                "choose devices that divide it"
            )
        share = batch_size // self.world_size
        micro = min(self.micro_batch_size or share, share)
        if micro < 1 or share % micro:
            raise UsageError(
                f"micro_batch_size {self.micro_batch_size} does not divide the {share} sequences "
                "of one device"
            )
        return share // micro


@dataclass(frozen=True)
class FitResult:
    """What training left besides the weights: last loss (nats), seconds, why it diverged."""

    last_loss: float
    seconds: float
    diverged: str


def fit_model(
    module: TrainingModule,
    batch_at: Callable[[int, int, int], tuple[Tensor, Tensor]],
    folder: Path,
    *,
    hardware: Hardware,
    steps: int,
    batch_size: int,
    seq_len: int,
    gradient_clip: float,
    loss_limit: float,
    log_every: int,
    checkpoint_minutes: float,
    checkpoint_steps: int | None,
    checkpoint: Path | None,
    loggers: Sequence[Any] = (),
    progress: Progress | None = None,
) -> FitResult:
    """Train ``module`` in place for ``steps`` optimizer steps.

    Args:
        module: what to train.
        batch_at: (step, rank, world_size) to this rank's (tokens, targets).
        folder: of the run, for metrics and checkpoints.
        hardware: where to compute.
        steps: optimizer steps.
        batch_size: sequences per step over all ranks.
        seq_len: tokens per sequence.
        gradient_clip: largest global gradient norm.
        loss_limit: nats above which a run counts as diverged.
        log_every: steps per row of metrics.jsonl.
        checkpoint_minutes: minutes between checkpoints.
        checkpoint_steps: steps between checkpoints, None for time alone.
        checkpoint: where to resume from.
        loggers: Lightning loggers that mirror the metrics.
        progress: called with (step, steps).
    """
    accumulate = hardware.accumulation(batch_size)
    torch.set_num_threads(hardware.threads)
    writer = MetricsWriter(
        folder / "metrics.jsonl", every=log_every, tokens_per_step=batch_size * seq_len
    )
    guard = DivergenceGuard(loss_limit, writer)
    saver = Checkpointer(
        folder, minutes=checkpoint_minutes, steps=checkpoint_steps, accumulate=accumulate
    )
    callbacks: list[L.Callback] = [FormatSchedule(), writer, guard, saver]
    if progress is not None:
        callbacks.append(ProgressReporter(progress))
    with warnings.catch_warnings():
        # Where SLURM is installed Lightning asks for srun, also of a process that is no job.
        warnings.filterwarnings("ignore", message=".*srun. command is available.*")
        trainer = L.Trainer(
            accelerator=hardware.accelerator,
            devices=hardware.devices,
            num_nodes=hardware.num_nodes,
            strategy="auto" if hardware.world_size == 1 else "ddp",
            precision=hardware.precision,
            max_steps=steps,
            max_epochs=1,
            accumulate_grad_batches=accumulate,
            gradient_clip_val=gradient_clip,
            callbacks=callbacks,
            logger=list(loggers) or False,
            default_root_dir=folder,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            barebones=False,
        )
    batches = StepBatches(
        lambda step: batch_at(step, trainer.global_rank, trainer.world_size),
        lambda: trainer.global_step,
        steps=steps,
        accumulate=accumulate,
    )
    loader = DataLoader(batches, batch_size=None)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*srun. command is available.*")
        # Lightning asks for loader workers; a gather from a memory map needs none.
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        # It calls a helper of its own pytree code that torch has since deprecated.
        warnings.filterwarnings("ignore", message=".*LeafSpec.*")
        trainer.fit(
            module,
            train_dataloaders=loader,
            ckpt_path=None if checkpoint is None else str(checkpoint),
            weights_only=True,
        )
    return FitResult(writer.last_loss, saver.seconds, guard.reason)
