"""Block-diagonal discrete cosine transform."""

from __future__ import annotations

from math import pi, sqrt
from typing import Literal, final

import torch
from torch import Tensor

from unified_laws.compression.transform.blockwise import (
    WHOLE,
    BlockTransform,
    block_matrix,
    blockwise,
)

AUTO_MAX_BLOCK = 128  # as for the Hadamard rotation


def cosines(block: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """The orthonormal DCT-II: C[n, k] = √(2/b)·cos(π(2n+1)k/2b), column 0 divided by √2."""
    n = torch.arange(block, device=device, dtype=torch.float64)
    matrix = sqrt(2.0 / block) * torch.cos(pi / (2 * block) * (2.0 * n + 1.0)[:, None] * n)
    return torch.where(n > 0, matrix, 1.0 / sqrt(block)).to(dtype)


@final
class Dct(BlockTransform):
    """x·diag(C, …), orthonormal DCT-II blocks on the last dimension.

    A transform of MR-GPTQ (arXiv:2509.23202, code: dct). Unlike the Hadamard rotation it exists
    for every block.

    Args:
        block: width of a block, which divides in_features; "auto" takes the largest divisor of
            in_features up to 128.
        fold: leave the operand in the new basis. The product is unchanged only if the other
            operand folds the same block.

    Raises:
        UsageError: the block is no positive whole number, or does not divide in_features.
    """

    def __init__(self, block: int | Literal["auto"], fold: bool) -> None:
        super().__init__("DCT", block, WHOLE, fold)

    def automatic(self, in_features: int) -> int:
        """The largest divisor up to 128."""
        return max(b for b in range(1, AUTO_MAX_BLOCK + 1) if in_features % b == 0)

    def bind(self, in_features: int) -> Dct:
        """The same transform with its block resolved."""
        return Dct(self.resolve(in_features), self._fold)

    def _matrix(self, x: Tensor) -> Tensor:
        return block_matrix(cosines, self.resolve(x.shape[-1]), x.device, x.dtype)

    def encode(self, x: Tensor) -> Tensor:
        """`x`·C."""
        return blockwise(x, self._matrix(x))

    def inverse(self, y: Tensor) -> Tensor:
        """`y`·Cᵀ."""
        return blockwise(y, self._matrix(y).T)
