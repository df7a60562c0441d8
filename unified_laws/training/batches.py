"""Batches in the order of (seed, step, rank): nothing to save, nothing to lose."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from torch import Tensor
from torch.utils.data import IterableDataset

# (optimizer step) -> (tokens, targets), each [sequences of this rank, seq_len]
BatchAt = Callable[[int], tuple[Tensor, Tensor]]


class StepBatches(IterableDataset[tuple[Tensor, Tensor]]):
    """Yields the micro-batches of every step from the one that is current when it is iterated.

    Args:
        batch_at: the whole batch of this rank at an optimizer step, a pure function.
        current_step: the step to start from, read when iteration begins (after a checkpoint was
            restored).
        steps: where to stop.
        accumulate: micro-batches per step; must divide the rank's sequences.
    """

    def __init__(
        self, batch_at: BatchAt, current_step: Callable[[], int], *, steps: int, accumulate: int
    ) -> None:
        self._batch_at = batch_at
        self._current_step = current_step
        self._steps = steps
        self._accumulate = accumulate

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield micro-batches until the last step."""
        for step in range(self._current_step(), self._steps):
            tokens, targets = self._batch_at(step)
            yield from zip(
                tokens.chunk(self._accumulate), targets.chunk(self._accumulate), strict=True
            )
