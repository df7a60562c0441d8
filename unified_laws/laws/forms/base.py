"""What a loss law is: named parameters, and a sum of terms with their derivatives."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from unified_laws.laws.forms.observations import Observations
from unified_laws.laws.loss_law import Floats

# Bounds in internal units (N and D relative to their geometric means): coefficients in units of the
# smallest loss, exponents and capacities as in laws/estimate.py.
SMALLEST_TERM, LARGEST_TERM, TERM_STARTS = 1e-6, 1e3, (0.05, 0.95)
EXPONENTS, EXPONENT_STARTS = (1e-4, 4.0), (0.03, 1.2)
CAPACITIES, CAPACITY_STARTS = (1e-4, 1e3), (0.1, 1.0)


@dataclass(frozen=True)
class Parameter:
    """One constant of a law, or one per format.

    Attributes:
        name: the source's symbol.
        low: lower bound of the value in internal units; of a coefficient in units of the smallest
            loss.
        high: upper bound.
        starts: range that starting values are drawn from (not a bound); spread logarithmically
            where both ends are above zero.
        logarithmic: the optimiser moves the logarithm.
        coefficient: it multiplies a whole term, so that starts solve for it.
        group: "" for one value, "compressed" for one per compressed format, "label" for one per
            format.
        scale: for a coefficient, ``(exponent, "N" or "D", sign)`` for every ``N^(-sign exponent)``
            that it multiplies: how it changes with the unit of N and D.
    """

    name: str
    low: float
    high: float
    starts: tuple[float, float]
    logarithmic: bool = True
    coefficient: bool = False
    group: str = ""
    scale: tuple[tuple[str, str, int], ...] = ()


def coefficient(
    name: str, *scale: tuple[str, str, int], group: str = "", high: float = LARGEST_TERM
) -> Parameter:
    """A factor of a whole term of the loss, solved for at the starts."""
    return Parameter(name, SMALLEST_TERM, high, TERM_STARTS, True, True, group, scale)


def exponent(
    name: str,
    limits: tuple[float, float] = EXPONENTS,
    starts: tuple[float, float] = EXPONENT_STARTS,
    group: str = "",
) -> Parameter:
    """An exponent, on its own scale."""
    return Parameter(name, *limits, starts, logarithmic=False, group=group)


def capacity(name: str) -> Parameter:
    """A multiplier of N or D per compressed format; 1 for the dense one."""
    return Parameter(name, *CAPACITIES, CAPACITY_STARTS, group="compressed")


PARAMS = coefficient("A", ("alpha", "N", 1))
TOKENS = coefficient("B", ("beta", "D", 1))
# Irreducible loss: below every measured loss.
IRREDUCIBLE = coefficient("E", high=1.0)


Slopes = Mapping[str, Floats | float]


@dataclass(frozen=True, eq=False)
class Term:
    """One term of the loss at S parameter vectors and n runs.

    Attributes:
        coefficient: the parameter that multiplies it.
        log: its natural logarithm, (S, n); ``-inf`` where a run does not have it.
        slopes: parameter -> derivative of ``log`` with respect to that parameter (its logarithm if
            it is logarithmic; that of the run's own format if it has one per format),
            broadcastable to (S, n).
    """

    coefficient: str
    log: Floats
    slopes: Slopes


@dataclass(frozen=True, eq=False)
class Values:
    """Parameters by name at S vectors.

    Attributes:
        theta: (S, p).
        runs: the n runs.
        layout: parameter -> where it lies in ``theta``.
    """

    theta: Floats
    runs: Observations
    layout: Mapping[str, tuple[Parameter, slice]] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Floats:
        """The parameter (its logarithm if logarithmic), (S, 1), or (S, n) if one per format.

        A parameter of the compressed formats is 0 for dense runs.
        """
        parameter, where = self.layout[name]
        if not parameter.group:
            return self.theta[:, where]
        found: Floats = self.theta[:, where] @ self.runs.one_hot(parameter.group).T
        return found


class LawForm(ABC):
    """A functional form of the loss: ``L = sum of positive terms``.

    Attributes:
        name: word on the command line.
        formula: the law as text.
        source: arXiv number and equation.
        needs: covariates without which the law says nothing.
    """

    name: str
    formula: str
    source: str
    needs: tuple[str, ...] = ()

    @abstractmethod
    def parameters(self, runs: Observations) -> tuple[Parameter, ...]:
        """The constants of the law for these runs, in the order of a parameter vector."""

    @abstractmethod
    def terms(self, values: Values, runs: Observations) -> tuple[Term, ...]:
        """The terms whose sum is the loss, in nats."""

    def refusal(self, runs: Observations) -> str:
        """Why the law cannot be fitted to these runs, in words; empty if it can."""
        for name in self.needs:
            missing = runs.unknown(name)
            if missing == int((~runs.is_dense).sum()):
                return f"no compressed run says its {name}; give columns={{{name}: <its name>}}"
            if missing:
                return f"{missing} compressed run(s) do not say their {name}"
        grouped = any(p.group == "compressed" for p in self.parameters(runs))
        if grouped and not runs.formats:
            return "the runs have no compressed format"
        return ""

    def layout(self, runs: Observations) -> dict[str, tuple[Parameter, slice]]:
        """Where each parameter lies in a parameter vector."""
        found, at = {}, 0
        for parameter in self.parameters(runs):
            width = len(runs.members(parameter.group)) if parameter.group else 1
            found[parameter.name] = (parameter, slice(at, at + width))
            at += width
        return found

    def names(self, runs: Observations) -> tuple[str, ...]:
        """Name of every entry of a parameter vector, such as alpha or rho[int4]."""
        return tuple(
            f"{parameter.name}[{member}]" if member else parameter.name
            for parameter in self.parameters(runs)
            for member in (runs.members(parameter.group) if parameter.group else ("",))
        )

    def _shares(
        self, theta: Floats, runs: Observations
    ) -> tuple[Floats, list[tuple[Term, Floats]]]:
        """Log loss (S, n) and each term with its share of the loss."""
        terms = self.terms(Values(theta, runs, self.layout(runs)), runs)
        shape = (len(theta), len(runs))
        logs = np.stack([np.broadcast_to(term.log, shape) for term in terms])
        peak = logs.max(axis=0)
        parts = np.exp(logs - peak)
        total = parts.sum(axis=0)
        return peak + np.log(total), list(zip(terms, parts / total, strict=True))

    def log_loss(self, theta: Floats, runs: Observations) -> Floats:
        """Natural log of the predicted loss at S parameter vectors, (S, n)."""
        return self._shares(theta, runs)[0]

    def gradient(self, theta: Floats, runs: Observations) -> tuple[Floats, Floats]:
        """Log loss (S, n) and its derivative with respect to every parameter, (S, n, p)."""
        log_loss, shares = self._shares(theta, runs)
        result = np.zeros((*log_loss.shape, theta.shape[1]))
        for name, (parameter, where) in self.layout(runs).items():
            slope = np.zeros(log_loss.shape)
            for term, share in shares:
                if name in term.slopes:
                    slope += share * term.slopes[name]
            if parameter.group:
                result[:, :, where] = slope[:, :, None] * runs.one_hot(parameter.group)
            else:
                result[:, :, where.start] = slope
        return log_loss, result

    def prepare(self, theta: Floats, runs: Observations) -> Floats:
        """Starting vectors with their coefficients solved for, (S, p); see starts.py."""
        from unified_laws.laws.forms.starts import solve_coefficients

        return solve_coefficients(self, theta, runs)


def power(values: Values, name: str, power_of: str, log_size: Floats) -> Term:
    """The term ``name * size^-power_of``."""
    log = values[name] - values[power_of] * log_size
    return Term(name, log, {name: 1.0, power_of: -log_size})


def constant(values: Values, name: str = "E") -> Term:
    """The term that is the same for every run."""
    return Term(name, values[name], {name: 1.0})
