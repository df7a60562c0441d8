"""The product with a block-diagonal matrix of one repeated block."""

from __future__ import annotations

import torch
from torch import Tensor


def blockwise(x: Tensor, matrix: Tensor) -> Tensor:
    """x·diag(matrix, …) along the last dimension, outside autocast.

    An fp32 master weight is so rotated in fp32.

    Args:
        x: (..., width) with a width that is whole blocks.
        matrix: (block, block), dtype and device of `x`.
    """
    block = matrix.shape[0]
    if not torch.amp.is_autocast_available(x.device.type):
        return (x.reshape(-1, block) @ matrix).reshape(x.shape)
    with torch.autocast(x.device.type, enabled=False):
        return (x.reshape(-1, block) @ matrix).reshape(x.shape)
