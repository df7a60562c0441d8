"""Predictions before the run, and their score: python -m unified_laws.predict action=freeze."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from unified_laws.cli.entry import Config
from unified_laws.cli.values import check_values
from unified_laws.errors import UsageError
from unified_laws.predict_context import COUNTS, Context, finish
from unified_laws.records.files import read_json

if TYPE_CHECKING:
    from unified_laws.laws.score import ScoreBoard


def freeze_action(config: Config) -> None:
    """Write a prediction to a new file, with the hash of its laws, the time and the commit."""
    from unified_laws.laws.frozen import freeze
    from unified_laws.training.provenance import git_state, now

    check_values(config, COUNTS)
    if not config["out"]:
        raise UsageError("give the file of the frozen prediction, as in out=frozen/int4.json")
    if not config["laws"]:
        raise UsageError("a frozen prediction names its laws by their hash; give laws=laws.json")
    out = Path(config["out"])
    if out.exists():
        raise UsageError(f"{out} exists; what is frozen is not changed: choose another name")
    context = Context(config)
    frozen = freeze(
        context.laws,
        context.predict(),
        laws_sha256=hashlib.sha256(Path(config["laws"]).read_bytes()).hexdigest(),
        frozen_at=now(),
        git_commit=git_state()[0],
    )
    finish(config, frozen, f"{frozen.summary()}\n-> {out}")


def score_frozen(files: Sequence[str], runs: str, columns: Mapping[str, str]) -> ScoreBoard:
    """Frozen predictions of ``files`` (or folders of them) against the table ``runs``.

    Raises:
        UsageError: no such file, or one that holds something else.
    """
    from unified_laws.laws.frozen import FrozenPrediction
    from unified_laws.laws.json_form import from_json
    from unified_laws.laws.score import read_landed, score

    paths: list[Path] = []
    for path in map(Path, files):
        paths += sorted(path.glob("*.json")) if path.is_dir() else [path]
    frozen = [from_json(FrozenPrediction, read_json(path)) for path in paths]
    return score(frozen, read_landed(Path(runs), columns))


def score_action(config: Config) -> None:
    """Hold frozen predictions against landed runs; print the table, draw the calibration."""
    from unified_laws.figures.calibration_plot import calibration_alt, draw_calibration

    if not isinstance(config["frozen"], list) or not config["frozen"]:
        raise UsageError("give the frozen predictions, as in frozen=[frozen/int4.json] or a folder")
    if not config["runs"]:
        raise UsageError("give the table of landed runs, as in runs=runs.csv")
    board = score_frozen(
        [str(f) for f in config["frozen"]], config["runs"], config["columns"] or {}
    )
    figure = draw_calibration(board) if config["figure"] else None
    finish(config, board, board.summary(), figure, calibration_alt(board))
