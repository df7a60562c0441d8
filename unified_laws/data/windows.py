"""Which windows of the token file a step reads: a pure function of (seed, step, rank)."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray


@lru_cache(maxsize=2)  # a batch touches at most two epochs; 4 bytes per window
def permutation(seed: int, epoch: int, count: int) -> NDArray[np.uint32]:
    """The order of ``count`` windows in one epoch. Shape [count]; read-only."""
    generator = np.random.Generator(np.random.Philox(key=np.array([seed, epoch], dtype=np.uint64)))
    order = generator.permutation(np.arange(count, dtype=np.uint32))
    order.setflags(write=False)
    return order


def windows_at(*, seed: int, first: int, size: int, count: int) -> NDArray[np.int64]:
    """Windows at the positions first … first + size - 1 of the endless permuted stream.

    Position p lies in epoch p // count; every epoch is a new permutation of all windows.

    Args:
        seed: seed of the order.
        first: first position, in windows.
        size: number of windows.
        count: number of different windows.

    Returns:
        Shape [size], numbers below ``count``.
    """
    positions = np.arange(first, first + size, dtype=np.int64)
    epochs, places = np.divmod(positions, count)
    chosen = np.empty(size, dtype=np.int64)
    for epoch in range(int(epochs[0]), int(epochs[-1]) + 1):
        inside = epochs == epoch
        chosen[inside] = permutation(seed, epoch, count)[places[inside]]
    return chosen


def gather(
    tokens: NDArray[np.uint16] | NDArray[np.uint32], windows: NDArray[np.int64], seq_len: int
) -> NDArray[np.int64]:
    """Read windows of ``seq_len + 1`` tokens with stride ``seq_len``.

    Args:
        tokens: flat array of tokens, shape [tokens], usually memory-mapped.
        windows: numbers of windows, shape [n].
        seq_len: stride, in tokens.

    Returns:
        Shape [n, seq_len + 1].
    """
    index = windows[:, None] * seq_len + np.arange(seq_len + 1, dtype=np.int64)
    windows_of_tokens: NDArray[np.int64] = tokens[index].astype(np.int64)
    return windows_of_tokens
