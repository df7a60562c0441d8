"""The loss that enters the law: the mean over fixed validation windows."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from unified_laws.compression.random_source import rewound
from unified_laws.compression.weight_scope import cached_weights
from unified_laws.training.module import TrainingModule


@dataclass(frozen=True)
class ValidationLoss:
    """Mean loss and its standard error over windows, nats per token."""

    nats: float
    stderr_nats: float
    windows: int


@torch.no_grad()
def validation_loss(
    module: TrainingModule, windows: tuple[Tensor, Tensor], *, batch_size: int
) -> ValidationLoss:
    """Evaluate ``module`` on (tokens, targets), each [windows, seq_len], compressed as trained.

    Returns:
        The mean over all tokens. The standard error is that of the mean of per-window means, so
        it says how much another sample of windows would move the loss; between formats evaluated
        on the same windows the difference is far better determined. Every weight is projected
        once; formats that draw random numbers draw the same ones if they are evaluated again, and
        training goes on as if they had not been.
    """
    tokens, targets = windows
    device = next(module.parameters()).device
    training = module.training
    module.eval()
    means = []
    with (
        torch.autocast(device.type, torch.bfloat16, enabled=module.autocast),
        rewound(module.model),
        cached_weights(module.model),
    ):
        for start in range(0, len(tokens), batch_size):
            part = slice(start, start + batch_size)
            losses = module.losses(tokens[part].to(device), targets[part].to(device))
            means.append(losses.double().mean(dim=1).cpu())
    module.train(training)
    mean = torch.cat(means)
    deviation = mean.std().item() if len(mean) > 1 else math.nan
    return ValidationLoss(mean.mean().item(), deviation / math.sqrt(len(mean)), len(mean))
