"""What orthonormal transforms of repeated blocks have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from unified_laws.compression.product import product
from unified_laws.compression.transform.base import Transform
from unified_laws.errors import UsageError

MakeMatrix = Callable[[int, torch.device, torch.dtype], Tensor]

_matrices: dict[tuple[MakeMatrix, int, torch.device, torch.dtype], Tensor] = {}


def block_matrix(make: MakeMatrix, block: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """`make(block, device, dtype)`, made once for all layers; under a compiler part of the graph.

    Not a buffer: a model built on the meta device and materialised by `to_empty` would find noise
    in a buffer that no checkpoint restores. Made outside inference mode, since training may follow
    a validation epoch.
    """
    if torch.compiler.is_compiling():
        return make(block, device, dtype)
    key = (make, block, device, dtype)
    if key not in _matrices:
        with torch.inference_mode(mode=False):
            _matrices[key] = make(block, device, dtype)
    return _matrices[key]


def blockwise(x: Tensor, matrix: Tensor) -> Tensor:
    """x·diag(matrix, …) along the last dimension, outside autocast.

    An fp32 master weight is so rotated in fp32.

    Args:
        x: (..., width) with a width that is whole blocks.
        matrix: (block, block), dtype and device of `x`.
    """
    block = matrix.shape[0]
    return product(x.reshape(-1, block), matrix).reshape(x.shape)


POWER, WHOLE = "a power of two", "a positive whole number"


def check_block(owner: str, block: int | Literal["auto"], kind: str) -> None:
    """Refuse a block that is no width of its kind, `POWER` or `WHOLE`.

    Raises:
        UsageError: the block is neither "auto" nor such a number.
    """
    whole = isinstance(block, int) and not isinstance(block, bool) and block > 0
    if block != "auto" and not (whole and (kind == WHOLE or int(block).bit_count() == 1)):
        raise UsageError(
            f"{owner} block: got {block!r}, allowed is {kind} or 'auto'; take 'auto' for the "
            "largest one that fits"
        )


class BlockTransform(Transform):
    """x·diag(B, …) with one orthonormal block B along the last dimension.

    The product runs in the dtype of the operand, outside autocast.

    Args:
        owner: what the errors call the transform.
        block: width of B, which divides in_features, or "auto".
        kind: what a width may be, see `check_block`.
        fold: leave the operand in the new basis.

    Raises:
        UsageError: the block is no such width.
    """

    def __init__(self, owner: str, block: int | Literal["auto"], kind: str, fold: bool) -> None:
        super().__init__()
        check_block(owner, block, kind)
        self.owner = owner
        self.kind = kind
        self._block = block
        self._fold = bool(fold)

    @abstractmethod
    def automatic(self, in_features: int) -> int:
        """What "auto" is at this width."""

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
        """The block used at this width.

        Raises:
            UsageError: it does not divide `in_features`.
        """
        if self._block == "auto":
            return self.automatic(in_features)
        block = int(self._block)
        if in_features % block:
            raise UsageError(
                f"{self.owner} block {block}: got in_features {in_features}, allowed are multiples "
                f"of {block}; take block 'auto' or {self.kind} that divides {in_features}"
            )
        return block

    def extra_repr(self) -> str:
        """The arguments."""
        return f"block={self._block}, fold={self._fold}"
