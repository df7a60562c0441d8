"""A folder of formats of the user: its names join with ours, everywhere."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import assert_one_line_error, run_module
from unified_laws.cli.build import format_label, load_format
from unified_laws.cli.entry import compose
from unified_laws.cli.format_names import canonical_name, check_user_dir, is_format_name
from unified_laws.cli.paths import VARIABLE, add_user_dir, config_dir, user_dirs
from unified_laws.cli.registry import _assemble, format_config, registry_names
from unified_laws.compression.quantizer.uniform import UniformQuantizer
from unified_laws.compression.sparsifier.magnitude import Magnitude
from unified_laws.errors import UsageError
from unified_laws.gmse import gmse_row

STAGES = """\
defaults:
  - /compression/transform@weight.transform: identity
  - /compression/sparsifier@weight.sparsifier: dense
  - /compression/backward_mask@weight.backward_mask: forward
  - /compression/quantizer@weight.quantizer: uniform
  - /compression/gradient@weight.gradient: trust
  - _self_
"""
FILES = {
    # a name with an underscore in it, as the guide's
    "format/int3_mine.yaml": f"{STAGES}name: int3_mine\n"
    "weight: {quantizer: {bits: 3, scale: absmax, scope: tensor}}\nactivation: null\n",
    "format_family/top.yaml": f"pattern: top{{bits}}\nexample: top3\n{STAGES}"
    'weight: {quantizer: {bits: "{bits}", scale: absmax}}\nactivation: null\n',
    # one that only Hydra can compose
    "format/heir.yaml": "defaults:\n  - int3_mine\n  - _self_\nname: heir\n"
    "weight: {quantizer: {bits: 5}}\n",
    "format/some.yaml": f"{STAGES}name: some\nweight: {{quantizer: {{bits: 2}}}}\n"
    "activation: null\ntargets: ['blocks.*.down']\n",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for place, text in FILES.items():
        path = tmp_path / "mine" / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "mine"


@pytest.fixture
def mine(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(VARIABLE, "")
    add_user_dir(folder)
    add_user_dir(folder)
    assert user_dirs() == (folder,)
    return folder


def test_names_join_with_ours(mine: Path) -> None:
    del mine
    for name in ("int3_mine_sparse50", "sparse50_int3_mine", "top3_sparse2of4", "top4_g32"):
        assert is_format_name(name, config_dir())
        canonical = canonical_name(name, config_dir())
        assert load_format(name).name == canonical
        composed = compose("train", [f"+format={name}"])["format"]
        assert format_config(name) == composed
        assert format_label(composed) == canonical
    assert canonical_name("sparse50_int3_mine", config_dir()) == "int3_mine_sparse50"
    weight = load_format("int3_mine_sparse50").weight
    assert weight is not None
    assert isinstance(weight.quantizer, UniformQuantizer)
    assert (weight.quantizer.bits, weight.quantizer.scale) == (3, "absmax")
    assert isinstance(weight.sparsifier, Magnitude)
    changed = compose("train", ["+format=top3_sparse50", "format.weight.sparsifier.scope=row"])
    assert format_label(changed["format"]) == "top3_sparse50[weight.sparsifier.scope=row]"


def test_they_are_part_of_all_and_of_every_hint(mine: Path) -> None:
    del mine
    names = registry_names(config_dir())
    assert {"int3_mine", "heir", "some", "top3"} <= set(names)
    with pytest.raises(UsageError, match=r"did you mean .*int3_mine"):
        load_format("int3_mina")
    row = gmse_row("int3_mine_sparse50", compose("gmse", ["samples=65536", "block=16384"]))
    assert row["format"] == "int3_mine_sparse50"
    assert row["bits_per_weight"] == pytest.approx(0.5 * 3 + 1)


def test_one_that_hydra_alone_can_compose_stands_alone(mine: Path) -> None:
    assert _assemble("heir", (config_dir(), mine)) is None
    weight = load_format("heir").weight
    assert weight is not None
    assert weight.quantizer.bits == 5
    assert format_label(compose("train", ["+format=heir"])["format"]) == "heir"
    with pytest.raises(UsageError, match=r"the defaults of heir are not all of the kind"):
        load_format("heir_sparse50")


def test_targets_go_along(mine: Path) -> None:
    del mine
    assert load_format("some_sparse50").targets == ("blocks.*.down",)


def test_names_of_ours_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "")
    for place in (
        "format/mxfp4.yaml",
        "format/int4.yaml",
        "format/sparse50.yaml",
        "format_family/vq.yaml",
        "compression/quantizer/uniform.yaml",
    ):
        path = tmp_path / Path(place).stem / place
        path.parent.mkdir(parents=True)
        path.write_text("name: x\n")
        with pytest.raises(UsageError, match=rf"'{path.stem}' is a name of ours.*rename the file"):
            check_user_dir(tmp_path / path.stem, config_dir())
    given = ("--config-dir", str(tmp_path / "int4"))
    assert_one_line_error(run_module("gmse", *given, "formats=[int4]"), ["int4", "rename"])


def test_the_workers_of_a_sweep_find_them(folder: Path, tiny: list[str], tmp_path: Path) -> None:
    grid = tmp_path / "own.yaml"
    few = [o for o in tiny if not o.startswith(("runs_dir", "cache_dir", "num_tokens"))]
    cache = next(o for o in tiny if o.startswith("cache_dir="))
    grid.write_text(
        "question: does it train\nexpected_runs: 2\n"
        "grids:\n  - format: [int3_mine, top3_sparse50]\n    num_tokens: [512]\n"
    )
    done = run_module(
        "sweep",
        "--config-dir",
        str(folder),
        f"sweep={grid}",
        "action=launch",
        "workers=1",
        "progress=false",
        f"runs_dir={tmp_path / 'runs'}",
        cache,
        f"overrides={[*few, 'progress=false']}",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    records = [json.loads(p.read_text()) for p in (tmp_path / "runs").glob("*/record.json")]
    assert {r["format"] for r in records} == {"int3_mine", "top3_sparse50"}
    assert {r["status"] for r in records} == {"finished"}
