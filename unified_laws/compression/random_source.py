"""Random numbers of stages that draw."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any, final
from weakref import WeakValueDictionary

import torch
from torch import Tensor, nn

from unified_laws.errors import UsageError

WORD = 2**32 - 1
NOT_BEGUN = -1


def _mixed(high: int, low: int) -> int:
    """Two words of 32 bits in one, all bits mattering (finalizer of SplitMix64).

    The CPU generator of torch ignores the upper half of a seed.
    """
    full = 2**64 - 1
    word = ((high & WORD) << 32) | (low & WORD)
    word = ((word ^ (word >> 30)) * 0xBF58476D1CE4E5B9) & full
    word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) & full
    return (word ^ (word >> 31)) & WORD


@final
class RandomSource(nn.Module):
    """A stream of random numbers with a position that is saved, drawing anew at every call.

    The numbers of a draw follow from the seed, the stream and how often was drawn before: a run
    that was resumed draws what an undisturbed one would have drawn. The stream is a checksum of the
    bits of a tensor, so that layers differ and equal runs agree: of the weight of the layer
    (`begin`), or without one of the first operand. Stream and position are part of the state dict.

    In training a weight is drawn for once per optimizer step, however many micro-batches it has
    (`weight_scope`); activations are drawn for in every forward pass.

    Args:
        owner: what the error calls the stage.
        seed: 0 to 2^31 - 1.

    Raises:
        UsageError: the seed is none.
    """

    def __init__(self, owner: str, seed: int) -> None:
        super().__init__()
        whole = isinstance(seed, int) and not isinstance(seed, bool)
        if not whole or not 0 <= seed < 2**31:
            raise UsageError(
                f"{owner} seed: got {seed!r}, allowed are whole numbers from 0 to 2147483647; "
                "choose one of them"
            )
        self.owner = owner
        self.seed = seed
        self.stream = NOT_BEGUN
        self.drawn = 0
        self.of_ranks = False
        self._register()

    def _register(self) -> None:
        self._key = next(_KEYS)
        _SOURCES[self._key] = self

    def __setstate__(self, state: dict[str, Any]) -> None:
        """A copy goes on from the same position, by itself."""
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self._register()

    def begin(self, like: Tensor, *, of_ranks: bool) -> None:
        """Take the stream of a tensor.

        Args:
            like: any tensor that every rank has alike; on the meta device nothing happens.
            of_ranks: whether the ranks of a run draw different numbers (for their own parts of a
                batch) or the same (for a weight that all of them hold); the two streams of one
                tensor differ.
        """
        self.of_ranks = of_ranks
        if not like.is_meta:
            bits = like.detach().float().contiguous().view(torch.int32)
            self.stream = _mixed(int(bits.sum().item()), int(of_ranks))

    def get_extra_state(self) -> Tensor:
        """The stream and the draws so far."""
        return torch.tensor([self.stream, self.drawn])

    def set_extra_state(self, state: Tensor) -> None:
        """Go on from there."""
        self.stream, self.drawn = map(int, state)

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
        if self.stream == NOT_BEGUN:
            self.begin(like, of_ranks=self.of_ranks)
        seed = _mixed(_mixed(self.seed, self.stream), self.drawn)
        if self.of_ranks and (rank := _rank()):
            seed = _mixed(seed, rank)
        self.drawn += 1
        generator = torch.Generator(like.device).manual_seed(seed)
        sample = torch.randn if normal else torch.rand
        return sample(like.shape, generator=generator, device=like.device)

    def extra_repr(self) -> str:
        """The seed."""
        return f"seed={self.seed}"


def sources(model: nn.Module) -> list[RandomSource]:
    """Every stream of a model or stage, in order."""
    return [module for module in model.modules() if isinstance(module, RandomSource)]


@contextmanager
def rewound(model: nn.Module) -> Iterator[None]:
    """What is drawn inside leaves the position of every stream of `model` where it was."""
    before = [(source, source.stream, source.drawn) for source in sources(model)]
    try:
        yield
    finally:
        for source, stream, drawn in before:
            source.stream, source.drawn = stream, drawn


def _rank() -> int:
    ready = torch.distributed.is_available() and torch.distributed.is_initialized()
    return torch.distributed.get_rank() if ready else 0


_KEYS = count()
_SOURCES: WeakValueDictionary[int, RandomSource] = WeakValueDictionary()


# nondeterministic: a compiler must neither merge two draws nor draw again for the backward pass.
@torch.library.custom_op(
    "unified_laws::draw", mutates_args=(), tags=torch.Tag.nondeterministic_seeded
)
def _draw(like: Tensor, key: int, normal: bool) -> Tensor:
    """An operator, as a generator cannot enter a traced graph."""
    return _SOURCES[key].draw(like, normal)


@_draw.register_fake
def _(like: Tensor, key: int, normal: bool) -> Tensor:  # noqa: ARG001
    return torch.empty(like.shape, dtype=torch.float32, device=like.device)
