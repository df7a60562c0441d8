from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import kstest

from tests.laws.planted_runs import planted_table
from tests.laws.test_prediction import fitted, predict
from unified_laws.errors import UsageError
from unified_laws.laws.frozen import FrozenPrediction, freeze
from unified_laws.laws.json_form import from_json, to_json
from unified_laws.laws.prediction import Prediction
from unified_laws.laws.result import LawsResult
from unified_laws.laws.score import LandedRun, quantile_band, read_landed, score

FROZEN_AT, LATER, EARLIER = (
    "2026-03-01T12:00:00+00:00",
    "2026-03-01T13:00:00+02:00",
    "2026-03-01T15:00:00+02:00",
)


@pytest.fixture(scope="module")
def laws() -> LawsResult:
    return fitted(planted_table(2e-3, 7))


def frozen(laws: LawsResult, format: str, params: float, tokens: float) -> FrozenPrediction:
    return freeze(
        laws,
        predict(laws, format, params, tokens),
        laws_sha256="ab" * 32,
        frozen_at=FROZEN_AT,
        git_commit="",
    )


def landed(entry: FrozenPrediction, log_error: float, ended: str = EARLIER) -> LandedRun:
    p = entry.prediction
    loss = p.val_loss * math.exp(log_error)
    return LandedRun(p.format, p.num_params, p.num_tokens * 0.995, loss, ended, "r")


def test_z_error_and_probability_by_hand(laws: LawsResult) -> None:
    entry = frozen(laws, "int4", 1.6e7, 1e9)
    p = entry.prediction
    deviation = math.hypot(p.stderr_log, p.noise_log)
    board = score([entry], [landed(entry, 1.5 * deviation)])
    found = board.scores[0]
    assert found.z == pytest.approx(1.5)
    assert found.error == pytest.approx(p.val_loss * math.expm1(1.5 * deviation))
    assert 0.9 < found.probability < 0.95
    assert found.inside is True
    assert (board.landed, board.covered, board.with_interval) == (1, 1, 1)
    out = score([entry], [landed(entry, -4 * deviation)])
    assert out.scores[0].inside is False
    assert out.covered == 0
    assert out.rms_z == pytest.approx(4.0)
    assert "outside" in out.summary()
    # Two seeds: their mean, whose noise is smaller.
    two = score([entry], [landed(entry, 0.01), landed(entry, -0.01)]).scores[0]
    assert two.runs == 2
    assert abs(two.error) < 1e-3


def test_what_was_already_known_is_refused_or_flagged(laws: LawsResult) -> None:
    with pytest.raises(UsageError, match=r"fitted to 1 run\(s\) of int4"):
        frozen(laws, "int4", 1e6, 2e7)
    entry = frozen(laws, "int4", 1.6e7, 1e9)
    # Clocks of two time zones: 13:00+02:00 is before noon in UTC, 15:00+02:00 after.
    board = score([entry], [landed(entry, 0.0, LATER)])
    assert board.landed == 0
    assert "before the prediction was frozen" in board.scores[0].flagged[0]
    assert "no run has landed yet" in board.summary()
    assert score([entry], [landed(entry, 0.0, EARLIER)]).landed == 1
    undated = score([entry], [landed(entry, 0.0, "")])
    assert undated.scores[0].undated == 1
    assert "was not checked" in undated.summary()
    with pytest.raises(UsageError, match="no date and time"):
        score([entry], [landed(entry, 0.0, "yesterday")])


def test_only_runs_of_the_configuration_count(laws: LawsResult) -> None:
    entry = frozen(laws, "int4", 1.6e7, 1e9)
    run = landed(entry, 0.0)
    others = [
        replace(run, format="int3"),
        replace(run, num_params=1.7e7),
        replace(run, num_tokens=1.1e9),
    ]
    assert score([entry], others).landed == 0
    with pytest.raises(UsageError, match="frozen 2 times"):
        score([entry, entry], [])
    with pytest.raises(UsageError, match="no frozen predictions"):
        score([], [])


def test_honest_predictions_are_calibrated_and_narrow_ones_are_found(laws: LawsResult) -> None:
    """Losses drawn from the predictions themselves: uniform probabilities, 95 % covered."""
    base = frozen(laws, "int4", 1.6e7, 1e9)
    generator = np.random.default_rng(0)
    p = base.prediction
    deviation = math.hypot(p.stderr_log, p.noise_log)
    draws = generator.standard_t(p.degrees_of_freedom, 400) * deviation
    entries = [replace(base, prediction=replace(p, num_params=1e7 + i)) for i in range(len(draws))]
    runs = [landed(entry, float(error)) for entry, error in zip(entries, draws, strict=True)]
    board = score(entries, runs)
    assert board.covered >= board.band_low
    assert 0.92 <= board.covered / 400 <= 0.98
    assert kstest([s.probability for s in board.scores], "uniform").pvalue > 0.01
    narrow = [
        replace(
            e, prediction=replace(e.prediction, low=p.val_loss * 0.999, high=p.val_loss * 1.001)
        )
        for e in entries
    ]
    assert "intervals too narrow" in score(narrow, runs).verdict()


def test_the_band_is_that_of_order_statistics() -> None:
    expected, low, high = quantile_band(9)
    drawn = np.sort(np.random.default_rng(0).random((40_000, 9)), axis=1)
    np.testing.assert_allclose(expected, drawn.mean(axis=0), atol=0.005)
    np.testing.assert_allclose(low, np.percentile(drawn, 2.5, axis=0), atol=0.01)
    np.testing.assert_allclose(high, np.percentile(drawn, 97.5, axis=0), atol=0.01)


def test_a_prediction_without_interval_has_an_error_and_no_verdict(laws: LawsResult) -> None:
    entry = frozen(laws, "int4", 1.6e7, 1e9)
    bare: Prediction = replace(entry.prediction, low=math.nan, high=math.nan, stderr_log=math.inf)
    board = score([replace(entry, prediction=bare)], [landed(entry, 0.01)])
    assert board.scores[0].inside is None
    assert board.with_interval == 0
    assert board.landed == 1
    text = json.dumps(to_json(board), allow_nan=False)
    assert from_json(type(board), json.loads(text)).landed == 1


def test_files(laws: LawsResult, tmp_path: Path) -> None:
    entry = frozen(laws, "int4", 1.6e7, 1e9)
    assert from_json(FrozenPrediction, json.loads(json.dumps(to_json(entry)))) == entry
    assert "frozen 2026-03-01" in entry.summary()
    path = tmp_path / "runs.csv"
    head = "format,num_params,num_tokens,val_loss,status,ended,run_id\n"
    path.write_text(
        head + "int4,1e7,1e9,2.5,finished,2026-03-02T00:00:00,a\nint4,1e7,1e9,,failed,,b\n"
    )
    runs = read_landed(path, {})
    assert [(run.run_id, run.val_loss) for run in runs] == [("a", 2.5)]
    with pytest.raises(UsageError, match="no column 'loss' for val_loss"):
        read_landed(path, {"val_loss": "loss"})
    path.write_text(head + "int4,1e7,1e9,nan,finished,,a\n")
    with pytest.raises(UsageError, match="line 2"):
        read_landed(path, {})
