from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.laws.planted_runs import planted_table
from tests.laws.test_prediction import fitted
from unified_laws.cli.candidates import (
    default_candidates,
    planned_runs,
    read_candidates,
    sweep_text,
)
from unified_laws.cli.capacities import Capacities, format_bits
from unified_laws.cli.factors import canonical_labels, factorings
from unified_laws.cli.grid import read_grid
from unified_laws.cli.paths import config_dir
from unified_laws.errors import UsageError
from unified_laws.laws.information import Information


@pytest.mark.parametrize(
    ("name", "ways"),
    [
        ("int4", [("int4",)]),
        ("bf16", [("bf16",)]),
        ("sparse50_int4", [("int4_sparse50",), ("int4", "sparse50")]),
        ("w4a8", [("w4a8",), ("int4", "w16a8")]),
        ("w4a16", [("int4",)]),
        ("w16a4", [("w16a4",)]),
        ("int4_g32", [("int4_g32",)]),
        ("int4_g32_sparse50", [("int4_sparse50_g32",), ("int4_g32", "sparse50")]),
        ("w4a4_g32", [("w4a4_g32",), ("int4_g32", "w16a4")]),
        ("W4A4 HT", [("W4A4 HT",)]),
    ],
)
def test_names_as_products(name: str, ways: list[tuple[str, ...]]) -> None:
    assert factorings(name, config_dir()) == ways


def test_three_parts_in_every_grouping() -> None:
    found = factorings("w4a8_sparse50", config_dir())
    assert found[0] == ("w4a8_sparse50",)
    assert {frozenset(way) for way in found[1:4]} == {
        frozenset(["w4a8", "sparse50"]),
        frozenset(["int4_sparse50", "w16a8"]),
        frozenset(["int4", "w16a8_sparse50"]),
    }
    assert set(found[4]) == {"int4", "w16a8", "sparse50"}
    assert len(found) == 5
    assert canonical_labels(["w4a16", "int4", "W4A4 HT"], config_dir()) == {"int4": "w4a16"}


def test_capacities_by_name() -> None:
    laws = fitted(planted_table(1e-3, rho={"bf16": 1.0, "int4": 0.85, "sparse50": 0.55}))
    asked: list[str] = []

    def measure(name: str) -> dict[str, object]:
        asked.append(name)
        return {"format": name, "gmse": 0.1, "gmse_activation": None}

    find = Capacities(laws, Information.of(laws), measure=measure)
    assert find("w4a16").format == "int4"
    assert find("w4a16").source == "measured"
    product = find("sparse50_int4")
    assert product.source == "factors"
    assert product.rho == pytest.approx(0.85 * 0.55, rel=0.01)
    assert not asked
    assert find("int3").source == "gmse"
    assert "int3" in asked
    given = Capacities(
        laws,
        Information.of(laws),
        measure=measure,
        rows=[{"format": "theirs", "gmse": 0.01, "gmse_activation": None}],
    )
    assert given("theirs").source == "gmse"


def test_bits_of_formats() -> None:
    w4a8 = format_bits("w4a8")
    assert (w4a8.weight_bits, w4a8.activation_bits, w4a8.kept_fraction) == (4.0, 8.0, 1.0)
    both = format_bits("sparse50_asparse50")
    assert (both.weight_bits, both.activation_bits, both.kept_fraction) == (16.0, 16.0, 0.25)
    assert format_bits("bf16").bits_per_weight == 16.0


def options(**changes: object) -> dict[str, object]:
    usual: dict[str, object] = {"repeats": 2, "throughput": 1e12, "vocab_size": 512}
    return {**usual, **changes}


def test_default_candidates_are_the_sizes_of_the_runs_so_far() -> None:
    found = default_candidates(
        ["bf16", "int4"],
        models=None,
        ratios=[20, 50],
        fitted=(28_864.0, 101_664.0),
        **options(),  # type: ignore[arg-type]
    )
    assert {c.model for c in found} == {"micro_20k", "micro_30k", "micro_50k", "micro_100k"}
    assert len(found) == 4 * 2 * 2
    by_size = [c for c in found if c.format == "int4" and c.num_tokens == 20 * c.num_params]
    assert [c.cost for c in by_size] == sorted(c.cost for c in by_size)
    with pytest.raises(UsageError, match="models has tiny; allowed: llama_100m"):
        default_candidates(
            ["bf16"],
            models=["tiny"],
            ratios=[20],
            fitted=(1.0, 1.0),
            **options(),  # type: ignore[arg-type]
        )
    with pytest.raises(UsageError, match="allowed are numbers above zero"):
        default_candidates(
            ["bf16"],
            models=None,
            ratios=[-1],
            fitted=(1.0, 1.0),
            **options(),  # type: ignore[arg-type]
        )


def test_candidates_of_files(tmp_path: Path) -> None:
    table = tmp_path / "runs.csv"
    table.write_text("num_params,tokens_per_param,cost\n1e8,100,2.5\n1e8,50,\n")
    found = read_candidates(table, ["bf16", "mine"], **options())  # type: ignore[arg-type]
    assert [(c.format, c.num_tokens) for c in found[:2]] == [("bf16", 1e10), ("mine", 1e10)]
    assert found[0].cost == 2.5
    assert found[2].cost == pytest.approx(6 * 1e8 * 5e9 / 1e12 / 3600)
    listed = tmp_path / "runs.yaml"
    listed.write_text("- {model: micro_10k, num_tokens: 1000000, format: int4, repeats: 5}\n")
    (only,) = read_candidates(listed, [], **options())  # type: ignore[arg-type]
    assert (only.model, only.num_params, only.repeats) == ("micro_10k", 10_336, 5)
    for content, words in (
        ("- {model: micro_1k, num_tokens: 1}", "model 'micro_1k'"),
        ("- {num_tokens: 1}", "neither model nor num_params"),
        ("- {num_params: 5}", "neither num_tokens nor tokens_per_param"),
        ("- {num_params: -5, num_tokens: 1}", "item 1: column 'num_params' has -5"),
        ("- {num_params: 5, num_tokens: 1, price: 3}", "unknown price"),
        ("a: 1", "must hold a list"),
    ):
        listed.write_text(content)
        with pytest.raises(UsageError, match=words):
            read_candidates(listed, ["bf16"], **options())  # type: ignore[arg-type]


def test_the_sweep_file_is_one_that_sweep_reads(tmp_path: Path) -> None:
    laws = fitted(planted_table(1e-3, sizes=(10_336.0, 22_720.0, 28_864.0), ratios=(20.0, 60.0)))
    candidates = default_candidates(
        ["bf16", "int4"],
        models=["micro_10k"],
        ratios=[20, 50],
        fitted=(1e4, 1e5),
        **options(),  # type: ignore[arg-type]
    )
    runs = planned_runs([*candidates, *candidates], laws)
    # Runs at 20 tokens per parameter exist: their seed 0 is taken.
    assert {seed for _, _, tokens, seed in runs if tokens == 206_720} == {1, 2}
    assert {seed for _, _, tokens, seed in runs if tokens == 516_800} == {0, 1}
    path = tmp_path / "next.yaml"
    path.write_text(sweep_text(str(path), "What is it?", runs))
    grid = read_grid(str(path))
    expected = {
        (f"model={model}", f"num_tokens={tokens}", f"+format={format}", f"seed={seed}")
        for format, model, tokens, seed in runs
    }
    assert set(grid.runs) == expected
    assert len(grid.runs) == len(runs) == 8
    assert len(yaml.safe_load(path.read_text())["grids"]) == 4
