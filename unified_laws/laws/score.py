"""What became of frozen predictions: errors, z-scores and coverage once the runs have landed."""

from __future__ import annotations

import datetime
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.stats import beta, binom
from scipy.stats import t as student

from unified_laws.errors import UsageError
from unified_laws.laws.frozen import FrozenPrediction, is_same
from unified_laws.laws.information import LEVEL
from unified_laws.laws.loss_law import Floats
from unified_laws.laws.rows import read_rows
from unified_laws.laws.table import FINISHED, NEEDED


@dataclass(frozen=True)
class LandedRun:
    """A finished run.

    Attributes:
        format: label.
        num_params: N.
        num_tokens: D.
        val_loss: loss, nats per token.
        ended: date and time, ISO 8601; empty if unknown.
        run_id: of the run; empty if unknown.
    """

    format: str
    num_params: float
    num_tokens: float
    val_loss: float
    ended: str = ""
    run_id: str = ""


@dataclass(frozen=True)
class Score:
    """One prediction against its run.

    Attributes:
        format: label.
        num_params: N.
        num_tokens: D.
        predicted: loss.
        low: lower end of the 95 % interval.
        high: upper end.
        source: of rho.
        val_loss: measured loss, mean over runs that count; NaN while there is none.
        runs: how many count.
        error: measured less predicted loss, nats.
        z: log error in units of the standard deviation predicted for a run.
        probability: of a smaller loss, by the prediction; uniform if predictions are honest.
        inside: whether the loss lies in the interval; None without a run or an interval.
        flagged: runs of the configuration that do not count, and why.
        undated: runs that count although the table does not say when they ended.
    """

    format: str
    num_params: float
    num_tokens: float
    predicted: float
    low: float
    high: float
    source: str
    val_loss: float
    runs: int
    error: float
    z: float
    probability: float
    inside: bool | None
    flagged: tuple[str, ...]
    undated: int


@dataclass(frozen=True)
class ScoreBoard:
    """All frozen predictions and their runs.

    Attributes:
        scores: one per prediction.
        landed: predictions with a run that counts.
        rmse: root mean square error, nats.
        bias: mean error, nats.
        rms_z: root mean square z; 1 if intervals are honest.
        covered: predictions whose run lies in the interval.
        with_interval: landed predictions that have one.
        band_low: fewest covered that are no surprise (2.5 % binomial tail at 95 % coverage).
    """

    scores: tuple[Score, ...]
    landed: int
    rmse: float
    bias: float
    rms_z: float
    covered: int
    with_interval: int
    band_low: int

    def summary(self) -> str:
        """A line per prediction, and the verdict."""
        width = max(6, *(len(score.format) for score in self.scores))
        lines = [
            f"{'format':<{width}}  {'N':>9}  {'D':>9}  predicted   95 % interval    measured"
            "    error      z"
        ]
        for score in self.scores:
            start = (
                f"{score.format:<{width}}  {score.num_params:9.3g}  {score.num_tokens:9.3g}  "
                f"{score.predicted:9.4f}  [{score.low:.4f}, {score.high:.4f}]"
            )
            if score.runs:
                outside = "" if score.inside is not False else "  outside"
                lines.append(
                    f"{start}  {score.val_loss:8.4f}  {score.error:+.4f}  {score.z:+5.2f}{outside}"
                )
            else:
                lines.append(f"{start}  no run yet")
            lines += [f"  not counted: {text}" for text in score.flagged]
        return "\n".join([*lines, self.verdict()])

    def verdict(self) -> str:
        """How honest the predictions were, in words."""
        if not self.landed:
            return "no run has landed yet"
        text = (
            f"{self.landed} of {len(self.scores)} landed: root mean square error {self.rmse:.4f} "
            f"nats, bias {self.bias:+.4f}, rms z {self.rms_z:.2f}; {self.covered} of "
            f"{self.with_interval} in their 95 % interval"
        )
        if self.covered < self.band_low:
            text += f" (fewer than the {self.band_low} that chance allows: intervals too narrow)"
        undated = sum(score.undated for score in self.scores)
        if undated:
            text += (
                f"; {undated} run(s) do not say when they ended, so that they came after the "
                "freezing was not checked"
            )
        return text


