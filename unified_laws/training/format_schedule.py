"""Tells the stages of a format which step it is: they count none themselves."""

from __future__ import annotations

from typing import Any

import lightning as L  # noqa: N812 - Lightning's own name for it
import torch
from torch import Tensor, nn

from unified_laws.compression.compressor import Compressor
from unified_laws.compression.linear import CompressedLinear
from unified_laws.compression.quantizer.learned import LearnedQuantizer
from unified_laws.compression.random_source import rewound
from unified_laws.compression.sparsifier.held import HeldSparsifier
from unified_laws.training.module import TrainingModule, compressed_linears


class FormatSchedule(L.Callback):
    """Changes held masks ahead of a step or before its update; starts learned activations.

    State lives in the buffers of the stages, hence in every checkpoint; a step that is repeated
    after a crash sees what it saw before.
    """

    def __init__(self) -> None:
        self._held: list[tuple[nn.Parameter, Compressor, HeldSparsifier]] = []
        self._step = -1

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Find what is scheduled."""
        del trainer
        assert isinstance(pl_module, TrainingModule)
        self._step, self._held = -1, []
        for _, linear in compressed_linears(pl_module.model):
            compressor = linear.weight_compressor
            if compressor is not None and isinstance(compressor.sparsifier, HeldSparsifier):
                weight = linear.get_parameter("weight")
                self._held.append((weight, compressor, compressor.sparsifier))

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Ahead of the first micro-batch of a step."""
        del batch_idx
        if trainer.global_step != self._step:
            self._step = trainer.global_step
            self._before_forward(trainer)
            assert isinstance(pl_module, TrainingModule)
            begin_activations(pl_module.model, batch[0])

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """The trained weights get the mask that the next forward pass would have used."""
        del pl_module
        self._before_forward(trainer)

    @torch.no_grad()
    def _before_forward(self, trainer: L.Trainer) -> None:
        for weight, compressor, sparsifier in self._held:
            encoded = compressor.transform.encode(weight)
            sparsifier.before_forward(
                encoded, step=trainer.global_step, steps=int(trainer.max_steps)
            )

    @torch.no_grad()
    def on_before_optimizer_step(
        self, trainer: L.Trainer, pl_module: L.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        """Grow by the dense gradient, then hide it from the optimizer where nothing is kept.

        The gradient of the encoded weight is the encoded gradient, since the transform is
        orthonormal (the sparsifiers that want a gradient refuse others).
        """
        del pl_module, optimizer
        for weight, compressor, sparsifier in self._held:
            if not sparsifier.wants_gradient or weight.grad is None:
                continue
            transform = compressor.transform
            encoded, gradient = transform.encode(weight), transform.encode(weight.grad)
            grown = sparsifier.before_update(
                encoded, gradient, step=trainer.global_step, steps=int(trainer.max_steps)
            )
            if grown is not None:
                weight.copy_(transform.inverse(torch.where(grown, 0.0, encoded)))
            if sparsifier.mask is not None:
                kept = torch.where(sparsifier.mask, gradient, 0.0)
                weight.grad.copy_(transform.inverse(kept))


@torch.no_grad()
def begin_activations(model: nn.Module, tokens: Tensor) -> None:
    """Let learned quantizers of activations that have not begun do so on this batch.

    Layer by layer in one forward pass: each sees inputs that the layers before it have quantized.
    """
    waiting = [
        linear
        for _, linear in compressed_linears(model)
        if linear.activation_compressor is not None
        and isinstance(linear.activation_compressor.quantizer, LearnedQuantizer)
        and not linear.activation_compressor.quantizer.has_begun
    ]
    if not waiting:
        return

    def begin(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        assert isinstance(layer, CompressedLinear)
        assert layer.activation_compressor is not None
        layer.activation_compressor.attach(inputs[0], is_weight=False)

    handles = [linear.register_forward_pre_hook(begin) for linear in waiting]
    try:
        with rewound(model):  # the first step draws what this batch has seen
            model(tokens)
    finally:
        for handle in handles:
            handle.remove()
