"""The interface of a choice that is held between steps and changed by training."""

from __future__ import annotations

from abc import abstractmethod
from typing import final

import torch
from torch import Tensor

from unified_laws.compression.sparsifier.base import Sparsifier


class HeldSparsifier(Sparsifier):
    """A sparsifier of weights whose mask is a buffer, part of the state dict.

    It counts no steps: the training loop says which step it is (`before_forward`,
    `before_update`). Before `attach`, as in a GMSE, and right after it, the mask is that of the end
    of training. `support` stays a pure function of buffer and operand.
    """

    mask: Tensor | None

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mask", None)

    @abstractmethod
    def final_support(self, y: Tensor) -> Tensor:
        """The mask of the end of training for these values; True = kept."""

    def before_forward(self, y: Tensor, *, step: int, steps: int) -> None:
        """Change the mask ahead of the first forward pass of a step, and once after the last.

        Args:
            y: the encoded weight.
            step: optimizer steps done so far.
            steps: optimizer steps of the run.
        """

    def before_update(
        self,
        y: Tensor,  # noqa: ARG002
        gradient: Tensor,  # noqa: ARG002
        *,
        step: int,  # noqa: ARG002
        steps: int,  # noqa: ARG002
    ) -> Tensor | None:
        """Change the mask between backward and optimizer step, if `wants_gradient`.

        Args:
            y: the encoded weight.
            gradient: the gradient of `y`, of pruned values too.
            step: optimizer steps done so far.
            steps: optimizer steps of the run.

        Returns:
            True where a value starts anew from zero; None if none does.
        """
        return None

    @property
    def wants_gradient(self) -> bool:
        """Whether `before_update` is to be called, and pruned values get no update."""
        return False

    @final
    def attach(self, y: Tensor) -> None:
        """Hold the mask of an encoded weight from now on."""
        self.mask = torch.ones_like(y, dtype=torch.bool) if y.is_meta else self.final_support(y)

    @final
    def support(self, y: Tensor) -> Tensor | None:
        """The mask that is held."""
        return self.final_support(y) if self.mask is None else self.mask
