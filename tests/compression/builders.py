"""Compressors and a small model for the tests, with every argument that a test does not vary."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from unified_laws.compression.backward_mask.base import BackwardMask
from unified_laws.compression.backward_mask.forward import ForwardMask
from unified_laws.compression.compressor import Compressor
from unified_laws.compression.gradient.base import GradientEstimator
from unified_laws.compression.gradient.straight_through import StraightThrough
from unified_laws.compression.quantizer.base import Quantizer
from unified_laws.compression.quantizer.identity import IdentityQuantizer
from unified_laws.compression.quantizer.uniform import UniformQuantizer
from unified_laws.compression.sparsifier.base import Sparsifier
from unified_laws.compression.sparsifier.dense import Dense
from unified_laws.compression.transform.base import Transform
from unified_laws.compression.transform.identity import Identity

torch.set_num_threads(1)


def compressor(
    transform: Transform | None = None,
    sparsifier: Sparsifier | None = None,
    backward_mask: BackwardMask | None = None,
    quantizer: Quantizer | None = None,
    gradient: GradientEstimator | None = None,
) -> Compressor:
    return Compressor(
        transform=transform or Identity(),
        sparsifier=sparsifier or Dense(),
        backward_mask=backward_mask or ForwardMask(),
        quantizer=quantizer or IdentityQuantizer(),
        gradient=gradient or StraightThrough(),
    )


def uniform(
    bits: int,
    scale: Literal["rms", "absmax"] = "rms",
    scope: Literal["row", "tensor"] = "row",
    statistics: Literal["dense", "masked", "kept"] = "kept",
) -> UniformQuantizer:
    return UniformQuantizer(bits=bits, scale=scale, scope=scope, statistics=statistics)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


class Block(nn.Module):
    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.up = nn.Linear(width, hidden, bias=True)
        self.down = nn.Linear(hidden, width, bias=False)

    def forward(self, h: Tensor) -> Tensor:
        out: Tensor = h + self.down(torch.relu(self.up(h)))
        return out


class Decoder(nn.Module):
    """The outline of the decoder: embedding, blocks, head."""

    def __init__(self, width: int = 48, hidden: int = 96, vocabulary: int = 11) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.blocks = nn.ModuleList([Block(width, hidden) for _ in range(2)])
        self.head = nn.Linear(width, vocabulary, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        h = self.embedding(tokens)
        for block in self.blocks:
            h = block(h)
        out: Tensor = self.head(h)
        return out


def decoder(seed: int = 0) -> Decoder:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Decoder()
