"""Block-diagonal Hadamard rotation."""

from __future__ import annotations

from math import sqrt
from typing import Literal, final

import torch
from torch import Tensor

from unified_laws.compression.transform.blockwise import (
    POWER,
    BlockTransform,
    block_matrix,
    blockwise,
)
from unified_laws.errors import UsageError

AUTO_MAX_BLOCK = 128  # QuEST, arXiv:2502.05003, code: block 128


def sylvester(block: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """The orthonormal symmetric Hadamard matrix (block, block) of Sylvester's construction."""
    matrix = torch.full((1, 1), 1.0 / sqrt(block), device=device, dtype=dtype)
    while matrix.shape[0] < block:
        matrix = torch.cat([torch.cat([matrix, matrix], 1), torch.cat([matrix, -matrix], 1)], 0)
    return matrix


def random_signs(count: int, seed: int) -> Tensor:
    """`count` independent ±1, float32 on the CPU, from a generator of their own."""
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randint(0, 2, (count,), generator=generator, device="cpu")
    return 2.0 * drawn - 1.0


@final
class Hadamard(BlockTransform):
    """x·D·H with H = diag(H_block, …), orthonormal Sylvester blocks on the last dimension.

    QuEST (arXiv:2502.05003, code), where D is 1. With signs, D = diag(±1, …) at random, before H:
    after it they would flip whole columns of the result, which no symmetric grid notices. The
    rotation runs in the dtype of the operand, outside autocast, so that an fp32 master weight is
    rotated in fp32.

    Args:
        block: width of a block, a power of two that divides in_features; "auto" takes the largest
            power of two up to 128 that divides in_features.
        fold: leave the operand in the rotated basis (QuEST's "HalfHadamard"). The product is
            unchanged only if the other operand folds the same block and signs.
        signs: seed of D, one sign per input feature, the same for every layer of that width and
            at every step; None for D = 1.

    Raises:
        UsageError: the block is not a power of two or does not divide in_features, or the seed is
            no whole number.

    Note:
        QuEST builds the dense (in_features, in_features) matrix and requires multiples of 128;
        here one block is stored, and "auto" shrinks it (down to 1, which does nothing, at odd
        widths). QuEST has no signs. A graph compiled under autocast rotates the
        gradient in the autocast dtype (torch traces its backward so); eager code does not.
    """

    def __init__(self, block: int | Literal["auto"], fold: bool, signs: int | None = None) -> None:
        super().__init__("Hadamard", block, POWER, fold)
        if signs is not None and (
            not isinstance(signs, int) or isinstance(signs, bool) or signs < 0
        ):
            raise UsageError(
                f"Hadamard signs: got {signs!r}, allowed are null (no signs) and whole numbers "
                "from 0, the seed of the signs; take 0"
            )
        self._seed = signs
        self._signs: Tensor | None = None  # of the width it is bound to

    def automatic(self, in_features: int) -> int:
        """The largest power of two up to 128 that divides it."""
        return min(AUTO_MAX_BLOCK, in_features & -in_features)

    @property
    def is_identity(self) -> bool:
        """Whether the block has one element and nothing is flipped."""
        return self._block == 1 and self._seed is None

    @property
    def basis(self) -> tuple[object, ...]:
        """Kind, block and seed of the signs."""
        return (*super().basis, self._seed)

    def bind(self, in_features: int) -> Hadamard:
        """The same rotation with its block resolved and its signs drawn."""
        bound = Hadamard(self.resolve(in_features), self._fold, self._seed)
        if self._seed is not None:
            bound._signs = random_signs(in_features, self._seed)
        return bound

    def _flip(self, x: Tensor) -> Tensor:
        """`x`·D."""
        if self._seed is None:
            return x
        signs = self._signs
        if signs is None:
            signs = random_signs(x.shape[-1], self._seed)
        return x * signs.to(x.device, x.dtype)

    def _rotate(self, x: Tensor) -> Tensor:
        """`x`·H, and `x`·Hᵀ, since H is symmetric."""
        block = self.resolve(x.shape[-1])
        return blockwise(x, block_matrix(sylvester, block, x.device, x.dtype))

    def encode(self, x: Tensor) -> Tensor:
        """`x`·D·H."""
        return self._rotate(self._flip(x))

    def inverse(self, y: Tensor) -> Tensor:
        """`y`·Hᵀ·D."""
        return self._flip(self._rotate(y))

    def extra_repr(self) -> str:
        """The arguments."""
        return f"{super().extra_repr()}, signs={self._seed}"
