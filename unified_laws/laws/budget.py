"""The formats that reach the least loss under a budget, the number of parameters being free."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq

from unified_laws.errors import UsageError
from unified_laws.laws.capacity_source import CapacitySource
from unified_laws.laws.cost import FLOPS_PER_PARAMETER_AND_TOKEN, FormatBits
from unified_laws.laws.information import Information
from unified_laws.laws.loss_law import LossLaw
from unified_laws.laws.prediction import Prediction, predict_loss
from unified_laws.laws.result import LawsResult

Cost = Callable[[FormatBits, float, float], float]
# Budgets of the curves: this many, over this factor below the budget.
CURVE_POINTS, CURVE_SPAN = 60, 1e2
SMALLEST_PARAMS, LARGEST_PARAMS = 1.0, 1e18
DRAWS = 20_000


@dataclass(frozen=True)
class Tokens:
    """How many tokens a model of N parameters sees: one of three rules.

    Attributes:
        fixed: the same D for all, or None.
        per_param: D = per_param · N, or None.
        Both None: the D of least loss under a budget of training FLOPs.
    """

    fixed: float | None = None
    per_param: float | None = None

    def __post_init__(self) -> None:
        given = [value for value in (self.fixed, self.per_param) if value is not None]
        if len(given) > 1 or not all(math.isfinite(v) and v > 0 for v in given):
            raise UsageError(
                f"num_tokens is {self.fixed} and tokens_per_param {self.per_param}; allowed is one "
                "of them, a finite number above zero, or neither (compute-optimal)"
            )

    @property
    def optimal(self) -> bool:
        """Whether D is chosen by least loss."""
        return self.fixed is None and self.per_param is None

    def of(self, num_params: float) -> float:
        """D of a model of ``num_params``."""
        if self.fixed is not None:
            return self.fixed
        assert self.per_param is not None
        return self.per_param * num_params


@dataclass(frozen=True)
class Offer:
    """The best that a format gives for a budget.

    Attributes:
        prediction: at the N and D that the budget allows.
        bits_per_weight: stored bits.
        cost: what is spent, at most the budget.
        share_best: share of draws of law and capacities in which this format has the least loss;
            NaN if the runs do not tell.
        best_from: least of the scanned budgets at which no format has less loss; NaN if none.
        best_to: the largest such budget.
        losses: loss at each of the scanned budgets.
    """

    prediction: Prediction
    bits_per_weight: float
    cost: float
    share_best: float
    best_from: float
    best_to: float
    losses: tuple[float, ...]

    @property
    def on_front(self) -> bool:
        """Whether it has the least loss of all at some scanned budget."""
        return math.isfinite(self.best_from)


@dataclass(frozen=True)
class BudgetResult:
    """Formats by their loss under a budget.

    Attributes:
        cost: what is limited, in words.
        budget: the limit.
        tokens: how many tokens a model sees, in words.
        budgets: those scanned for the front, up to the limit.
        offers: one per format, by rising loss at the budget.
        warnings: what cannot be trusted.
    """

    cost: str
    budget: float
    tokens: str
    budgets: tuple[float, ...]
    offers: tuple[Offer, ...]
    warnings: tuple[str, ...]

    def summary(self) -> str:
        """A table, the best first; a star marks the Pareto front."""
        width = max(6, *(len(offer.prediction.format) for offer in self.offers))
        lines = [
            f"least loss for {self.cost} of {self.budget:g}, {self.tokens}; * is on the front",
            f"  {'format':<{width}}  {'N':>9}  {'D':>9}  {'cost':>9}    loss   95 % interval    "
            f"{'rho':>6} source    best in",
        ]
        for offer in self.offers:
            p = offer.prediction
            where = f"{offer.best_from:.2g} to {offer.best_to:.2g}" if offer.on_front else ""
            lines.append(
                f"{'*' if offer.on_front else ' '} {p.format:<{width}}  {p.num_params:9.3g}  "
                f"{p.num_tokens:9.3g}  {offer.cost:9.3g}  {p.val_loss:6.4f} "
                f"[{p.low:.4f}, {p.high:.4f}]  {p.rho:6.3f} {p.source:<8}  {where}".rstrip()
            )
        first = self.offers[0]
        if math.isfinite(first.share_best):
            shares = ", ".join(
                f"{offer.prediction.format} {100 * offer.share_best:.0f} %"
                for offer in self.offers
                if offer.share_best >= 0.005
            )
            lines.append(f"chance to be the best at the budget: {shares}")
        return "\n".join([*lines, *(f"warning: {text}" for text in self.warnings)])


def best_formats(
    laws: LawsResult,
    information: Information,
    formats: Sequence[tuple[CapacitySource, FormatBits]],
    *,
    cost: Cost,
    cost_name: str,
    budget: float,
    tokens: Tokens,
    flop_share: Callable[[FormatBits], float] | None = None,
    max_params: float | None = None,
) -> BudgetResult:
    """Give every format the largest model that the budget allows and compare the losses.

    Args:
        laws: the fit.
        information: of the fit.
        formats: capacity and bits of each.
        cost: of (bits, N, D); rises with N.
        cost_name: in words.
        budget: in the unit of ``cost``.
        tokens: how many tokens a model sees.
        flop_share: relative cost of a FLOP of a format; only with compute-optimal ``tokens``, whose
            cost is 6 N D times it.
        max_params: the largest N allowed, None for any.

    Raises:
        UsageError: no formats, a limit that is no finite number above zero, compute-optimal tokens
            for another cost than FLOPs, or a budget below the smallest model.
    """
    if not formats:
        raise UsageError("no formats to compare; give formats=[int4,sparse50] or run some")
    if not (math.isfinite(budget) and budget > 0):
        raise UsageError(f"budget is {budget!r}; allowed is a finite number above zero")
    if max_params is not None and not (math.isfinite(max_params) and max_params >= 1):
        raise UsageError(
            f"max_params is {max_params!r}; allowed is a finite number from 1, or null"
        )
    if tokens.optimal and flop_share is None:
        raise UsageError(
            f"with a budget of {cost_name} the number of tokens must be given: num_tokens=6e10 or "
            "tokens_per_param=100; only training_flops has an optimum"
        )
    largest = LARGEST_PARAMS if max_params is None else max_params

    def spend(capacity: CapacitySource, bits: FormatBits, limit: float) -> tuple[float, float]:
        if tokens.optimal:
            assert flop_share is not None
            share = FLOPS_PER_PARAMETER_AND_TOKEN * flop_share(bits)
            N = min(optimal_params(laws.law, limit / share, capacity.rho), largest)
            return N, limit / (share * N)
        N = largest_params(lambda n: cost(bits, n, tokens.of(n)), limit, largest)
        return N, tokens.of(N)

    budgets = np.geomspace(budget / CURVE_SPAN, budget, CURVE_POINTS)
    curves = np.full((len(formats), CURVE_POINTS), math.nan)
    predictions = []
    for row, (capacity, bits) in enumerate(formats):
        for column, limit in enumerate(budgets):
            N, D = spend(capacity, bits, float(limit))
            if N >= SMALLEST_PARAMS and D >= 1.0:
                curves[row, column] = laws.law.predict(N, D, capacity.rho)
        if not math.isfinite(N):
            raise UsageError(
                f"a budget of {budget:g} {cost_name} buys no parameter of {bits.format}; raise it"
            )
        predictions.append(predict_loss(laws, information, capacity, num_params=N, num_tokens=D))
    shares = _shares(laws, information, [capacity for capacity, _ in formats], predictions)
    lowest = np.nanmin(np.where(np.isnan(curves), np.inf, curves), axis=0)
    offers = []
    for row, prediction in enumerate(predictions):
        best = budgets[curves[row] <= lowest]
        offers.append(
            Offer(
                prediction=prediction,
                bits_per_weight=formats[row][1].bits_per_weight,
                cost=cost(formats[row][1], prediction.num_params, prediction.num_tokens),
                share_best=shares[row],
                best_from=float(best.min()) if len(best) else math.nan,
                best_to=float(best.max()) if len(best) else math.nan,
                losses=tuple(curves[row].tolist()),
            )
        )
    offers.sort(key=lambda offer: (offer.prediction.val_loss, offer.prediction.format))
    return BudgetResult(
        cost=cost_name,
        budget=float(budget),
        tokens=_words(tokens),
        budgets=tuple(budgets.tolist()),
        offers=tuple(offers),
        warnings=tuple(dict.fromkeys(text for p in predictions for text in _own(p))),
    )


def largest_params(cost: Callable[[float], float], limit: float, largest: float) -> float:
    """The N at which a rising ``cost`` reaches ``limit``, at most ``largest``; NaN if below 1."""
    if cost(SMALLEST_PARAMS) > limit:
        return math.nan
    if cost(largest) <= limit:
        return largest
    low, high = math.log(SMALLEST_PARAMS), math.log(largest)
    return math.exp(brentq(lambda x: math.log(cost(math.exp(x)) / limit), low, high, xtol=1e-12))


def optimal_params(law: LossLaw, product: float, rho: float) -> float:
    """N of least loss at capacity rho where N · D = ``product``.

    ``N^(alpha + beta) = alpha A rho^-alpha product^beta / (beta B)``: the derivative of eq. 1 of
    arXiv:2506.01863 set to zero, as in arXiv:2203.15556, eq. 4.
    """
    log_params = (
        math.log(law.alpha / law.beta)
        + law.log_A
        - law.log_B
        - law.alpha * math.log(rho)
        + law.beta * math.log(product)
    ) / (law.alpha + law.beta)
    return math.exp(min(max(log_params, 0.0), math.log(LARGEST_PARAMS)))


def _shares(
    laws: LawsResult,
    information: Information,
    capacities: Sequence[CapacitySource],
    predictions: Sequence[Prediction],
) -> list[float]:
    """How often each prediction is the least over draws of everything that is uncertain."""
    rows, own = [], []
    for capacity, p in zip(capacities, predictions, strict=True):
        direction = capacity.direction(information)
        gradient = information.gradient(p.num_params, p.num_tokens, math.log(p.rho), direction)[0]
        rows.append(gradient / p.val_loss)
        slope = float(laws.law.gradient(p.num_params, p.num_tokens, p.rho)[5]) / p.val_loss
        own.append(slope * capacity.stderr_log)
    covariance = information.covariance_of(np.array(rows))
    if not np.isfinite(covariance).all():
        return [math.nan] * len(predictions)
    generator = np.random.default_rng(0)
    values, vectors = np.linalg.eigh(covariance)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    shape = (DRAWS, len(predictions))
    losses = np.log([p.val_loss for p in predictions]) + generator.standard_normal(shape) @ root.T
    losses += np.array(own) * generator.standard_normal(shape)
    counts = np.bincount(losses.argmin(axis=1), minlength=len(predictions))
    return [float(count) / DRAWS for count in counts]


def _words(tokens: Tokens) -> str:
    if tokens.fixed is not None:
        return f"D = {tokens.fixed:g} tokens"
    if tokens.per_param is not None:
        return f"D = {tokens.per_param:g} N"
    return "D of least loss"


def _own(prediction: Prediction) -> list[str]:
    """Warnings with the format in front of what concerns it alone."""
    return [
        f"{prediction.format}: {text}" if "extrapolates" in text else text
        for text in prediction.warnings
    ]
