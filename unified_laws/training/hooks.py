"""A hook between backward and optimizer step, for corrections that see what was compressed.

CAGE (arXiv:2510.18784) for one adds lambda * (w - Q(w)) to the gradient here.
"""

from __future__ import annotations

from typing import Protocol

from torch import Tensor, nn


class BeforeStep(Protocol):
    """Called once per optimizer step and compressed linear, after backward, before clipping."""

    def __call__(
        self, name: str, master: nn.Parameter, projected: Tensor, *, step: int, steps: int
    ) -> None:
        """See and change ``master.grad``.

        Args:
            name: the linear's name in the model.
            master: the trained weight, [out_features, in_features].
            projected: its compressed value, same shape, detached.
            step: optimizer steps done so far.
            steps: optimizer steps of the run.
        """
