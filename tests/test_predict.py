from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.conftest import assert_one_line_error, run_module
from tests.laws.planted_runs import planted_table
from tests.test_docs import write_runs
from unified_laws.cli.entry import compose
from unified_laws.cli.grid import read_grid
from unified_laws.errors import UsageError
from unified_laws.laws.capacity_curve import LLAMA_C4
from unified_laws.laws.fitting import fit_laws
from unified_laws.laws.loss_law import LossLaw
from unified_laws.laws.result import LawsResult
from unified_laws.predict import ACTIONS, predict_loss

# Sizes of conf/model and capacities near those of the curve, so that every source can answer.
MICRO = (10_336.0, 28_864.0, 101_664.0)
RHO = {"bf16": 1.0, "int4": 0.82, "int3": 0.67, "int2": 0.44, "sparse50": 0.55, "w16a4": 0.8}
LAW = LossLaw(1.8, 4.0, 0.35, 0.18, 0.30)


@pytest.fixture(scope="module")
def laws(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("laws")
    table = planted_table(2e-3, 3, sizes=MICRO, ratios=(20.0, 60.0, 200.0), rho=RHO, law=LAW)
    found = fit_laws(table, dense="bf16", delta=1e-3, starts=12, bootstrap=0, seed=0)
    (folder / "laws.json").write_text(json.dumps(found.to_json()))
    return folder / "laws.json"


def given(laws: Path, format: str, **changes: object) -> dict[str, object]:
    base = {"laws": str(laws), "name": format, "num_params": 1e5, "num_tokens": 1e7, **changes}
    return compose("predict", [f"{key}={value}" for key, value in base.items()])


def test_a_measured_format_gives_the_law_at_its_capacity(laws: Path) -> None:
    fitted = LawsResult.from_json(json.loads(laws.read_text()))
    row = predict_loss(given(laws, "int4"))
    capacity = fitted.capacity("int4")
    assert row["rho"] == pytest.approx(capacity.rho)
    assert row["source"] == "measured"
    assert row["val_loss"] == pytest.approx(float(fitted.law.predict(1e5, 1e7, capacity.rho)))
    assert row["low"] < row["val_loss"] < row["high"]
    dense = predict_loss(given(laws, "bf16"))
    assert dense["low"] < dense["val_loss"] < dense["high"]
    assert dense["rho_low"] == dense["rho"] == dense["rho_high"] == 1.0
    assert dense["val_loss"] < row["val_loss"]
    twin = predict_loss(given(laws, "w4a16"))
    assert (twin["format"], twin["val_loss"]) == ("int4", row["val_loss"])


def test_an_unmeasured_format_goes_by_its_parts_then_by_its_gmse(laws: Path) -> None:
    both = predict_loss(given(laws, "int4_sparse50"))
    assert both["source"] == "factors"
    assert both["rho"] == pytest.approx(0.82 * 0.55, rel=0.05)
    assert predict_loss(given(laws, "w4a4"))["rho"] == pytest.approx(0.82 * 0.8, rel=0.05)
    eight = predict_loss(given(laws, "int8"))
    assert eight["source"] == "gmse"
    assert "this fit's 3 integer W formats" in eight["note"]
    assert eight["rho"] == pytest.approx(float(LLAMA_C4.predict(8.78e-5)), rel=0.03)
    by_gmse = predict_loss(given(laws, "int4_sparse50", rho_source="gmse"))
    assert by_gmse["source"] == "gmse"
    assert by_gmse["rho_high"] - by_gmse["rho_low"] > 0
    with pytest.raises(UsageError, match="no capacity from measured"):
        predict_loss(given(laws, "int8", rho_source="measured"))


def test_few_formats_take_the_published_curve(tmp_path: Path) -> None:
    write_runs(tmp_path, ["laws=laws/laws.json"])
    row = predict_loss(given(tmp_path / "laws" / "laws.json", "sparse50"))
    assert row["source"] == "gmse"
    assert row["rho"] == pytest.approx(0.553, abs=1e-3)
    assert "published curve" in row["note"]
    assert row["low"] < row["val_loss"] < row["high"]


def test_wrong_numbers_and_names_are_one_line(laws: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="num_params is -1"):
        predict_loss(given(laws, "int4", num_params=-1))
    words = [f"laws={laws}", "format=itn4", "num_params=1e6", "num_tokens=1e8"]
    assert_one_line_error(run_module("predict", *words, cwd=tmp_path), ["unknown format 'itn4'"])
    done = run_module("predict", *words, "action=lose", cwd=tmp_path)
    assert_one_line_error(done, ["unknown action 'lose'", "loss", "freeze"])
    out = tmp_path / "p.json"
    more = ["format=int4", "source=measured", f"out={out}"]
    done = run_module("predict", words[0], *words[2:], *more, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert {"val_loss", "low", "high", "rho", "source"} <= set(json.loads(out.read_text()))
    assert "the law extrapolates" in done.stdout


Say = Callable[..., str]


@pytest.fixture
def say(
    laws: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Say:
    """An action in this process, with the laws unless runs are given: what it prints."""
    monkeypatch.chdir(tmp_path)

    def call(action: str, *words: str) -> str:
        whole = [] if any(w.startswith("runs=") for w in words) else [f"laws={laws}"]
        ACTIONS[action](compose("predict", [f"action={action}", *whole, *words]))
        return capsys.readouterr().out

    return call


def test_iso_and_best(say: Say, tmp_path: Path) -> None:
    text = say("iso", "name=int2", "num_params=1e5", "num_tokens=1e7")
    assert text.count("bf16 of the same loss") == 2
    words = ["cost=training_flops", "budget=1e13", "out=best.json", "figure=best.png"]
    text = say("best", *words, "counting=quadratic", "formats=[bf16,int4,w4a4,sparse50]")
    found = json.loads((tmp_path / "best.json").read_text())
    assert found["offers"][0]["prediction"]["format"] == "w4a4"
    assert found["offers"][0]["prediction"]["source"] == "factors"
    assert (tmp_path / "best.png").read_bytes().startswith(b"\x89PNG")
    assert "* w4a4" in text
    assert "bf16" in say("best", "cost=inference_bytes", "budget=1e7", "tokens_per_param=100")
    for wrong, said in (
        (["cost=watts", "budget=1"], "cost is 'watts'; allowed: weight_bytes"),
        (["budget=1e5"], "the number of tokens must be given"),
        (["budget=1e5", "num_tokens=1e7", "formats=[itn4]"], "unknown format 'itn4'"),
        (["budget=1e5", "num_tokens=1e7", "formats=int4"], "give a list"),
        (["num_tokens=1e7"], "budget is None"),
        (["budget=1e5", "num_tokens=1e7", "figure=best.jpg"], ".svg or .png"),
    ):
        with pytest.raises(UsageError, match=re.escape(said)):
            say("best", *wrong)


def test_what_to_run_next_from_one_command_to_one_line(say: Say, tmp_path: Path) -> None:
    """int1 on top of laws without it, its runs made by the planted law, and asked again."""
    words = ["name=int1", "target_stderr=0.02", "throughput=1e10", "sweep_out=next.yaml"]
    text = say("next", *words, "out=plan.json", "figure=plan.svg")
    assert "int1 was not run yet; expected rho" in text
    assert "now not determined" in text
    assert "which meets 0.02" in text
    assert "python -m unified_laws.sweep sweep=next.yaml action=launch" in text
    plan = json.loads((tmp_path / "plan.json").read_text())
    grid = read_grid(str(tmp_path / "next.yaml"))
    assert len(grid.runs) == len(plan["steps"]) > 0
    assert (tmp_path / "plan.svg").read_text().startswith("<svg")
    rows = [(*row,) for row in fitted_runs()]
    for index, step in enumerate(plan["steps"]):
        c = step["candidate"]
        rho = {**RHO, "int1": 0.18}[c["format"]]
        loss = float(LAW.predict(c["num_params"], c["num_tokens"], rho))
        rows.append((c["format"], c["num_params"], c["num_tokens"], loss + 1e-3 * (-1) ** index))
    write_table(tmp_path / "runs.csv", rows)
    again = say("next", "runs=runs.csv", *words)
    line = re.search(r"^int1: rho (0\.\d+) ± (0\.\d+) \(95 %", again, re.MULTILINE)
    assert line, again
    assert abs(float(line[1]) - 0.18) < 1.5 * float(line[2])
    assert float(line[2]) < 0.05


def fitted_runs() -> list[tuple[str, float, float, float]]:
    """The table behind the laws."""
    table = planted_table(2e-3, 3, sizes=MICRO, ratios=(20.0, 60.0, 200.0), rho=RHO, law=LAW)
    columns = (table.num_params.tolist(), table.num_tokens.tolist(), table.val_loss.tolist())
    return list(zip(table.formats, *columns, strict=True))


def write_table(path: Path, rows: Sequence[Sequence[object]], ended: bool = False) -> None:
    head = "format,num_params,num_tokens,val_loss" + ",ended" * ended
    path.write_text("\n".join([head, *(",".join(map(str, row)) for row in rows)]))


def test_other_targets_and_wrong_input_of_next(say: Say) -> None:
    words = ["budget_hours=1", "throughput=1e10"]
    text = say("next", *words, "target=all", "models=[micro_10k]", "ratios=[20]")
    assert "log rho of int4" in text
    loss = ["target=loss", "name=int4", "num_params=1e6", "num_tokens=1e8"]
    assert "loss of int4 at N=1e+06" in say("next", *words, *loss, "models=[micro_100k]")
    for more, said in (
        ([], "give a format"),
        (["name=int4", "target=fame"], "target is 'fame'; allowed: rho, loss, all"),
        (["name=int4", "budget_hours=null"], "give target_stderr=0.02"),
        (["name=int4", "models=[micro_1k]"], "models has micro_1k"),
        (["name=int4", "models=[micro_10k]", "sweep_out=next.txt"], "ending in .yaml"),
    ):
        with pytest.raises(UsageError, match=re.escape(said)):
            say("next", *words, *more)


def test_frozen_scored_and_on_the_page(say: Say, laws: Path, tmp_path: Path) -> None:
    words = ["name=int4", "num_params=101664", "num_tokens=1e7", "out=frozen/a.json"]
    assert "frozen 20" in say("freeze", *words)
    before = (tmp_path / "frozen" / "a.json").read_text()
    with pytest.raises(UsageError, match=r"frozen/a\.json exists"):
        say("freeze", *words)
    assert (tmp_path / "frozen" / "a.json").read_text() == before
    known = ["name=w4a16", "num_params=10336", "num_tokens=206720", "out=frozen/b.json"]
    with pytest.raises(UsageError, match="this is no prediction"):
        say("freeze", *known)
    assert not (tmp_path / "frozen" / "b.json").exists()
    predicted = json.loads(before)["prediction"]["val_loss"]
    rows: list[tuple[object, ...]] = [(*row, "2020-01-01") for row in fitted_runs()]
    rows.append(("int4", 101664, 1e7, 1.001 * predicted, "2999-01-01T00:00:00+00:00"))
    rows.append(("int4", 101664, 1e7, 2 * predicted, "2020-01-01T00:00:00+00:00"))
    write_table(tmp_path / "runs.csv", rows, ended=True)
    text = say("score", "frozen=[frozen]", "runs=runs.csv", "out=s.json", "figure=s.png")
    board = json.loads((tmp_path / "s.json").read_text())
    assert (board["landed"], board["covered"], board["scores"][0]["runs"]) == (1, 1, 1)
    assert board["scores"][0]["error"] == pytest.approx(1e-3 * predicted)
    assert "not counted" in text
    done = run_module(
        "report", "runs=runs.csv", f"laws={laws}", "frozen=[frozen]", "out=page", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "page" / "index.html").read_text()
    assert "<h2>Frozen predictions</h2>" in page
    assert 'id="calibration-' in page
    for more, said in (("frozen=[]", "give the frozen"), ("frozen=[no.json]", "no such file")):
        with pytest.raises(UsageError, match=said):
            say("score", "runs=runs.csv", more)
