"""Block-diagonal discrete cosine transform."""

from __future__ import annotations

from math import pi, sqrt
from typing import Literal, final

import torch
from torch import Tensor

from unified_laws.compression.transform.base import Transform
from unified_laws.compression.transform.blockwise import blockwise
from unified_laws.errors import UsageError

AUTO_MAX_BLOCK = 128  # as for the Hadamard rotation

_matrices: dict[tuple[int, torch.device, torch.dtype], Tensor] = {}


def cosines(block: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """The orthonormal DCT-II: C[n, k] = √(2/b)·cos(π(2n+1)k/2b), column 0 divided by √2."""
    n = torch.arange(block, device=device, dtype=torch.float64)
    matrix = sqrt(2.0 / block) * torch.cos(pi / (2 * block) * (2.0 * n + 1.0)[:, None] * n)
    return torch.where(n > 0, matrix, 1.0 / sqrt(block)).to(dtype)


def dct_matrix(block: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """`cosines`, made once for all layers; see `hadamard_matrix` for why it is not a buffer."""
    if torch.compiler.is_compiling():
        return cosines(block, device, dtype)
    key = (block, device, dtype)
    if key not in _matrices:
        with torch.inference_mode(mode=False):
            _matrices[key] = cosines(block, device, dtype)
    return _matrices[key]


@final
class Dct(Transform):
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
        super().__init__()
        is_whole = isinstance(block, int) and not isinstance(block, bool) and block > 0
        if block != "auto" and not is_whole:
            raise UsageError(
                f"DCT block: got {block!r}, allowed are positive whole numbers and 'auto'; take "
                f"'auto' for the largest divisor up to {AUTO_MAX_BLOCK}"
            )
        self._block = block
        self._fold = bool(fold)

    @property
    def block(self) -> int | None:
        """Width of one block; None for an "auto" that is not bound yet."""
        return None if self._block == "auto" else int(self._block)

    @property
    def folded(self) -> bool:
        """Whether the operand stays in the new basis."""
        return self._fold

    @property
    def is_orthonormal(self) -> bool:
        """True."""
        return True

    @property
    def is_identity(self) -> bool:
        """Whether the block has one element."""
        return self._block == 1

    def resolve(self, in_features: int) -> int:
        """The block used at this width."""
        if self._block == "auto":
            return max(b for b in range(1, AUTO_MAX_BLOCK + 1) if in_features % b == 0)
        block = int(self._block)
        if in_features % block:
            raise UsageError(
                f"DCT block {block}: got in_features {in_features}, allowed are multiples of "
                f"{block}; take block 'auto' or a divisor of {in_features}"
            )
        return block

    def bind(self, in_features: int) -> Dct:
        """The same transform with its block resolved."""
        return Dct(self.resolve(in_features), self._fold)

    def encode(self, x: Tensor) -> Tensor:
        """`x`·C."""
        return blockwise(x, dct_matrix(self.resolve(x.shape[-1]), x.device, x.dtype))

    def inverse(self, y: Tensor) -> Tensor:
        """`y`·Cᵀ."""
        return blockwise(y, dct_matrix(self.resolve(y.shape[-1]), y.device, y.dtype).T)

    def extra_repr(self) -> str:
        """The arguments."""
        return f"block={self._block}, fold={self._fold}"
