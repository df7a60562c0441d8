"""Every configuration composes, and says what the papers say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from unified_laws.cli.entry import compose
from unified_laws.cli.instantiate import instantiate
from unified_laws.cli.paths import config_dir
from unified_laws.model.counting import num_params_non_embedding
from unified_laws.model.llama import LlamaShape

MODELS = sorted(path.stem for path in (config_dir() / "model").glob("*.yaml"))
MICRO = [name for name in MODELS if name.startswith("micro_")]


def shape_of(name: str, vocab_size: int = 512) -> LlamaShape:
    model = compose("train", [f"model={name}"])["model"]
    sizes = {
        key: model[key] for key in ("num_layers", "num_heads", "width", "mlp_width", "seq_len")
    }
    return LlamaShape(vocab_size=vocab_size, **sizes)


def count(name: str) -> int:
    return num_params_non_embedding(shape_of(name))


@pytest.mark.parametrize(
    ("name", "num_params", "learning_rate"),
    [
        # arXiv:2506.01863 Table 2; counts from QuEST's released runs
        ("llama_30m", 30_482_560, 1.2e-3),
        ("llama_50m", 49_556_736, 1.2e-3),
        ("llama_100m", 102_777_856, 6e-4),
        ("llama_200m", 203_188_480, 3e-4),
        # arXiv:2502.05003 and its code
        ("llama_430m", 443_068_288, 1.5e-4),
        ("llama_800m", 822_151_168, 7.5e-5),
    ],
)
def test_the_papers_sizes(name: str, num_params: int, learning_rate: float) -> None:
    model = compose("train", [f"model={name}"])["model"]
    assert count(name) == num_params
    assert model["learning_rate"] == learning_rate
    assert model["batch_size"] * model["seq_len"] == 262_144
    assert model["mlp_width"] == 256 * -(-int(8 * model["width"] / 3) // 256)
    assert model["width"] == 128 * model["num_heads"]


def test_the_micro_ladder_spans_two_orders_of_magnitude() -> None:
    counts = {name: count(name) for name in MICRO}
    assert len(counts) >= 6
    assert min(counts.values()) < 15_000
    assert 900_000 < max(counts.values()) < 1_100_000
    for name, number in counts.items():
        size = name.removeprefix("micro_")
        nominal = float(size[:-1]) * {"k": 1e3, "m": 1e6}[size[-1]]
        assert abs(number / nominal - 1) < 0.15, (name, number)
    widths = {name: (shape_of(name).width, shape_of(name).mlp_width) for name in MICRO}
    assert all(w % 32 == 0 for pair in widths.values() for w in pair)
    assert any(all(w % 128 == 0 for w in pair) for pair in widths.values())


def yamls() -> list[Path]:
    return sorted(config_dir().rglob("*.yaml"))


@pytest.mark.parametrize("path", yamls(), ids=lambda p: str(p.relative_to(config_dir())))
def test_every_file_says_what_it_is(path: Path) -> None:
    """A comment on top; a _target_ that exists and is ours or listed."""
    text = path.read_text(encoding="utf-8")
    assert text.startswith("#"), f"{path} has no comment on its first line"
    content = yaml.safe_load(text)

    def check(node: Any) -> None:
        if isinstance(node, dict):
            if "_target_" in node:
                from unified_laws.cli.instantiate import _check

                _check(node["_target_"], ())
            for value in node.values():
                check(value)

    check(content)


@pytest.mark.parametrize(
    "path",
    sorted((config_dir() / "compression").rglob("*.yaml")),
    ids=lambda p: f"{p.parent.name}/{p.stem}",
)
def test_stage_files_mirror_their_modules(path: Path) -> None:
    target = yaml.safe_load(path.read_text(encoding="utf-8"))["_target_"]
    module = target.rpartition(".")[0]
    assert module == f"unified_laws.compression.{path.parent.name}.{path.stem}"


@pytest.mark.parametrize(
    "module", ["train", "gmse", "collect", "fit", "report", "predict", "sweep"]
)
def test_every_primary_configuration_composes(module: str) -> None:
    given = {"fit": ["runs=a"], "report": ["runs=a", "laws=b"], "sweep": ["sweep=demo"]}
    given["predict"] = ["laws=a", "name=int4", "num_params=1", "num_tokens=1"]
    assert "hydra" not in compose(module, given.get(module, []))


@pytest.mark.parametrize("group", ["optimizer", "schedule", "logger", "data", "model"])
def test_every_option_of_every_group_composes(group: str) -> None:
    for path in sorted((config_dir() / group).glob("*.yaml")):
        needed = ["data.source.path=a.txt"] if path.stem == "text" else []
        node = compose("train", [f"{group}={path.stem}", *needed])[group]
        if group in ("optimizer", "schedule"):
            assert callable(instantiate(node))
        elif group == "data":
            for part in ("source", "tokenizer"):
                assert callable(instantiate(node[part]).describe)


def test_paper_runs_compose_without_a_gpu() -> None:
    config = compose(
        "train",
        ["model=llama_100m", "data=c4", "+format=int4_sparse50", "tokens_per_param=100"],
    )
    assert config["format"]["weight"]["sparsifier"]["sparsity"] == 0.5
    assert config["optimizer"]["lr"] == 6e-4
    assert config["data"]["source"]["path"] == "allenai/c4"
