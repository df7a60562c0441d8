"""Random numbers of stages that draw."""

from __future__ import annotations

from itertools import count
from typing import Any
from weakref import WeakValueDictionary

import torch
from torch import Tensor

from unified_laws.errors import UsageError


def _mixed(word: int) -> int:
    """The 64 bits of `word` in 32, all of them mattering (finalizer of SplitMix64).

    The CPU generator of torch ignores the upper half of a seed.
    """
    full = 2**64 - 1
    word = ((word ^ (word >> 30)) * 0xBF58476D1CE4E5B9) & full
    word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) & full
    return (word ^ (word >> 31)) & 0xFFFFFFFF


class RandomSource:
    """An explicit generator on the device of the operand, drawing anew at every call.

    It starts at the first call, from the seed and the bits of the first operand: layers differ,
    equal runs agree. A copy starts again.

    Args:
        owner: what the error calls the stage.
        seed: 0 to 2^31 - 1.

    Raises:
        UsageError: the seed is none.

    Note:
        The position in the stream is no part of `state_dict`: a resumed run draws other numbers
        than an uninterrupted one.
    """

    def __init__(self, owner: str, seed: int) -> None:
        whole = isinstance(seed, int) and not isinstance(seed, bool)
        if not whole or not 0 <= seed < 2**31:
            raise UsageError(
                f"{owner} seed: got {seed!r}, allowed are whole numbers from 0 to 2147483647; "
                "choose one of them"
            )
        self.owner = owner
        self.seed = seed
        self._generator: torch.Generator | None = None
        self._key = next(_KEYS)
        _SOURCES[self._key] = self

    def __deepcopy__(self, memo: dict[int, Any]) -> RandomSource:
        return RandomSource(self.owner, self.seed)

    def __reduce__(self) -> tuple[Any, ...]:
        return RandomSource, (self.owner, self.seed)

    def _at(self, like: Tensor) -> torch.Generator:
        if self._generator is None or self._generator.device != like.device:
            content = int(like.detach().float().contiguous().view(torch.int32).sum().item())
            self._generator = torch.Generator(like.device)
            self._generator.manual_seed(_mixed((self.seed << 32) | (content & 0xFFFFFFFF)))
        return self._generator

    def uniform(self, like: Tensor) -> Tensor:
        """Float32 on [0, 1), of the shape of `like`."""
        drawn: Tensor = _draw(like, self._key, False)
        return drawn

    def normal(self, like: Tensor) -> Tensor:
        """Float32 of N(0,1), of the shape of `like`."""
        drawn: Tensor = _draw(like, self._key, True)
        return drawn

    def draw(self, like: Tensor, normal: bool) -> Tensor:
        """The next numbers of the stream, outside any traced graph."""
        sample = torch.randn if normal else torch.rand
        return sample(like.shape, generator=self._at(like), device=like.device)


_KEYS = count()
_SOURCES: WeakValueDictionary[int, RandomSource] = WeakValueDictionary()


@torch.library.custom_op("unified_laws::draw", mutates_args=())
def _draw(like: Tensor, key: int, normal: bool) -> Tensor:
    """An operator, as a generator cannot enter a traced graph."""
    return _SOURCES[key].draw(like, normal)


@_draw.register_fake
def _(like: Tensor, key: int, normal: bool) -> Tensor:  # noqa: ARG001
    return torch.empty(like.shape, dtype=torch.float32, device=like.device)
