"""From documents to the page, through the commands a newcomer types, in reduced form."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.conftest import ROOT, TEXT, assert_one_line_error, run_module
from unified_laws.cli.grid import read_grid
from unified_laws.cli.paths import sweeps_dir
from unified_laws.errors import UsageError


@pytest.fixture
def grid(tmp_path: Path) -> Path:
    """Two sizes, two lengths, two formats, seconds in all."""
    path = tmp_path / "small.yaml"
    block = {
        "data": ["sotu_tiny"],
        "data.source.path": [str(TEXT)],
        "model": ["micro_10k", "micro_20k"],
        "model.seq_len": [32],
        "model.batch_size": [4],
        "num_tokens": [2560, 10240],
        "validation.max_tokens": [2048],
        "format": ["bf16", "int4"],
    }
    path.write_text(yaml.safe_dump({"question": "?", "expected_runs": 8, "grids": [block]}))
    return path


def make_demo(grid: Path, folder: Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """``make demo`` with another grid, in the environment of the tests."""
    arguments = [f"PY={sys.executable}", "SETUP=", f"SWEEP={grid}", f"DEMO={folder}"]
    return subprocess.run(
        ["make", "-C", str(ROOT), "demo", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        timeout=500,
        env={k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MAKELEVEL")},
    )


def test_make_demo_in_reduced_form_and_a_second_time(grid: Path, tmp_path: Path) -> None:
    demo = tmp_path / "demo"
    first = make_demo(grid, demo, tmp_path)
    assert first.returncode == 0, first.stdout + first.stderr
    assert "8 runs, 0 already done, 8 to train" in first.stdout
    records = {path: path.read_bytes() for path in demo.glob("runs/*/record.json")}
    assert len(records) == 8
    laws = json.loads((demo / "laws.json").read_text())
    assert {entry["format"] for entry in laws["capacities"]} == {"bf16", "int4"}
    page = (demo / "index.html").read_text()
    assert "int4" in page
    assert not re.findall(r"(?:src|href)=[\"']https?:", page)

    second = make_demo(grid, demo, tmp_path)
    assert second.returncode == 0, second.stdout + second.stderr
    assert "8 already done, 0 to train" in second.stdout
    assert {path: path.read_bytes() for path in records} == records
    assert (demo / "index.html").read_text() == page


def test_one_failing_run_does_not_end_the_others(grid: Path, tmp_path: Path) -> None:
    """A run whose folder cannot be written fails; the rest is trained; the exit code says so."""
    runs = tmp_path / "runs"
    arguments = [f"sweep={grid}", "action=launch", f"runs_dir={runs}", "cache_dir=.cache"]
    plan = run_module("sweep", *[a.replace("launch", "plan") for a in arguments], cwd=tmp_path)
    assert "8 runs, 8 to train" in plan.stdout, plan.stderr
    blocked = re.findall(r"│ ([0-9a-f]{10}) ", plan.stdout)[0]
    runs.mkdir()
    (runs / blocked).write_text("in the way")
    done = run_module("sweep", *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert "1 of 8 runs failed" in done.stderr
    assert len(list(runs.glob("*/record.json"))) == 7
    (runs / blocked).unlink()
    again = run_module("sweep", *arguments, cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert "7 already done, 1 to train" in again.stdout


def test_multirun_trains_each_and_shares_ids_with_single_runs(tiny: list[str]) -> None:
    many = run_module("train", *tiny, "+format=bf16,int4", "seed=0,1", "-m")
    assert many.returncode == 0, many.stderr
    assert len(re.findall(r"val_loss", many.stdout)) == 4
    single = run_module("train", *tiny, "+format=w4a16", "seed=1")
    assert "already done, skipped: int4" in single.stdout


@pytest.mark.parametrize("path", sorted(sweeps_dir().glob("*.yaml")), ids=lambda p: p.stem)
def test_every_sweep_expands_as_it_says(path: Path) -> None:
    grid = read_grid(path.stem)
    assert len(set(grid.runs)) == len(grid.runs) > 0
    assert grid.question
    head = path.read_text().splitlines()
    assert head[0].startswith("# Question:")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"grids": [{"seed": [0, 1]}], "expected_runs": 3}, "expands to 2 runs"),
        ({"grids": {"seed": [0]}}, "must be a list of mappings"),
        ({"grids": [{"seed": []}], "expected_runs": 0}, "seed has no values"),
        ([1], "must be a list of mappings"),
    ],
)
def test_bad_grids_are_refused(content: object, words: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(UsageError, match=words):
        read_grid(str(path))


def test_a_mistake_in_any_run_is_found_before_the_first_trains(tmp_path: Path) -> None:
    path = tmp_path / "typo.yaml"
    block = {"data": ["sotu_tiny"], "data.source.path": [str(TEXT)], "format": ["bf16", "itn4"]}
    path.write_text(yaml.safe_dump({"expected_runs": 2, "grids": [block]}))
    done = run_module("sweep", f"sweep={path}", "action=launch", cwd=tmp_path)
    assert_one_line_error(done, ["unknown format 'itn4'"])
    assert not (tmp_path / "runs").exists()
