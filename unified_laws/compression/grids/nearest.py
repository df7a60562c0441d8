"""The nearest code of a vector."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import cast

import torch
from torch import Tensor

SCORES = 2**18  # scores held at once, 1 MiB in float32: they stay in the cache of a core


def nearest_code(vectors: Tensor, codes: Tensor) -> Tensor:
    """Index of the code nearest to each vector: argmax over the codes g of x·g - ‖g‖²/2.

    As transformers' HIGGS (integrations/higgs.py, arXiv:2411.17525). The first of equally near
    codes wins. Scores exist for one chunk of vectors at a time, 1 MiB.

    Args:
        vectors: (count, dimension), float32.
        codes: (codes, dimension), float32.

    Returns:
        (count,) int64.
    """
    return cast(Tensor, _nearest(vectors, codes))


@torch.library.custom_op("unified_laws::nearest_code", mutates_args=())
def _nearest(vectors: Tensor, codes: Tensor) -> Tensor:
    """Opaque to the compiler, which would otherwise unroll the loop over chunks."""
    found = torch.empty(vectors.shape[0], dtype=torch.int64, device=vectors.device)
    offset = -0.5 * codes.square().sum(1)
    transposed = codes.T.contiguous()
    chunk = max(1, SCORES // codes.shape[0])
    starts = range(0, vectors.shape[0], chunk)

    def search(mine: range) -> None:
        buffer = torch.empty(chunk, codes.shape[0], dtype=vectors.dtype, device=vectors.device)
        for start in mine:
            part = vectors[start : start + chunk]
            scores = buffer[: part.shape[0]]
            torch.addmm(offset, part, transposed, out=scores)
            best = found[start : start + chunk]
            if scores.is_cpu:  # numpy's is vectorised: 3 to 8 times faster than torch's
                scores.numpy().argmax(1, out=best.numpy())
            else:
                torch.argmax(scores, dim=1, out=best)

    threads = torch.get_num_threads()
    workers = min(threads, len(starts)) if vectors.is_cpu else 1
    if workers <= 1:
        search(starts)
        return found
    # One of ours to each share: a chunk is too small for torch's threads to divide.
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(search, [starts[k::workers] for k in range(workers)]))
    finally:
        torch.set_num_threads(threads)
    return found


@_nearest.register_fake
def _(vectors: Tensor, codes: Tensor) -> Tensor:  # noqa: ARG001
    return vectors.new_empty(vectors.shape[0], dtype=torch.int64)
