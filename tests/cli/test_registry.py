"""The names of formats=all, and the gmse command on them and on the weights of runs."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
import torch

from tests.conftest import ROOT, run_module
from unified_laws.cli import build
from unified_laws.cli.build import load_format
from unified_laws.cli.entry import compose
from unified_laws.cli.format_names import canonical_name, is_format_name
from unified_laws.cli.paths import config_dir
from unified_laws.cli.registry import _assemble, format_config, registry_names
from unified_laws.compression.gaussian import optimal_clip
from unified_laws.compression.gmse import NORMAL, _integral
from unified_laws.compression.optimal_grid import lloyd_max_levels, optimal_limit
from unified_laws.errors import UsageError
from unified_laws.gmse import Meter, _gmse, gmse_row
from unified_laws.train import run as train

NAMES = registry_names(config_dir())
FILES = {path.stem for path in (config_dir() / "format").glob("*.yaml")}


def test_the_registry_holds_every_file_every_family_and_about_eighty_names_more() -> None:
    assert set(NAMES) >= FILES
    assert len(NAMES) == len(set(NAMES))
    assert len(NAMES) - len(FILES) > 80
    for family in (config_dir() / "format_family").glob("*.yaml"):
        assert any(name in family.read_text(encoding="utf-8") for name in NAMES), family


def test_every_name_is_canonical_and_loads() -> None:
    for name in NAMES:
        assert load_format(name).name == name
        if is_format_name(name, config_dir()) and name not in FILES:
            assert canonical_name(name, config_dir()) == name


@pytest.mark.parametrize("name", NAMES[::9])
def test_the_short_way_to_a_configuration_is_what_hydra_composes(name: str) -> None:
    assert _assemble(name, (config_dir(),)) is not None
    assert format_config(name) == compose("train", [f"+format={name}"])["format"]


def test_formats_with_an_integral_take_less_than_two_seconds_together() -> None:
    """Of processor time, from the name to the number, with nothing remembered."""
    config = compose("gmse", [])
    names = [name for name in NAMES if is_integral(name)]
    assert len(names) > 90
    build._prototype.cache_clear()
    for function in (optimal_limit, optimal_clip, lloyd_max_levels, _assemble):
        function.cache_clear()
    start = time.process_time()
    meter = Meter(config)
    rows = [gmse_row(name, config, meter) for name in names]
    assert time.process_time() - start < 2.0
    assert all(row["stderr"] == 0.0 for row in rows)


def is_integral(name: str) -> bool:
    """Whether no operand has to be drawn."""
    format = load_format(name)
    operands = [c for c in (format.weight, format.activation) if c is not None]
    return all(
        (c.sparsifier.is_identity and c.quantizer.is_identity)
        or _integral(c.bind(1024), NORMAL) is not None
        for c in operands
    )


@pytest.mark.slow
def test_the_whole_registry_takes_less_than_a_minute_to_three_per_mille() -> None:
    config = compose("gmse", [])
    start = time.process_time()
    meter = Meter(config)
    rows = [gmse_row(name, config, meter) for name in NAMES]
    assert time.process_time() - start < 60.0  # on one core
    for row in rows:
        assert row["stderr"] <= 0.003 * row["gmse"], row["format"]


@pytest.mark.slow
def test_the_short_way_is_hydras_for_every_name() -> None:
    for name in NAMES:
        assert format_config(name) == compose("train", [f"+format={name}"])["format"], name


def test_a_configuration_is_the_callers_own() -> None:
    format_config("int4")["weight"]["quantizer"]["bits"] = 3
    assert format_config("int4")["weight"]["quantizer"]["bits"] == 4


def test_the_source_is_a_key() -> None:
    # 1 - exp(-a)(1 + a + a²/2) at a = log 2
    laplace = gmse_row("sparse50", compose("gmse", ["source=laplace"]))
    assert laplace["gmse"] == pytest.approx(0.0333131562, rel=1e-8)
    student = gmse_row("sparse50", compose("gmse", ["source=student", "source.nu=5"]))
    assert student["gmse"] == pytest.approx(0.0486603376, rel=1e-8)
    with pytest.raises(UsageError, match=r"'cauchy'.*laplace"):
        compose("gmse", ["source=cauchy"])
    with pytest.raises(UsageError, match=r"nu: got 2, allowed are 2.1"):
        gmse_row("sparse50", compose("gmse", ["source=student", "source.nu=2"]))


def test_draws_until_the_standard_error_is_small_enough() -> None:
    small = ["samples=65536", "block=16384"]
    loose = gmse_row("absmax4", compose("gmse", [*small, "precision=null"]))
    tight = gmse_row("absmax4", compose("gmse", [*small, "precision=0.01"]))
    assert loose["stderr"] > 0.01 * loose["gmse"]
    assert 0 < tight["stderr"] < 0.01 * tight["gmse"]


def test_the_committed_table_is_what_the_command_makes() -> None:
    """Every tenth row and the ones that users look at first."""
    from unified_laws.figures.format_table import COLUMNS, cell, format_page

    text = (ROOT / "docs" / "formats.md").read_text(encoding="utf-8")
    rows = {
        cells[0].strip("`"): cells
        for line in text.splitlines()
        if line.startswith("| `")
        for cells in [[part.strip() for part in line.strip("|").split("|")]]
    }
    assert list(rows) == NAMES, "say: python -m unified_laws.gmse formats=all table=docs/formats.md"
    config = compose("gmse", [])
    made = format_page([], in_features=config["in_features"], **config["curve"])
    assert text.startswith(made.rstrip("\n"))
    for name in ["int4", "w4a4", "sparse50", "int4_sparse50", *NAMES[::10]]:
        row = gmse_row(name, config | {"samples": 2**20, "precision": None})
        for key, shown in zip(COLUMNS, rows[name], strict=True):
            if row["stderr"] == 0.0 or key in ("format", "bits_per_weight"):
                assert shown == cell(key, row[key]), (name, key)
            elif key == "gmse":
                # four digits are shown, and both numbers are drawn
                allowed = 5 * row["stderr"] + 5e-4 * row[key]
                assert float(shown) == pytest.approx(row[key], abs=allowed), name


def test_the_error_on_the_weights_of_a_run(tiny: list[str], tmp_path: Path) -> None:
    folder = train(compose("train", [*tiny, "+format=int4"]))[2]
    out = tmp_path / "layers.json"
    # bf16 and w16a4 leave the weights alone
    done = run_module("gmse", "formats=[int4,absmax4,bf16,w16a4]", f"run={folder}", f"out={out}")
    assert done.returncode == 0, done.stderr
    rows = json.loads(out.read_text())
    state = torch.load(folder / "weights.pt", weights_only=True)
    layers = [key.removesuffix(".weight") for key, w in state.items() if w.dim() == 2]
    layers = [layer for layer in layers if layer.startswith("blocks.")]
    assert [(row["format"], row["layer"]) for row in rows] == [
        *(("int4", layer) for layer in layers),
        *(("absmax4", layer) for layer in layers),
    ]
    compressor = load_format("int4").weight
    assert compressor is not None
    for row in rows[: len(layers)]:
        weight = state[row["layer"] + ".weight"]
        lost = (weight - compressor.bind(weight.shape[1]).reconstruct(weight)).square().sum()
        assert row["in_features"] == weight.shape[1]
        assert row["error"] == pytest.approx(float(lost / weight.square().sum()), rel=1e-4)
        assert row["gmse"] == pytest.approx(0.011542884, rel=1e-6)
        assert row["error"] == pytest.approx(row["gmse"], rel=0.3)  # still nearly normal


def test_refuses_a_run_without_weights_and_a_table_of_layers(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"weights.pt is missing"):
        _gmse(compose("gmse", [f"run={tmp_path}"]))
    with pytest.raises(UsageError, match=r"table= shows formats, not the layers of a run"):
        _gmse(compose("gmse", [f"run={tmp_path}", "table=a.md"]))
    with pytest.raises(UsageError, match=r"formats is 'int4'; give a list"):
        _gmse(compose("gmse", ["formats=int4"]))
