"""A learnable block-diagonal factor of the weight, folded away at inference."""

from __future__ import annotations

from typing import Literal, final

import torch
from torch import Tensor, nn

from unified_laws.compression.transform.base import Transform
from unified_laws.compression.transform.blockwise import POWER, check_block
from unified_laws.compression.transform.hadamard import AUTO_MAX_BLOCK, sylvester
from unified_laws.errors import UsageError


@final
class Overparam(Transform):
    """X(RW)ᵀ with a learnable block-diagonal R (arXiv:2506.01863, submission, App. F).

    Each block of R starts as the orthonormal Hadamard matrix and is trained with W; nothing keeps
    it orthonormal. R is never undone in the forward pass: `fold_linears` writes the product into a
    plain layer of the size of W. Before `attach`, as in a GMSE, R is its initial value.

    Args:
        block: width of a block, a power of two that divides the dimension R acts on; "auto" takes
            the largest up to the paper's 128.
        side: "output" (R·W for W (out_features, in_features), as printed: R mixes output rows) or
            "input" (R times each row of W, that is W·Rᵀ: R mixes input features, where the
            Hadamard rotation of a format acts).

    Raises:
        UsageError: an argument is outside its range, the block does not divide the dimension, or
            the operand is not a weight.

    Note:
        The paper prints R·W without the shape of W. As W of a torch linear layer is
        (out_features, in_features), the product as printed is "output".
    """

    matrix: nn.Parameter | None

    def __init__(self, block: int | Literal["auto"], side: Literal["output", "input"]) -> None:
        super().__init__()
        check_block("overparam", block, POWER)
        if side not in ("output", "input"):
            raise UsageError(
                f"overparam side: got {side!r}, allowed are 'output' and 'input'; take output for "
                "the product as printed"
            )
        self._block = block
        self.side = side
        self.register_parameter("matrix", None)

    def resolve(self, width: int) -> int:
        """The block for a dimension of `width` values."""
        if self._block == "auto":
            return min(AUTO_MAX_BLOCK, width & -width)
        block = int(self._block)
        if width % block:
            raise UsageError(
                f"overparam block {block} on the {self.side} side: got width {width}, allowed are "
                f"multiples of {block}; take block 'auto' or a power of two that divides {width}"
            )
        return block

    def _start(self, x: Tensor) -> Tensor:
        """The initial R for `x`, its blocks (blocks, block, block)."""
        if x.dim() != 2:
            raise UsageError(
                f"overparam transform: got an operand of {x.dim()} dimensions, allowed are weights "
                "(out_features, in_features), as R is folded into them; take it for the weight"
            )
        width = x.shape[0 if self.side == "output" else 1]
        block = self.resolve(width)
        return sylvester(block, x.device, x.dtype).repeat(width // block, 1, 1)

    def attach(self, x: Tensor, *, is_weight: bool) -> None:
        """Make R a parameter, on the device and in the dtype of the weight `x`."""
        if not is_weight:
            raise UsageError(
                "overparam transform: got the activation, allowed is the weight, into which R is "
                "folded; set it for the weight alone"
            )
        self.matrix = nn.Parameter(self._start(x))

    def _blocks(self, x: Tensor) -> Tensor:
        return self._start(x) if self.matrix is None else self.matrix

    def _apply_blocks(self, x: Tensor, *, inverse: bool) -> Tensor:
        blocks = self._blocks(x)
        w = x if self.side == "output" else x.mT
        parts = w.reshape(blocks.shape[0], -1, w.shape[1])
        if inverse:
            solved: Tensor = torch.linalg.solve(blocks.float(), parts.float()).to(x.dtype)
            product = solved.flatten(0, 1)
        else:
            product = torch.bmm(blocks.to(x.dtype), parts).flatten(0, 1)
        return product if self.side == "output" else product.mT

    def encode(self, x: Tensor) -> Tensor:
        """R·`x` ("output") or `x`·Rᵀ ("input"), outside autocast."""
        if not torch.amp.is_autocast_available(x.device.type):
            return self._apply_blocks(x, inverse=False)
        with torch.autocast(x.device.type, enabled=False):
            return self._apply_blocks(x, inverse=False)

    def inverse(self, y: Tensor) -> Tensor:
        """R⁻¹·`y`, or `y`·R⁻ᵀ."""
        return self._apply_blocks(y, inverse=True)

    @property
    def folded(self) -> bool:
        """True: the layer computes with the product."""
        return True

    @property
    def basis(self) -> tuple[object, ...]:
        """One of its own: no activation can share a learned basis."""
        return (*super().basis, id(self))

    @property
    def is_orthonormal(self) -> bool:
        """False: only at the start."""
        return False

    @property
    def is_identity(self) -> bool:
        """False."""
        return False

    @property
    def block(self) -> int | None:
        """Width of one block; None for an "auto" that is not attached yet."""
        if self.matrix is not None:
            return int(self.matrix.shape[-1])
        return None if self._block == "auto" else int(self._block)

    def bind(self, in_features: int) -> Overparam:
        """One without parameters yet, which `attach` makes.

        Raises:
            UsageError: the block does not divide `in_features`, on the input side.
        """
        if self.side == "input":
            self.resolve(in_features)
        return Overparam(self._block, self.side)

    def extra_repr(self) -> str:
        """The arguments."""
        return f"block={self._block}, side={self.side}"
