"""Predictions written down before the run."""

from __future__ import annotations

import math
from dataclasses import dataclass

from unified_laws.errors import UsageError
from unified_laws.laws.prediction import Prediction
from unified_laws.laws.result import LawsResult

# A run of a frozen configuration has exactly its N; its D is a whole number of steps.
SAME_TOKENS = 0.02


@dataclass(frozen=True)
class FrozenPrediction:
    """A prediction with what shows that it came first.

    Attributes:
        prediction: format, N, D, loss, interval and source.
        laws_sha256: of the laws.json it was made from.
        num_runs: runs behind those laws.
        frozen_at: date and time, ISO 8601 with time zone.
        git_commit: of the source tree; empty outside git.
    """

    prediction: Prediction
    laws_sha256: str
    num_runs: int
    frozen_at: str
    git_commit: str

    def summary(self) -> str:
        """What is frozen, when, from what."""
        return (
            f"{self.prediction.summary()}\nfrozen {self.frozen_at} from laws "
            f"{self.laws_sha256[:12]} of {self.num_runs} runs, commit "
            f"{self.git_commit[:12] or 'unknown'}"
        )


def freeze(
    laws: LawsResult, prediction: Prediction, *, laws_sha256: str, frozen_at: str, git_commit: str
) -> FrozenPrediction:
    """Write a prediction down.

    Raises:
        UsageError: the laws were fitted to a run of this very configuration.
    """
    same = [
        run
        for run in laws.residuals
        if run.format == prediction.format
        and is_same(run.num_params, run.num_tokens, prediction.num_params, prediction.num_tokens)
    ]
    if same:
        raise UsageError(
            f"the laws were fitted to {len(same)} run(s) of {prediction.format} at "
            f"N={prediction.num_params:g}, D={same[0].num_tokens:g} (loss "
            f"{same[0].val_loss:.4f}): this is no prediction; freeze a configuration without runs"
        )
    return FrozenPrediction(prediction, laws_sha256, laws.num_runs, frozen_at, git_commit)


def is_same(first_params: float, first_tokens: float, params: float, tokens: float) -> bool:
    """Whether two runs of one format have the same configuration."""
    return math.isclose(first_params, params, rel_tol=1e-9) and math.isclose(
        first_tokens, tokens, rel_tol=SAME_TOKENS
    )
