from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import assert_one_line_error, run_module
from tests.test_docs import write_runs
from unified_laws.cli.entry import compose
from unified_laws.errors import UsageError
from unified_laws.laws.result import LawsResult
from unified_laws.predict import predict_loss


@pytest.fixture(scope="module")
def laws(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("laws")
    write_runs(folder, ["laws=laws/laws.json"])
    return folder / "laws" / "laws.json"


def given(laws: Path, format: str, **changes: object) -> dict[str, object]:
    base = {"laws": str(laws), "name": format, "num_params": 1e6, "num_tokens": 1e8, **changes}
    return compose("predict", [f"{key}={value}" for key, value in base.items()])


def test_a_measured_format_gives_the_law_at_its_capacity(laws: Path) -> None:
    fitted = LawsResult.from_json(json.loads(laws.read_text()))
    row = predict_loss(given(laws, "int4"))
    capacity = fitted.capacity("int4")
    assert row["rho"] == capacity.rho
    assert row["source"] == "measured"
    assert row["val_loss"] == pytest.approx(float(fitted.law.predict(1e6, 1e8, capacity.rho)))
    assert row["low"] <= row["val_loss"] <= row["high"]
    dense = predict_loss(given(laws, "bf16"))
    assert dense["low"] == dense["val_loss"] == dense["high"] < row["val_loss"]


def test_an_unmeasured_format_goes_by_its_gmse(laws: Path) -> None:
    row = predict_loss(given(laws, "sparse50"))
    assert row["source"] == "gmse"
    assert row["rho"] == pytest.approx(0.553, abs=1e-3)
    assert row["low"] is None


def test_wrong_numbers_and_names_are_one_line(laws: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="num_params is -1"):
        predict_loss(given(laws, "int4", num_params=-1))
    words = [f"laws={laws}", "format=itn4", "num_params=1e6", "num_tokens=1e8"]
    assert_one_line_error(run_module("predict", *words, cwd=tmp_path), ["unknown format 'itn4'"])
    done = run_module("predict", *words, "action=lose", cwd=tmp_path)
    assert_one_line_error(done, ["unknown action 'lose'", "loss"])
    out = tmp_path / "p.json"
    done = run_module("predict", *words[:1], "format=int4", *words[2:], f"out={out}", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert set(json.loads(out.read_text())) == {"val_loss", "low", "high", "rho", "source"}