def score(frozen: Sequence[FrozenPrediction], runs: Sequence[LandedRun]) -> ScoreBoard:
    """Hold predictions against runs.

    A run that ended before its prediction was frozen is flagged and does not count.

    Raises:
        UsageError: nothing is frozen, or one configuration is frozen twice.
    """
    if not frozen:
        raise UsageError("no frozen predictions; make one with action=freeze out=FILE")
    keys = [(f.prediction.format, f.prediction.num_params, f.prediction.num_tokens) for f in frozen]
    for key in keys:
        if keys.count(key) > 1:
            raise UsageError(
                f"{key[0]} at N={key[1]:g}, D={key[2]:g} is frozen {keys.count(key)} times; score "
                "one prediction of a configuration at a time"
            )
    scores = tuple(_score(entry, runs) for entry in frozen)
    landed = [entry for entry in scores if entry.runs]
    errors = np.array([entry.error for entry in landed])
    with_interval = [entry for entry in landed if entry.inside is not None]
    z = np.array([entry.z for entry in with_interval])
    return ScoreBoard(
        scores=scores,
        landed=len(landed),
        rmse=_rms(errors),
        bias=float(errors.mean()) if len(errors) else math.nan,
        rms_z=_rms(z),
        covered=sum(entry.inside is True for entry in landed),
        with_interval=len(with_interval),
        band_low=int(binom.ppf(0.025, len(with_interval), LEVEL)) if with_interval else 0,
    )


def read_landed(path: Path, columns: Mapping[str, str]) -> tuple[LandedRun, ...]:
    """Finished runs of a table.

    Args:
        path: CSV, JSONL or JSON; ``ended`` and ``run_id`` are read where they are.
        columns: our name -> the file's name, for columns that are called otherwise.

    Raises:
        UsageError: the file cannot be read, a column is missing or a value is impossible.
    """
    rows = read_rows(path)
    names = {ours: columns.get(ours, ours) for ours in (*NEEDED, "status", "ended", "run_id")}
    for ours in NEEDED:
        if names[ours] not in rows.columns:
            raise UsageError(
                f"{path} has no column {names[ours]!r} for {ours}; it has {', '.join(rows.columns)}"
            )
    return tuple(
        LandedRun(
            format=row.label(names["format"]),
            num_params=row.positive(names["num_params"]),
            num_tokens=row.positive(names["num_tokens"]),
            val_loss=row.positive(names["val_loss"]),
            ended=str(row.values.get(names["ended"]) or ""),
            run_id=str(row.values.get(names["run_id"]) or ""),
        )
        for row in rows.rows
        if row.values.get(names["status"], FINISHED) == FINISHED
    )


def quantile_band(count: int) -> tuple[Floats, Floats, Floats]:
    """Mean and 95 % band of the sorted values of ``count`` uniform draws, (count,) each.

    The k-th of n is Beta(k, n + 1 - k) distributed.
    """
    rank = np.arange(1, count + 1)
    tail = (1.0 - LEVEL) / 2
    low, high = (np.asarray(beta.ppf(q, rank, count + 1 - rank)) for q in (tail, 1.0 - tail))
    return rank / (count + 1), low, high


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.square(values).mean())) if len(values) else math.nan


def _time(text: str) -> datetime.datetime:
    """A moment of ISO 8601; without a time zone it is UTC.

    Raises:
        UsageError: the text is no moment.
    """
    try:
        moment = datetime.datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(f"{text!r} is no date and time of ISO 8601; correct it") from error
    return moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)


def _score(frozen: FrozenPrediction, runs: Sequence[LandedRun]) -> Score:
    p = frozen.prediction
    matching = [
        run
        for run in runs
        if run.format == p.format
        and is_same(run.num_params, run.num_tokens, p.num_params, p.num_tokens)
    ]
    frozen_at = _time(frozen.frozen_at)
    early = [run for run in matching if run.ended and _time(run.ended) < frozen_at]
    counted = [run for run in matching if run not in early]
    loss = float(np.mean([run.val_loss for run in counted])) if counted else math.nan
    has_interval = math.isfinite(p.low) and math.isfinite(p.high)
    log_error = math.log(loss / p.val_loss) if counted else math.nan
    deviation = math.hypot(p.stderr_log, p.noise_log / math.sqrt(max(len(counted), 1)))
    z = log_error / deviation if deviation > 0 else math.nan
    return Score(
        format=p.format,
        num_params=p.num_params,
        num_tokens=p.num_tokens,
        predicted=p.val_loss,
        low=p.low,
        high=p.high,
        source=p.source,
        val_loss=loss,
        runs=len(counted),
        error=loss - p.val_loss,
        z=z,
        probability=float(student.cdf(z, max(p.degrees_of_freedom, 1))),
        inside=bool(p.low <= loss <= p.high) if counted and has_interval else None,
        flagged=tuple(
            f"{run.run_id or 'run'} (loss {run.val_loss:.4f}) ended {run.ended}, before the "
            f"prediction was frozen {frozen.frozen_at}"
            for run in early
        ),
        undated=sum(not run.ended for run in counted),
    )
