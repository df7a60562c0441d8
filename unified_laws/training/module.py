"""The LightningModule: a decoder, its optimizer and its schedule."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import lightning as L  # noqa: N812 - Lightning's own name for it
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

from unified_laws.compression.linear import CompressedLinear
from unified_laws.compression.weight_scope import cache_weights, drop_weights
from unified_laws.model.llama import Llama
from unified_laws.training.hooks import BeforeStep

OptimizerFactory = Callable[[Iterable[dict[str, Any]]], torch.optim.Optimizer]
Schedule = Callable[[int, int], float]


def parameter_groups(model: Llama) -> list[dict[str, Any]]:
    """Parameters by role: linears of the blocks decay; embedding, head and norms do not.

    Nor does what a compressor learns. As in QuEST's code (no decay on norms, embeddings and
    lm_head). The groups carry ``role`` so that an optimizer for matrices can treat them apart.
    Shared with the swap: same Parameters.
    """
    decayed: list[nn.Parameter] = []
    rest: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        ours = name.startswith("blocks.") and "_compressor." not in name
        hidden = parameter.dim() >= 2 and ours
        (decayed if hidden else rest).append(parameter)
    return [
        {"params": decayed, "role": "hidden"},
        {"params": rest, "role": "rest", "weight_decay": 0.0},
    ]


class TrainingModule(L.LightningModule):
    """Next-token training of one decoder, compressed or not.

    Args:
        model: the decoder, initialised and swapped.
        optimizer: makes the optimizer from parameter groups.
        schedule: (step, steps) to a multiple of the optimizer's learning rate.
        steps: optimizer steps of the whole run.
        before_step: hooks between backward and optimizer step.
        autocast: bf16 autocast is on (validation outside the Trainer needs to know).
        compiled: run forward through torch.compile.
    """

    def __init__(
        self,
        model: Llama,
        optimizer: OptimizerFactory,
        schedule: Schedule,
        *,
        steps: int,
        before_step: Sequence[BeforeStep] = (),
        autocast: bool = False,
        compiled: bool = False,
    ) -> None:
        super().__init__()
        self.model = model
        self.steps = steps
        self.autocast = autocast
        self._optimizer = optimizer
        self._schedule = schedule
        self._before_step = tuple(before_step)
        # A list keeps the compiled copy out of the module tree, hence out of the state dict.
        self._forward: list[Callable[[Tensor], Tensor]] = [
            torch.compile(model) if compiled else model
        ]

    def losses(self, tokens: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy in nats per token, [batch, seq], fp32."""
        logits = self._forward[0](tokens).float()
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none").view(
            targets.shape
        )

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """Mean loss of one (micro-)batch; the weights are projected for the first of a step."""
        del batch_idx
        if self.trainer.accumulate_grad_batches > 1 or self._before_step:
            cache_weights(self.model)
        return self.losses(*batch).mean()

    def optimizer_step(self, *arguments: Any, **keywords: Any) -> None:
        """The step, from which on the projected weights are those out of date."""
        super().optimizer_step(*arguments, **keywords)
        drop_weights(self.model)

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Show every hook each (master weight, projected weight)."""
        del optimizer
        if not self._before_step:
            return
        for name, linear in compressed_linears(self.model):
            projected = linear.projected_weight()
            master = linear.get_parameter("weight")
            for hook in self._before_step:
                hook(name, master, projected, step=self.global_step, steps=self.steps)

    def configure_optimizers(self) -> Any:
        """The optimizer over roles, and the schedule stepped after every optimizer step."""
        optimizer = self._optimizer(parameter_groups(self.model))
        scheduler = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: self._schedule(min(step, self.steps - 1), self.steps)
        )
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }


def compressed_linears(model: nn.Module) -> list[tuple[str, CompressedLinear]]:
    """Every compressed linear of a model with its name, in order."""
    return [(n, m) for n, m in model.named_modules() if isinstance(m, CompressedLinear)]
