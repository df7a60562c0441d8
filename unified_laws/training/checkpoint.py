"""Checkpoints that are whole or absent, and load without executing anything."""

from __future__ import annotations

import time
import zipfile
from pathlib import Path
from typing import Any

import lightning as L  # noqa: N812 - Lightning's own name for it
import torch

from unified_laws.errors import UsageError

CHECKPOINT = "checkpoint.ckpt"
WEIGHTS = "weights.pt"


class Checkpointer(L.Callback):
    """Saves the whole training state every so many minutes or steps, whichever comes first.

    Written beside and renamed, so that a kill at any moment leaves the old or the new one.

    Args:
        folder: the run's folder.
        minutes: time between saves.
        steps: steps between saves, None for time alone.
        accumulate: micro-batches per step, which Lightning counts; a checkpoint made with another
            number is refused, because the batches would come out of step.
        seconds_before: training seconds of earlier attempts, carried along.
    """

    def __init__(
        self, folder: Path, *, minutes: float, steps: int | None, accumulate: int = 1
    ) -> None:
        self.path = folder / CHECKPOINT
        self.minutes = minutes
        self.steps = steps
        self.accumulate = accumulate
        self.seconds_before = 0.0
        self._saved_at = time.monotonic()
        self._started_at = time.monotonic()
        self._last_step = -1

    @property
    def seconds(self) -> float:
        """Training seconds of this and all earlier attempts."""
        return self.seconds_before + time.monotonic() - self._started_at

    def state_dict(self) -> dict[str, Any]:
        """Seconds so far and micro-batches per step: they go into the checkpoint."""
        return {"seconds": self.seconds, "accumulate": self.accumulate}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over the seconds of earlier attempts.

        Raises:
            UsageError: the checkpoint was made with other micro-batches.
        """
        if state_dict["accumulate"] != self.accumulate:
            raise UsageError(
                f"{self.path} was made with {state_dict['accumulate']} micro-batches per step, now "
                f"there are {self.accumulate}; keep micro_batch_size and devices, or delete it"
            )
        self.seconds_before = float(state_dict["seconds"])

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start the clocks."""
        del pl_module
        self._saved_at = self._started_at = time.monotonic()
        self._last_step = trainer.global_step

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Save at a step boundary when it is due."""
        del pl_module, outputs, batch, batch_idx
        step = trainer.global_step
        if step == self._last_step:
            return
        self._last_step = step
        due = time.monotonic() - self._saved_at >= 60 * self.minutes
        # Every rank must take part in a save, so rank 0's clock decides for all.
        due = bool(trainer.strategy.broadcast(due))
        if due or (self.steps is not None and step % self.steps == 0):
            self.save(trainer)

    def save(self, trainer: L.Trainer) -> None:
        """Write the checkpoint atomically."""
        temporary = self.path.with_name(f".{self.path.name}.tmp")
        try:
            trainer.save_checkpoint(temporary)
            if trainer.is_global_zero:
                temporary.replace(self.path)
        except (OSError, RuntimeError) as error:
            if trainer.is_global_zero:
                temporary.unlink(missing_ok=True)
            raise UsageError(
                f"cannot write {self.path}: {error}; free space or choose another runs_dir"
            ) from error
        self._saved_at = time.monotonic()


def usable_checkpoint(folder: Path) -> Path | None:
    """The checkpoint of an interrupted run, None if there is none.

    Raises:
        UsageError: it is damaged, or holds more than tensors and plain values.
    """
    path = folder / CHECKPOINT
    if not path.exists():
        return None
    try:
        with zipfile.ZipFile(path) as archive:  # torch itself does not look at the checksums
            damaged = archive.testzip()
        if damaged is not None:
            raise ValueError(f"checksum of {damaged} is wrong")
        torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for a damaged file
        raise UsageError(
            f"checkpoint {path} cannot be read ({str(error).splitlines()[0][:120]}); delete it to "
            "train this run again from its start"
        ) from error
    return path


def save_weights(model: torch.nn.Module, folder: Path) -> None:
    """Write the trained master weights to ``folder/weights.pt`` atomically."""
    temporary = folder / f".{WEIGHTS}.tmp"
    try:
        torch.save(model.state_dict(), temporary)
        temporary.replace(folder / WEIGHTS)
    except (OSError, RuntimeError) as error:
        temporary.unlink(missing_ok=True)
        raise UsageError(f"cannot write {folder / WEIGHTS}: {error}") from error


def load_weights(folder: Path) -> dict[str, torch.Tensor]:
    """Read the master weights of a finished run, without executing pickled code.

    Raises:
        UsageError: missing or damaged.
    """
    path = folder / WEIGHTS
    if not path.exists():
        raise UsageError(
            f"{path} is missing: the run is unfinished or was trained with save_weights=false"
        )
    try:
        state: dict[str, torch.Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for a damaged file
        raise UsageError(f"{path} cannot be read ({str(error).splitlines()[0][:120]})") from error
    return state
