"""What happens around the steps: metrics to disk, divergence, progress."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L  # noqa: N812 - Lightning's own name for it
import torch

from unified_laws.errors import UsageError
from unified_laws.records.files import write_text

Progress = Callable[[int, int], None]


def truncate_metrics(path: Path, step: int) -> None:
    """Drop rows past ``step`` and a torn last line, so that a resumed run repeats no step."""
    if not path.exists():
        return
    kept = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict) and row.get("step", math.inf) <= step:
            kept.append(line)
    write_text(path, "".join(f"{line}\n" for line in kept))


class MetricsWriter(L.Callback):
    """Appends one JSON line per ``every`` steps and one for the last, and mirrors them to loggers.

    The loss of a row is the mean over all micro-batches and steps since the previous row.
    """

    def __init__(self, path: Path, *, every: int, tokens_per_step: int) -> None:
        self.path = path
        self.every = every
        self.tokens_per_step = tokens_per_step
        self.last_loss = math.nan
        self._losses: list[torch.Tensor] = []
        self._clock = 0.0
        self._step = 0

    def state_dict(self) -> dict[str, Any]:
        """The losses since the last row: a resumed run averages over the same steps."""
        return {"losses": [loss.cpu() for loss in self._losses], "last_loss": self.last_loss}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on averaging."""
        self._losses = list(state_dict["losses"])
        self.last_loss = float(state_dict["last_loss"])

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start the clock at the restored step."""
        self._losses = [loss.to(pl_module.device) for loss in self._losses]
        truncate_metrics(self.path, trainer.global_step)
        self._step, self._clock = trainer.global_step, time.monotonic()

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Collect the loss; write a row at the boundary of a step."""
        del pl_module, batch, batch_idx
        # Lightning hands out the loss as it enters backward: a share of the step's mean.
        self._losses.append(outputs["loss"].detach() * trainer.accumulate_grad_batches)
        step = trainer.global_step
        if step == self._step or (step % self.every and step != trainer.max_steps):
            return
        mean = trainer.strategy.reduce(torch.stack(self._losses).mean(), reduce_op="mean")
        self.last_loss = float(mean)
        self._losses.clear()
        now = time.monotonic()
        rate = (step - self._step) * self.tokens_per_step / max(now - self._clock, 1e-9)
        row = {
            "step": step,
            "tokens": step * self.tokens_per_step,
            "train_loss": self.last_loss if math.isfinite(self.last_loss) else None,
            "learning_rate": trainer.optimizers[0].param_groups[0]["lr"],
            "tokens_per_second": round(rate, 1),
        }
        self._step, self._clock = step, now
        if trainer.is_global_zero:
            try:
                with self.path.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(row) + "\n")
            except OSError as error:
                raise UsageError(f"cannot write {self.path}: {error.strerror or error}") from error
        for logger in trainer.loggers:
            numbers = {k: float(v) for k, v in row.items() if isinstance(v, (int, float))}
            logger.log_metrics(numbers, step=step)


class DivergenceGuard(L.Callback):
    """Stops a run whose training loss is not finite, or is past saving.

    Args:
        limit: nats; twice the loss of a uniform guess, 2 ln(vocab_size), is used by `train`.
        writer: supplies the latest mean loss, so that the device is not asked twice.
    """

    def __init__(self, limit: float, writer: MetricsWriter) -> None:
        self.limit = limit
        self.writer = writer
        self.reason = ""
        self._seen = -1

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Nothing is judged before the first step is whole."""
        del pl_module
        self._seen = trainer.global_step

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Judge the newest row."""
        del pl_module, outputs, batch, batch_idx
        loss, step = self.writer.last_loss, trainer.global_step
        if step == self._seen or (step % self.writer.every and step != trainer.max_steps):
            return
        self._seen = step
        if not math.isfinite(loss):
            self.reason = f"training loss is {loss} at step {step}"
        elif loss > self.limit:
            self.reason = f"training loss {loss:.3f} at step {step} exceeds {self.limit:.3f} nats"
        if self.reason:
            trainer.should_stop = True


class ProgressReporter(L.Callback):
    """Calls ``progress(step, steps)`` after every optimizer step."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Report the step."""
        del pl_module, outputs, batch, batch_idx
        self._progress(trainer.global_step, int(trainer.max_steps))
