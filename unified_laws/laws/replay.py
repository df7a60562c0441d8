"""Finished runs taken again in a better order: what a design would have saved."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from unified_laws.errors import UsageError
from unified_laws.laws.design import Candidate, capacity_target, plan_runs
from unified_laws.laws.fitting import fit_laws
from unified_laws.laws.information import Information
from unified_laws.laws.objective import NUM_LAW
from unified_laws.laws.result import LawsResult
from unified_laws.laws.table import RunTable

# A pilot has this many runs more than parameters, so that it has a fit of its own.
PILOT_SPARE = 3
# Expected capacity of a format of which no run was taken yet; it only steers the next choice.
UNSEEN_RHO = 0.5
# Runs taken between two fits.
BATCH = 3


@dataclass(frozen=True)
class Stage:
    """The state of an order after some of its runs.

    Attributes:
        runs: how many were taken.
        spent: their cost.
        rho: capacity fitted to them; NaN before they allow a fit.
        stderr: its standard error; NaN while they do not tell.
    """

    runs: int
    spent: float
    rho: float
    stderr: float


@dataclass(frozen=True)
class Replay:
    """Two orders of the same runs.

    Attributes:
        format: whose capacity is wanted.
        goal: standard error at which the design stops.
        noise_log: standard deviation of log loss that both orders are judged by.
        rho: capacity from all runs.
        stderr: its standard error.
        total: cost of all runs.
        given: stages of the order of the table.
        designed: stages of the designed order.
    """

    format: str
    goal: float
    noise_log: float
    rho: float
    stderr: float
    total: float
    given: tuple[Stage, ...]
    designed: tuple[Stage, ...]

    @property
    def given_cost(self) -> float:
        """Cost at which the given order first meets the goal; NaN if never."""
        return next((stage.spent for stage in self.given if stage.stderr <= self.goal), math.nan)

    @property
    def designed_cost(self) -> float:
        """The same of the design."""
        return next((stage.spent for stage in self.designed if stage.stderr <= self.goal), math.nan)

    def summary(self) -> str:
        """What each order costs."""
        last = self.designed[-1]
        return (
            f"rho of {self.format} from all {self.given[-1].runs} runs: {self.rho:.3f}, standard "
            f"error {self.stderr:.4f}, cost {self.total:.4g}\n"
            f"standard error {self.goal:.4f}: in the given order after {self.given_cost:.4g}, by "
            f"design after {self.designed_cost:.4g} ({last.runs} runs, rho {last.rho:.3f}): "
            f"{100 * self.designed_cost / self.given_cost:.1f} % of the given order, "
            f"{100 * self.designed_cost / self.total:.1f} % of all"
        )


def take(table: RunTable, index: Sequence[int]) -> RunTable:
    """Some rows of a table, in the order of ``index``."""
    rows = np.asarray(index, dtype=np.int64)
    columns: dict[str, Any] = {
        entry.name: value[rows]
        for entry in fields(table)
        if isinstance(value := getattr(table, entry.name), np.ndarray)
    }
    covariates = {name: value[rows] for name, value in table.covariates.items()}
    formats = tuple(table.formats[i] for i in rows)
    return replace(table, formats=formats, covariates=covariates, **columns)


def replay(
    table: RunTable,
    cost: Sequence[float],
    *,
    dense: str,
    format: str,
    goal: float,
    delta: float,
    starts: int,
    every: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> Replay:
    """Take the runs of a table in its own order and by design, fitting as they come in.

    The design begins with a pilot, the cheapest runs of the dense format, the wanted one and the
    one with most runs in turn, and sees the loss of a run only after taking it. Both orders are
    judged by the noise of the whole table: a handful of runs cannot estimate their own.

    Args:
        table: finished runs.
        cost: of each.
        dense: label with rho = 1.
        format: whose capacity is wanted.
        goal: standard error of rho to reach, as a multiple of that of the whole table (above 1).
        delta: Huber threshold.
        starts: of every fit.
        every: the given order is fitted after every so many runs.
        progress: called with (share of the work in per cent, 100).

    Raises:
        UsageError: the table has no such format, or the goal is not above 1.
    """
    if format not in table.formats or format == dense:
        raise UsageError(
            f"no compressed run has format {format!r}; there are "
            f"{', '.join(sorted(set(table.formats) - {dense}))}"
        )
    if not (math.isfinite(goal) and goal > 1.0):
        raise UsageError(f"goal is {goal}; allowed is a finite factor above 1, such as 1.05")

    def fit(part: RunTable) -> LawsResult:
        return fit_laws(
            part,
            dense=dense,
            delta=delta,
            starts=starts,
            bootstrap=0,
            seed=0,
            interval="curvature",
            brief=True,
        )

    whole = fit(table)
    noise = whole.fit.noise_log
    everything = Information.of(whole)
    stderr = capacity_target(everything, [format]).stderr(everything)
    spent = np.cumsum(cost)

    def state(index: Sequence[int]) -> tuple[Information | None, float]:
        part = take(table, index)
        names = set(part.formats)
        if dense not in names or format not in names or len(part) < NUM_LAW + len(names) - 1:
            return None, math.nan
        laws = fit(part)
        found = Information.of(laws, noise=noise)
        return found, laws.capacity(format).rho

    def stage(index: Sequence[int], found: Information | None, rho: float, paid: float) -> Stage:
        error = math.nan
        if found is not None:
            error = capacity_target(found, [format]).stderr(found)
        return Stage(len(index), paid, rho, error if math.isfinite(error) else math.nan)

    given = []
    for count in range(len(table) % every or every, len(table) + 1, every):
        given.append(stage(range(count), *state(range(count)), float(spent[count - 1])))
        if progress is not None:
            progress(int(50 * count / len(table)), 100)

    chosen = _pilot(table, cost, dense=dense, format=format)
    designed = []
    while True:
        found, rho = state(chosen)
        paid = float(sum(cost[i] for i in chosen))
        designed.append(stage(chosen, found, rho, paid))
        left = [i for i in range(len(table)) if i not in set(chosen)]
        if found is None or not left or designed[-1].stderr <= goal * stderr:
            break
        for name in dict.fromkeys(table.formats):
            if name not in (dense, *found.formats):
                found = found.with_format(name, UNSEEN_RHO)
        candidates = [
            Candidate(
                table.formats[i], float(table.num_params[i]), float(table.num_tokens[i]), cost[i]
            )
            for i in left
        ]
        plan = plan_runs(
            found,
            candidates,
            capacity_target(found, [format]),
            target_stderr=goal * stderr,
            # With a limit a plan that falls short is kept: its runs are taken all the same.
            budget=float(sum(cost[i] for i in left)),
        )
        for step in plan.steps[:BATCH]:
            index = candidates.index(step.candidate)
            chosen.append(left.pop(index))
            candidates.pop(index)
        if progress is not None:
            progress(50 + int(50 * len(chosen) / len(table)), 100)
    return Replay(
        format=format,
        goal=goal * stderr,
        noise_log=noise,
        rho=whole.capacity(format).rho,
        stderr=stderr,
        total=float(spent[-1]),
        given=tuple(given),
        designed=tuple(designed),
    )


def _pilot(table: RunTable, cost: Sequence[float], *, dense: str, format: str) -> list[int]:
    """The cheapest runs of three formats in turn, a few more than they have parameters."""
    others = [name for name in table.formats if name not in (dense, format)]
    companion = [max(dict.fromkeys(others), key=others.count)] if others else []
    queues = [
        sorted((i for i, f in enumerate(table.formats) if f == name), key=lambda i: cost[i])
        for name in (dense, format, *companion)
    ]
    wanted = NUM_LAW + len(queues) - 1 + PILOT_SPARE
    chosen: list[int] = []
    while len(chosen) < wanted and any(queues):
        for queue in queues:
            if queue and len(chosen) < wanted:
                chosen.append(queue.pop(0))
    return chosen
