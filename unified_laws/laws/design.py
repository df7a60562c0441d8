"""Which runs to add: those that narrow an interval most for their cost (arXiv:2604.22753)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from unified_laws.errors import UsageError
from unified_laws.laws.information import E, Information
from unified_laws.laws.loss_law import Floats
from unified_laws.laws.objective import ALPHA, BETA, LOG_A, LOG_B, NUM_LAW

CRITERIA = ("V", "D")
TARGETS = ("rho", "loss", "all")
# A run's gain is divided by cost^exponent. 1 is gain per hour; .3 is that of the paper's code
# (PlanarG/active-sl, vopt.py); with 0 the cost only counts against the budget. Each is greedy and
# none is best always, so all are tried and the cheapest plan is kept.
COST_EXPONENTS = (1.0, 0.6, 0.3, 0.0)
# Wide normal priors for the choice alone, so that gains are finite before the runs determine
# everything: log A, log B, E (of the loss), alpha, beta, log rho. No reported error contains them.
PRIOR = {LOG_A: 3.0, LOG_B: 3.0, ALPHA: 0.5, BETA: 0.5}
PRIOR_E_OF_LOSS, PRIOR_LOG_RHO = 1.0, 1.5
MOST_RUNS = 1000


@dataclass(frozen=True)
class Candidate:
    """A run that could be made.

    Attributes:
        format: label.
        num_params: N.
        num_tokens: D.
        cost: in the unit of the budget, such as GPU-hours.
        repeats: how many runs of this configuration may be chosen (seeds).
        model: name of the size, empty if it has none.
    """

    format: str
    num_params: float
    num_tokens: float
    cost: float
    repeats: int = 1
    model: str = ""


@dataclass(frozen=True)
class Step:
    """One run of a plan.

    Attributes:
        candidate: the run.
        spent: cost of the plan up to and with it.
        stderr: expected standard error of the target after it; NaN while the runs do not tell.
    """

    candidate: Candidate
    spent: float
    stderr: float


@dataclass(frozen=True)
class Target:
    """What should become known.

    Attributes:
        name: in words, such as ``rho of int4``.
        scale: standard error of the target over that of its log (its expected value).
        directions: gradients of log targets in the parameters of the fit; the standard error is
            the root mean square over them.
    """

    name: str
    scale: float
    directions: tuple[tuple[float, ...], ...]

    def stderr(self, information: Information) -> float:
        """Expected standard error after the runs of ``information``; infinite if unknown."""
        variance = information.variance_of(np.array(self.directions))
        return self.scale * math.sqrt(float(variance.mean()))


@dataclass(frozen=True)
class Plan:
    """Runs to add, the cheapest first.

    Attributes:
        target: in words.
        criterion: V or D.
        before: standard error before any of them; NaN if the runs so far do not tell.
        after: standard error after all of them.
        cost: of all of them.
        target_stderr: what was asked for; NaN if only a budget was.
        budget: the most that may be spent; NaN if unlimited.
        reached: whether ``target_stderr`` is met.
        steps: the runs.
        message: the outcome in words.
    """

    target: str
    criterion: str
    before: float
    after: float
    cost: float
    target_stderr: float
    budget: float
    reached: bool
    steps: tuple[Step, ...]
    message: str

    def summary(self) -> str:
        """The outcome, and a line per run."""
        lines = [self.message]
        if self.steps:
            width = max(6, *(len(step.candidate.format) for step in self.steps))
            lines.append(f"     {'format':<{width}}  {'N':>9}  {'D':>9}  {'cost':>9}  stderr after")
            lines += [
                f"{index:>3}. {step.candidate.format:<{width}}  {step.candidate.num_params:9.3g}  "
                f"{step.candidate.num_tokens:9.3g}  {step.candidate.cost:9.3g}  "
                + (f"{step.stderr:.4f}" if math.isfinite(step.stderr) else "not determined")
                for index, step in enumerate(self.steps, start=1)
            ]
        return "\n".join(lines)


def capacity_target(information: Information, formats: Sequence[str]) -> Target:
    """Capacity of one format, or the root mean square over several of their relative errors."""
    directions = [information.capacity_direction([name]) for name in formats]
    one = len(formats) == 1
    log_rho = float(directions[0][NUM_LAW:] @ information.log_rho)
    name = f"rho of {formats[0]}" if one else f"log rho of {', '.join(formats)}"
    scale = math.exp(log_rho) if one else 1.0
    return Target(name, scale, tuple(tuple(row.tolist()) for row in directions))


def loss_target(
    information: Information, format: str, *, num_params: float, num_tokens: float
) -> Target:
    """The loss, in nats, that the law gives one run."""
    row = information.rows([format], num_params, num_tokens)[0]
    log_rho = float(information.capacity_direction([format])[NUM_LAW:] @ information.log_rho)
    loss = float(information.law.predict(num_params, num_tokens, math.exp(log_rho)))
    name = f"loss of {format} at N={num_params:g}, D={num_tokens:g}"
    return Target(name, loss, (tuple(row.tolist()),))


def plan_runs(
    information: Information,
    candidates: Sequence[Candidate],
    target: Target,
    *,
    target_stderr: float | None,
    budget: float | None,
    criterion: str = "V",
) -> Plan:
    """Choose runs one after the other until the target is met or the budget is spent.

    V: each run lowers the variance of the target most for its cost. D: it raises the determinant
    of the information on all parameters most. A run too many is taken out again at the end. Greedy
    with several weights of the cost; the cheapest plan that meets the target is kept, or the one of
    least standard error if none does.

    Args:
        information: of the runs so far, with a column for every candidate's format.
        candidates: the runs that could be made.
        target: what should become known.
        target_stderr: stop at this standard error; None to spend the budget.
        budget: the most that may be spent; None for no limit.
        criterion: V or D.

    Raises:
        UsageError: no candidates, neither limit, or a limit or cost that is not above zero.
    """
    _check(candidates, target_stderr=target_stderr, budget=budget, criterion=criterion)
    if not math.isfinite(information.variance):
        raise UsageError(
            "the fit has as many parameters as runs, so the noise of a run is not known; give it, "
            "as in noise=0.003 (the standard deviation of log loss between seeds)"
        )
    goal = -math.inf if target_stderr is None else target_stderr
    limit = math.inf if budget is None else budget
    before = target.stderr(information)
    rows = np.concatenate(
        [information.rows([c.format], c.num_params, c.num_tokens) for c in candidates]
    )
    plans = []
    if before > goal:
        for exponent in COST_EXPONENTS:
            chosen = _greedy(
                information, candidates, rows, target, goal, limit, criterion, exponent
            )
            plans.append(_prune(information, candidates, rows, target, goal, chosen))
    else:
        plans.append([])

    def rank(chosen: list[int]) -> tuple[float, float]:
        after = target.stderr(information.add(rows[chosen]))
        cost = sum(candidates[i].cost for i in chosen)
        return (max(after, goal) if target_stderr is not None else after, cost)

    return _plan(
        information, candidates, rows, target, min(plans, key=rank), goal, limit, criterion
    )


def _check(
    candidates: Sequence[Candidate],
    *,
    target_stderr: float | None,
    budget: float | None,
    criterion: str,
) -> None:
    if criterion not in CRITERIA:
        raise UsageError(f"criterion is {criterion!r}; allowed: {', '.join(CRITERIA)}")
    if not candidates:
        raise UsageError("no candidate runs; give sizes and token counts, or a file of candidates")
    if target_stderr is None and budget is None:
        raise UsageError("give target_stderr=0.02, budget_hours=40, or both")
    for name, value in (("target_stderr", target_stderr), ("budget_hours", budget)):
        if value is not None and not (math.isfinite(value) and value > 0):
            raise UsageError(f"{name} is {value!r}; allowed is a finite number above zero, or null")
    for candidate in candidates:
        if not (math.isfinite(candidate.cost) and candidate.cost > 0 and candidate.repeats >= 1):
            raise UsageError(
                f"candidate {candidate.format} N={candidate.num_params:g} "
                f"D={candidate.num_tokens:g} has cost {candidate.cost!r} and "
                f"{candidate.repeats} repeat(s); allowed is a cost above zero and at least 1"
            )


def _prior(information: Information) -> Floats:
    """Diagonal of the prior's information, in the unit of the runs', (p,)."""
    deviation = np.full(len(information.gram), PRIOR_LOG_RHO)
    for column, value in PRIOR.items():
        deviation[column] = value
    center = information.law.predict(
        math.exp(information.mean_log_params), math.exp(information.mean_log_tokens)
    )
    deviation[E] = PRIOR_E_OF_LOSS * float(center)
    return np.where(information.held, 1e12, information.variance / deviation**2)


def _greedy(
    information: Information,
    candidates: Sequence[Candidate],
    rows: Floats,
    target: Target,
    goal: float,
    limit: float,
    criterion: str,
    exponent: float,
) -> list[int]:
    """Indices of candidates in the order chosen."""
    cost = np.array([candidate.cost for candidate in candidates])
    left = np.array([candidate.repeats for candidate in candidates])
    aims = np.array(target.directions)
    inverse = np.linalg.inv(information.gram + np.diag(_prior(information)))
    chosen: list[int] = []
    spent = 0.0
    while len(chosen) < MOST_RUNS:
        open_ = (left > 0) & (spent + cost <= limit * (1 + 1e-12))
        if not open_.any():
            break
        spread = 1.0 + np.einsum("ip,pq,iq->i", rows, inverse, rows)
        if criterion == "V":
            gain = np.square(aims @ inverse @ rows.T).sum(axis=0) / spread
        else:
            gain = np.log(spread)
        pick = int(np.argmax(np.where(open_, gain / cost**exponent, -np.inf)))
        chosen.append(pick)
        left[pick] -= 1
        spent += cost[pick]
        step = inverse @ rows[pick]
        inverse = inverse - np.outer(step, step) / spread[pick]
        if target.stderr(information.add(rows[chosen])) <= goal:
            break
    return chosen


def _prune(
    information: Information,
    candidates: Sequence[Candidate],
    rows: Floats,
    target: Target,
    goal: float,
    chosen: list[int],
) -> list[int]:
    """Take out, the costliest first, every run without which the goal is still met."""
    kept = list(chosen)
    if target.stderr(information.add(rows[kept])) > goal:
        return kept
    for index in sorted(chosen, key=lambda i: -candidates[i].cost):
        rest = list(kept)
        rest.remove(index)
        if target.stderr(information.add(rows[rest])) <= goal:
            kept = rest
    return kept


def _plan(
    information: Information,
    candidates: Sequence[Candidate],
    rows: Floats,
    target: Target,
    chosen: list[int],
    goal: float,
    limit: float,
    criterion: str,
) -> Plan:
    before = target.stderr(information)
    steps, spent, after, now = [], 0.0, before, information
    # Cheapest first: all are needed, and what the cheap ones tell may spare a dear one.
    for index in sorted(chosen, key=lambda i: candidates[i].cost):
        now = now.add(rows[[index]])
        spent += candidates[index].cost
        after = target.stderr(now)
        steps.append(Step(candidates[index], spent, after if math.isfinite(after) else math.nan))
    reached = after <= goal
    least = after
    if not reached and not math.isfinite(limit):  # all candidates together do not do: no plan
        steps, spent, after = [], 0.0, before
    known = f"now {before:.4f}" if math.isfinite(before) else "now not determined"
    message = f"{target.name}: standard error {known}"
    if steps:
        then = f"{after:.4f}" if math.isfinite(after) else "still not determined"
        message += f"; after {len(steps)} run(s) costing {spent:.4g}: {then}"
    if goal > 0:
        message += (
            f", which meets {goal:g}"
            if reached
            else f"; {goal:g} is out of reach with these candidates"
            + (f" and a budget of {limit:g}" if steps else f", all of which give {least:.4f}")
        )
    return Plan(
        target=target.name,
        criterion=criterion,
        before=before if math.isfinite(before) else math.nan,
        after=after if math.isfinite(after) else math.nan,
        cost=spent,
        target_stderr=goal if math.isfinite(goal) else math.nan,
        budget=limit if math.isfinite(limit) else math.nan,
        reached=reached,
        steps=tuple(steps),
        message=message,
    )
