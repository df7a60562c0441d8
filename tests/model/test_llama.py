from __future__ import annotations

import math

import pytest
import torch

from unified_laws.errors import UsageError
from unified_laws.model.counting import (
    num_params_non_embedding,
    num_params_total,
    training_flops,
)
from unified_laws.model.llama import Llama, LlamaShape, initialise

SHAPE = LlamaShape(num_layers=2, num_heads=2, width=32, mlp_width=96, vocab_size=96, seq_len=24)


def seeded(shape: LlamaShape = SHAPE, seed: int = 0) -> Llama:
    model = Llama(shape)
    initialise(model, seed=seed, std=0.02)
    return model


def test_logits_equal_transformers_llama() -> None:
    transformers = pytest.importorskip("transformers", reason="the oracle is a test extra")
    ours = seeded()
    config = transformers.LlamaConfig(
        vocab_size=SHAPE.vocab_size,
        hidden_size=SHAPE.width,
        intermediate_size=SHAPE.mlp_width,
        num_hidden_layers=SHAPE.num_layers,
        num_attention_heads=SHAPE.num_heads,
        num_key_value_heads=SHAPE.num_heads,
        max_position_embeddings=SHAPE.seq_len,
        rms_norm_eps=1e-5,
        tie_word_embeddings=False,
        attention_bias=False,
        mlp_bias=False,
    )
    theirs = transformers.LlamaForCausalLM(config).eval()
    state = {}
    for i in range(SHAPE.num_layers):
        mine, other = f"blocks.{i}", f"model.layers.{i}"
        weights = dict(ours.named_parameters())
        q, k, v = weights[f"{mine}.attention.qkv.weight"].chunk(3)
        state[f"{other}.self_attn.q_proj.weight"] = q
        state[f"{other}.self_attn.k_proj.weight"] = k
        state[f"{other}.self_attn.v_proj.weight"] = v
        state[f"{other}.self_attn.o_proj.weight"] = weights[f"{mine}.attention.out.weight"]
        state[f"{other}.input_layernorm.weight"] = weights[f"{mine}.attention_norm.weight"]
        state[f"{other}.post_attention_layernorm.weight"] = weights[f"{mine}.mlp_norm.weight"]
        for name in ("gate", "up", "down"):
            state[f"{other}.mlp.{name}_proj.weight"] = weights[f"{mine}.mlp.{name}.weight"]
    state["model.embed_tokens.weight"] = ours.embedding.weight
    state["model.norm.weight"] = ours.norm.weight
    state["lm_head.weight"] = ours.head.weight
    theirs.load_state_dict(state, strict=True)
    # Weights of order one make positions, norms and attention matter.
    with torch.no_grad():
        for parameter in (*ours.parameters(),):
            parameter.mul_(8.0)
        theirs.load_state_dict({k: v.detach().clone() for k, v in state.items()}, strict=True)
    tokens = torch.randint(0, SHAPE.vocab_size, (3, SHAPE.seq_len), generator=_generator(1))
    with torch.no_grad():
        mine, other = ours(tokens), theirs(tokens).logits
    assert mine.std() > 0.1
    torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-4)


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_counts_equal_the_tensors() -> None:
    model = seeded()
    total = sum(p.numel() for p in model.parameters())
    outside = model.embedding.weight.numel() + model.head.weight.numel()
    assert num_params_total(SHAPE) == total
    assert num_params_non_embedding(SHAPE) == total - outside


def test_flops_are_six_per_matrix_entry_and_token_plus_attention() -> None:
    matrices = sum(m.weight.numel() for m in seeded().modules() if isinstance(m, torch.nn.Linear))
    norms = (2 * SHAPE.num_layers + 1) * SHAPE.width
    attention = 12 * SHAPE.num_layers * SHAPE.width * SHAPE.seq_len
    assert training_flops(SHAPE, 10) == 10 * (6 * (matrices + norms) + attention)


def test_future_tokens_do_not_matter() -> None:
    model = seeded()
    tokens = torch.randint(0, SHAPE.vocab_size, (2, SHAPE.seq_len), generator=_generator(2))
    changed = tokens.clone()
    changed[:, 12:] = (changed[:, 12:] + 1) % SHAPE.vocab_size
    torch.testing.assert_close(model(tokens)[:, :12], model(changed)[:, :12], rtol=0, atol=1e-6)
    assert not torch.equal(model(tokens)[:, 12:], model(changed)[:, 12:])


def test_rotary_attention_depends_on_distance_only() -> None:
    from unified_laws.model.llama import rotary_tables, rotate

    cos, sin = rotary_tables(16, 8)
    query, key = torch.randn(8, generator=_generator(3)), torch.randn(8, generator=_generator(4))
    queries = rotate(query.expand(1, 1, 16, 8), cos, sin)[0, 0]
    keys = rotate(key.expand(1, 1, 16, 8), cos, sin)[0, 0]
    scores = queries @ keys.T
    for distance in range(8):
        diagonal = scores.diagonal(-distance)
        torch.testing.assert_close(diagonal, diagonal[:1].expand_as(diagonal), rtol=0, atol=1e-5)


def test_initialisation_is_quests_and_a_function_of_the_seed() -> None:
    wide = LlamaShape(3, 4, 128, 256, 512, 16)
    model, same, other = seeded(wide), seeded(wide), seeded(wide, seed=1)
    for (name, a), (_, b) in zip(model.named_parameters(), same.named_parameters(), strict=True):
        assert torch.equal(a, b), name
    assert not torch.equal(model.head.weight, other.head.weight)
    for name, parameter in model.named_parameters():
        if parameter.dim() < 2:
            assert torch.equal(parameter, torch.ones_like(parameter)), name
        else:
            residual = name.endswith(("out.weight", "down.weight"))
            expected = 0.02 / math.sqrt(2 * wide.num_layers) if residual else 0.02
            # standard error of a standard deviation over n numbers: sd / sqrt(2 n)
            error = expected / math.sqrt(2 * parameter.numel())
            assert abs(parameter.std().item() - expected) < 4 * error, name


@pytest.mark.parametrize(
    ("change", "words"),
    [({"num_layers": 0}, "num_layers is 0"), ({"num_heads": 3}, "width 32 over 3 heads")],
)
def test_impossible_shapes_are_refused(change: dict[str, int], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        LlamaShape(**{**vars(SHAPE), **change})
