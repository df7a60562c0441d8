"""What a comparison of laws says, and its JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from unified_laws.errors import UsageError

RANKINGS = ("aic", "aicc", "bic", "held_out_largest", "held_out_folds")
HEADINGS = {
    "aic": "AIC",
    "aicc": "AICc",
    "bic": "BIC",
    "held_out_largest": "error on the largest size",
    "held_out_folds": "error on random folds",
}
# A difference of AIC below this is no evidence (Burnham and Anderson, 2002, §2.6).
NO_EVIDENCE = 2.0
# Held-out errors closer than this share are called equal.
EQUAL_ERROR = 0.02


@dataclass(frozen=True)
class LawScore:
    """One law on the runs.

    Attributes:
        name: of the law.
        formula: as text.
        source: arXiv number.
        num_parameters: fitted constants k (the scale of the noise comes on top in the criteria).
        objective: sum of Huber losses of the log residuals.
        log_likelihood: largest log likelihood of the log losses under the density that belongs to
            the objective (Gaussian for least squares, Gaussian with Laplace tails for huber).
        log_likelihood_gaussian: largest log likelihood with Gaussian noise of fitted size.
        aic: from ``log_likelihood``.
        aicc: from ``log_likelihood``; infinite where the runs are too few for it.
        bic: from ``log_likelihood``.
        aicc_gaussian: from ``log_likelihood_gaussian``.
        rmse_log: root mean square log residual: relative error of the loss.
        held_out_largest: the same over the runs of the largest N, fitted without them.
        held_out_folds: the same over random folds, each fitted without it.
        starts: number of descents.
        starts_at_best: how many reached the best optimum.
        converged: the gradient vanishes there.
        at_bound: constants that sit at a bound.
        constants: name and value, with N in parameters and D in tokens.
        warnings: in words.
    """

    name: str
    formula: str
    source: str
    num_parameters: int
    objective: float
    log_likelihood: float
    log_likelihood_gaussian: float
    aic: float
    aicc: float
    bic: float
    aicc_gaussian: float
    rmse_log: float
    held_out_largest: float
    held_out_folds: float
    starts: int
    starts_at_best: int
    converged: bool
    at_bound: tuple[str, ...]
    constants: tuple[tuple[str, float], ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class NotCompared:
    """A law that could not be fitted, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class Comparison:
    """Rival laws on the same runs.

    Attributes:
        scores: best first, by ``rank_by``.
        not_compared: laws that could not be fitted.
        num_runs: number of runs.
        objective: huber, least_squares or least_absolute.
        delta: threshold of huber.
        folds: number of random folds.
        seed: of starts and folds.
        rank_by: the criterion of the order.
        warnings: on the runs.
    """

    scores: tuple[LawScore, ...]
    not_compared: tuple[NotCompared, ...]
    num_runs: int
    objective: str
    delta: float
    folds: int
    seed: int
    rank_by: str
    warnings: tuple[str, ...]

    def score(self, name: str) -> LawScore:
        """Score of one law.

        Raises:
            UsageError: it was not compared.
        """
        for entry in self.scores:
            if entry.name == name:
                return entry
        raise UsageError(
            f"the comparison has no law {name!r}; it has "
            f"{', '.join(entry.name for entry in self.scores)}"
        )

    def winner(self, criterion: str) -> LawScore | None:
        """The law with the smallest value of a criterion, None where nothing is known of it."""
        known = [s for s in self.scores if math.isfinite(getattr(s, criterion))]
        return min(known, key=lambda s: float(getattr(s, criterion)), default=None)

    def verdict(self) -> str:
        """The answer in two or three sentences."""
        if len(self.scores) == 1:
            return f"Only {self.scores[0].name} could be fitted: there is nothing to compare."
        said = [self._by_likelihood()]
        for criterion in ("held_out_largest", "held_out_folds"):
            best = self.winner(criterion)
            if best is not None:
                error = float(getattr(best, criterion))
                first = float(getattr(self.scores[0], criterion))
                tie = best is not self.scores[0] and first <= error * (1.0 + EQUAL_ERROR)
                said.append(
                    f"The smallest {HEADINGS[criterion]} has {best.name} "
                    f"({100 * error:.2f} %"
                    + (f"; {self.scores[0].name} is equal" if tie else "")
                    + ")."
                )
        return " ".join(said)

    def _by_likelihood(self) -> str:
        best = self.winner("aicc")
        if best is None:
            return "The runs are too few for AICc."
        rest = [s.aicc - best.aicc for s in self.scores if s is not best]
        equal = [s.name for s in self.scores if s is not best and s.aicc - best.aicc < NO_EVIDENCE]
        text = f"AICc prefers {best.name} (next: +{min(rest):.1f})"
        if equal:
            text = f"AICc cannot tell {best.name} from {', '.join(equal)}"
        by_bic = self.winner("bic")
        if by_bic is not None and by_bic is not best:
            text += f", BIC prefers {by_bic.name}"
        gaussian = self.winner("aicc_gaussian")
        if gaussian is not None and gaussian is not best:
            text += f", with Gaussian noise AICc prefers {gaussian.name}"
        return text + "."

    def summary(self) -> str:
        """Readable table, verdict and remarks."""
        width = max(len("law"), *(len(s.name) for s in self.scores))
        least = min((s.aicc for s in self.scores), default=0.0)
        least_bic = min(s.bic for s in self.scores)
        lines = [
            f"{'law':<{width}}    k   log lik.  Gaussian  ΔAICc     ΔBIC    rms %  "
            "largest %  folds %  starts",
        ]
        lines += [
            f"{s.name:<{width}}  {s.num_parameters:>3}  {s.log_likelihood:>9.1f} "
            f"{s.log_likelihood_gaussian:>9.1f}  {_number(s.aicc - least, 6, 1)}  "
            f"{_number(s.bic - least_bic, 7, 1)}  {100 * s.rmse_log:>7.3f}  "
            f"{_number(100 * s.held_out_largest, 9, 3)}  {_number(100 * s.held_out_folds, 7, 3)}  "
            f"{s.starts_at_best}/{s.starts}"
            for s in self.scores
        ]
        noise = f"huber {self.delta:g}" if self.objective == "huber" else self.objective
        lines += [
            "",
            f"{self.num_runs} runs, {noise}, ranked by {HEADINGS[self.rank_by]}; "
            f"largest: the largest N predicted from the rest; folds: {self.folds} random parts",
            self.verdict(),
        ]
        lines += [f"{s.name}: {s.formula}" for s in self.scores]
        lines += [f"not compared: {e.name} ({e.reason})" for e in self.not_compared]
        lines += [
            f"at a bound: {s.name}: {', '.join(s.at_bound)}" for s in self.scores if s.at_bound
        ]
        lines += [f"warning: {s.name}: {text}" for s in self.scores for text in s.warnings]
        lines += [f"warning: {text}" for text in self.warnings]
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """JSON value; numbers that are not finite become null."""
        content = asdict(self)
        content["verdict"] = self.verdict()
        for score in content["scores"]:
            for key, value in score.items():
                if isinstance(value, float) and not math.isfinite(value):
                    score[key] = None
            score["constants"] = dict(score["constants"])
        if not math.isfinite(self.delta):
            content["delta"] = None
        return content

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Comparison:
        """Inverse of `to_json`; null becomes infinity for criteria and delta, NaN elsewhere.

        Raises:
            UsageError: a key is missing or of the wrong kind.
        """
        try:
            return cls(
                scores=tuple(_score(entry) for entry in content["scores"]),
                not_compared=tuple(NotCompared(**entry) for entry in content["not_compared"]),
                num_runs=content["num_runs"],
                objective=content["objective"],
                delta=math.inf if content["delta"] is None else content["delta"],
                folds=content["folds"],
                seed=content["seed"],
                rank_by=content["rank_by"],
                warnings=tuple(content["warnings"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise UsageError(
                f"this is not the JSON of a comparison of laws ({type(error).__name__}: {error}); "
                "write it again with fit action=compare"
            ) from error


def _score(entry: Mapping[str, Any]) -> LawScore:
    unknown = {"held_out_largest", "held_out_folds"}
    filled: dict[str, Any] = {
        field.name: entry[field.name]
        if entry[field.name] is not None
        else (math.nan if field.name in unknown else math.inf)
        for field in fields(LawScore)
    }
    for name in ("at_bound", "warnings"):
        filled[name] = tuple(filled[name])
    filled["constants"] = tuple(filled["constants"].items())
    return LawScore(**filled)


def _number(value: float, width: int, digits: int) -> str:
    return f"{value:>{width}.{digits}f}" if math.isfinite(value) else f"{'–':>{width}}"
