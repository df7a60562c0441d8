"""A plain Llama decoder that knows nothing of compression.

Pre-norm RMSNorm, rotary embedding, SwiGLU, causal SDPA attention, no biases, untied head
(arXiv:2506.01863 §4; arXiv:2502.05003 and its code for shapes and initialisation). As in that code
the query, key and value projections are one linear, so a statistic "per weight tensor" spans them.

Note:
    Rotary pairs are (i, i + head_dim/2), the convention of Hugging Face's Llama, where QuEST's
    code interleaves them (2i, 2i + 1). The two differ by a fixed permutation of the rows of the
    query and key projections, hence by nothing at a random initialisation.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

from unified_laws.errors import UsageError

ROPE_BASE = 10_000.0  # QuEST src/models/llama.py, as in Llama
NORM_EPS = 1e-5  # QuEST config rmsnorm_eps


@dataclass(frozen=True)
class LlamaShape:
    """The sizes that define a decoder.

    Raises:
        UsageError: a size is not positive, or the width does not divide into heads of even width.
    """

    num_layers: int
    num_heads: int
    width: int
    mlp_width: int
    vocab_size: int
    seq_len: int

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value < 1:
                raise UsageError(f"model: {name} is {value}; it must be a positive integer")
        if self.width % (2 * self.num_heads):
            raise UsageError(
                f"model: width {self.width} over {self.num_heads} heads gives no even width per "
                "head; choose a width divisible by 2 * num_heads"
            )


class RMSNorm(nn.Module):
    """Root-mean-square normalisation with statistics in fp32. Shape [..., width]."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        """Return x / rms(x) * weight, in x's dtype."""
        x32 = x.float()
        scale = torch.rsqrt(x32.pow(2).mean(dim=-1, keepdim=True) + NORM_EPS)
        return (x32 * scale).to(x.dtype) * self.weight


def rotary_tables(seq_len: int, head_dim: int) -> tuple[Tensor, Tensor]:
    """Cosines and sines of the rotary embedding, each [seq_len, head_dim], fp32."""
    frequency = ROPE_BASE ** (-torch.arange(0, head_dim, 2, dtype=torch.float32) / head_dim)
    angle = torch.outer(torch.arange(seq_len, dtype=torch.float32), frequency)
    angle = torch.cat((angle, angle), dim=-1)
    return angle.cos(), angle.sin()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Apply the rotary embedding to x of shape [batch, heads, seq, head_dim], in fp32."""
    x32 = x.float()
    first, second = x32.chunk(2, dim=-1)
    return (x32 * cos + torch.cat((-second, first), dim=-1) * sin).to(x.dtype)


class Attention(nn.Module):
    """Causal self-attention, one fused linear for queries, keys and values."""

    def __init__(self, shape: LlamaShape) -> None:
        super().__init__()
        self.num_heads = shape.num_heads
        self.qkv = nn.Linear(shape.width, 3 * shape.width, bias=False)
        self.out = nn.Linear(shape.width, shape.width, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """Map [batch, seq, width] to [batch, seq, width]."""
        batch, seq, width = x.shape
        qkv = self.qkv(x).view(batch, seq, 3, self.num_heads, width // self.num_heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        query, key = rotate(query, cos, sin), rotate(key, cos, sin)
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        out: Tensor = self.out(mixed.transpose(1, 2).reshape(batch, seq, width))
        return out


class SwiGLU(nn.Module):
    """down(silu(gate(x)) * up(x)) (Shazeer, arXiv:2002.05202)."""

    def __init__(self, shape: LlamaShape) -> None:
        super().__init__()
        self.gate = nn.Linear(shape.width, shape.mlp_width, bias=False)
        self.up = nn.Linear(shape.width, shape.mlp_width, bias=False)
        self.down = nn.Linear(shape.mlp_width, shape.width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map [..., width] to [..., width]."""
        out: Tensor = self.down(F.silu(self.gate(x)) * self.up(x))
        return out


class Block(nn.Module):
    """One pre-norm decoder block."""

    def __init__(self, shape: LlamaShape) -> None:
        super().__init__()
        self.attention_norm = RMSNorm(shape.width)
        self.attention = Attention(shape)
        self.mlp_norm = RMSNorm(shape.width)
        self.mlp = SwiGLU(shape)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """Map [batch, seq, width] to [batch, seq, width]."""
        x = x + self.attention(self.attention_norm(x), cos, sin)
        out: Tensor = x + self.mlp(self.mlp_norm(x))
        return out


class Llama(nn.Module):
    """The decoder: embedding, blocks, norm, untied head."""

    def __init__(self, shape: LlamaShape) -> None:
        super().__init__()
        self.shape = shape
        self.embedding = nn.Embedding(shape.vocab_size, shape.width)
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.num_layers))
        self.norm = RMSNorm(shape.width)
        self.head = nn.Linear(shape.width, shape.vocab_size, bias=False)
        cos, sin = rotary_tables(shape.seq_len, shape.width // shape.num_heads)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map token ids [batch, seq] to logits [batch, seq, vocab_size]."""
        seq = tokens.shape[1]
        cos, sin = self.get_buffer("cos")[:seq], self.get_buffer("sin")[:seq]
        x = self.embedding(tokens)
        for block in self.blocks:
            x = block(x, cos, sin)
        logits: Tensor = self.head(self.norm(x))
        return logits


@torch.no_grad()
def initialise(model: Llama, *, seed: int, std: float) -> None:
    """QuEST's initialisation from an explicit generator: N(0, std), norms at one.

    Projections that write into the residual stream get std / sqrt(2 * num_layers)
    (QuEST src/models/llama.py; GPT-2 §2.3). The numbers depend on (shape, seed, std) alone.
    """
    generator = torch.Generator().manual_seed(seed)
    residual = std / math.sqrt(2 * model.shape.num_layers)
    for name, parameter in model.named_parameters():
        if parameter.dim() < 2:
            parameter.fill_(1.0)
            continue
        scale = residual if name.endswith(("attention.out.weight", "mlp.down.weight")) else std
        drawn = torch.randn(parameter.shape, generator=generator, dtype=torch.float32)
        parameter.copy_(drawn * scale)
