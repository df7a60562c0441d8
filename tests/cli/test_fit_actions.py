"""action=curve and action=factorize of the fit module, from files to files."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import assert_one_line_error, run_module
from tests.laws.planted_runs import planted_table
from unified_laws.cli.entry import compose
from unified_laws.errors import UsageError
from unified_laws.fit_curve import curve_action, read_laws
from unified_laws.fit_factors import cells_of_laws, factorize_action, read_cells
from unified_laws.laws.curve_forms import FORMS
from unified_laws.laws.curve_report import CurveReport
from unified_laws.laws.factor_result import Factorization
from unified_laws.laws.fitting import fit_laws
from unified_laws.laws.json_form import from_json
from unified_laws.records.files import write_json

GMSE = {
    "int4": (0.01154, None),
    "int3": (0.03744, None),
    "int2": (0.11885, None),
    "sparse25": (0.00835, None),
    "sparse50": (0.07133, None),
    "sparse75": (0.27639, None),
    "int4_sparse50": (0.075, None),
    "w4a8": (0.01154, 0.0000878),
    "w16a8": (None, 0.0000878),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A laws.json of planted runs and the gmse.json that belongs to it."""
    place = tmp_path_factory.mktemp("curves")
    form = FORMS["tanh"]
    rho = {"bf16": 1.0, "strange": 0.5}
    for name, errors in GMSE.items():
        curve = np.array([1.0, 0.30, 0.6] if "sparse" in name else [1.0, 0.45, 1.6])
        known = np.array([e for e in errors if e is not None])
        rho[name] = float(form.value(curve, known).prod())
    rho["int4_sparse50"] = rho["int4"] * rho["sparse50"]
    laws = fit_laws(
        planted_table(2e-4, rho=rho), dense="bf16", delta=1e-3, starts=40, bootstrap=0, seed=0
    )
    write_json(place / "laws.json", laws.to_json())
    rows = [{"format": n, "gmse": w, "gmse_activation": a} for n, (w, a) in GMSE.items()]
    rows[0]["type"] = "integer W"  # as a label that is not ours would need
    write_json(place / "gmse.json", rows)
    return place


def settings(folder: Path, *more: str) -> dict[str, object]:
    given = [f"laws={folder / 'laws.json'}", f"out={folder / 'out'}", "progress=false", *more]
    return compose("fit", given)


def test_curves_from_the_command_line(folder: Path) -> None:
    done = run_module(
        "fit",
        "action=curve",
        f"laws={folder / 'laws.json'}",
        f"gmse={folder / 'gmse.json'}",
        f"out={folder / 'cli'}",
        "curve.bootstrap=2",
        "curve.starts=1",
        "progress=false",
    )
    assert done.returncode == 0, done.stderr
    report = from_json(CurveReport, json.loads((folder / "cli" / "curve.json").read_text()))
    assert {p.type for p in report.points} == {"integer W", "sparsity W"}
    assert report.fit("integer W").values[1] == pytest.approx(0.45, abs=0.05)
    assert report.fit("sparsity W").values[1] == pytest.approx(0.30, abs=0.05)
    reasons = {u.format: u.reason for u in report.unplaced}
    assert set(reasons) == {"strange", "int4_sparse50", "w4a8", "w16a8"}
    assert "Table" not in done.stdout  # no warning that runs were missing
    for word in ("integer W (3 formats)", "sparsity", "quantization", "-> "):
        assert word in done.stdout
    picture = (folder / "cli" / "curves.svg").read_text()
    assert picture.startswith("<svg")
    assert "integer W: rmse of rho" in picture


@pytest.mark.slow
def test_input_densities_stand_side_by_side(folder: Path) -> None:
    """The errors are computed on the densities for the names that are ours."""
    curve_action(
        settings(
            folder,
            "action=curve",
            "curve.sources=[normal,laplace]",
            "curve.samples=524288",
            "curve.bootstrap=0",
            "curve.starts=1",
        )
    )
    report = from_json(CurveReport, json.loads((folder / "out" / "curve.json").read_text()))
    assert [s.source for s in report.sources] == ["normal", "laplace"]
    assert report.sources[0].spread != report.sources[1].spread
    assert report.sources[0].rmse < 0.05
    with pytest.raises(UsageError, match=r"curve\.sources is 'normal'"):
        curve_action(settings(folder, "action=curve", "curve.sources=normal"))


def test_factors_from_names(folder: Path) -> None:
    factorize_action(settings(folder, "action=factorize"))
    result = from_json(Factorization, json.loads((folder / "out" / "factors.json").read_text()))
    assert set(result.factors) == {"weight quantizer", "activation quantizer", "weight sparsifier"}
    assert result.weights == "stderr"
    cell = next(c for c in result.cells if {"int4", "sparse50"} == set(c.levels) - {"dense"})
    assert abs(cell.product_error) < 0.02
    cells, _, dense, notes = cells_of_laws(read_laws(settings(folder)))
    assert dense == ["dense"] * 3
    assert len(cells) == len(GMSE) + 1
    assert notes == ["no cell: strange (its name says nothing of its parts)"]
    assert "Capacity by" in (folder / "out" / "factors.svg").read_text()


def test_factors_from_a_table_of_cells_and_from_a_figure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "cells.csv"
    table.write_text("bits,sparsity,rho,stderr\n16,0,1,\n4,0,.9,.01\n16,50,.7,.01\n4,50,.62,.01\n")
    cells, factors, dense = read_cells(table, {"bits": 16, "sparsity": 0})
    assert (factors, dense) == (["bits", "sparsity"], ["16", "0"])
    assert math.isnan(cells[0].stderr)
    with pytest.raises(UsageError, match=r"which level of 'bits' is uncompressed\? it has 16, 4"):
        read_cells(table, {})
    with pytest.raises(UsageError, match=r"factors\.dense names width"):
        read_cells(table, {"width": 1})
    given = [f"out={tmp_path}", "factors.dense={bits: 16, sparsity: 0}"]
    factorize_action(compose("fit", [*given, f"factors.cells={table}"]))
    assert "chi2(1)" in capsys.readouterr().out
    factorize_action(compose("fit", [f"out={tmp_path}", "factors.cells=weight_activation_bits"]))
    printed = capsys.readouterr().out
    assert "Compare within one figure only" in printed
    assert "the product fails at" in printed
    (tmp_path / "one.csv").write_text("bits,rho\n4,.9\n")
    with pytest.raises(UsageError, match="needed are rho and two or more"):
        read_cells(tmp_path / "one.csv", {})


def test_mistakes(tmp_path: Path) -> None:
    for action in (curve_action, factorize_action):
        with pytest.raises(UsageError, match=r"reads a fit; give laws=<folder>/laws\.json"):
            action(compose("fit", [f"out={tmp_path}"]))
    with pytest.raises(UsageError, match=r"curve\.starts is 0"):
        curve_action(compose("fit", ["laws=laws.json", "curve.starts=0"]))
    done = run_module("fit", "action=factor", "runs=a")
    assert_one_line_error(done, ["unknown action 'factor'", "fit, compare, curve, factorize"])
    assert not list(tmp_path.iterdir())
