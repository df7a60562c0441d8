"""Parameter and FLOP counts of a decoder, in closed form (no tensor is made)."""

from __future__ import annotations

from unified_laws.model.llama import LlamaShape


def num_params_non_embedding(shape: LlamaShape) -> int:
    """N of the law: everything but the embedding and the head (QuEST: total - wte - lm_head).

    L (4 d^2 + 3 d h + 2 d) + d for L layers, width d, MLP width h.
    """
    d, h = shape.width, shape.mlp_width
    return shape.num_layers * (4 * d * d + 3 * d * h + 2 * d) + d


def num_params_total(shape: LlamaShape) -> int:
    """All trained numbers: N plus embedding and untied head, 2 * vocab_size * width."""
    return num_params_non_embedding(shape) + 2 * shape.vocab_size * shape.width


def training_flops(shape: LlamaShape, num_tokens: int) -> float:
    """6 FLOPs per token for each matrix entry, head included, and 12 L d T for attention.

    Kaplan et al. arXiv:2001.08361 §2.1 with the head counted, as in PaLM arXiv:2204.02311 App. B.
    """
    matrices = num_params_non_embedding(shape) + shape.vocab_size * shape.width
    attention = 2 * shape.num_layers * shape.width * shape.seq_len
    return 6.0 * num_tokens * (matrices + attention)
