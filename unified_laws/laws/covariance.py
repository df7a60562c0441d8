"""Joint uncertainty of the law and every capacity: what a prediction must carry along."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from unified_laws.errors import UsageError
from unified_laws.laws.loss_law import Floats

LAW_NAMES = ("log A", "log B", "E", "alpha", "beta")
LOG_RHO = "log rho of "


@dataclass(frozen=True)
class ParameterCovariance:
    """Covariance of log A, log B, E, alpha, beta and log rho of each compressed format.

    log A and log B belong to N and D in the units of the table; E is in nats. The dense format has
    no entry, its log rho is 0 by definition.

    Attributes:
        names: ``"log A", "log B", "E", "alpha", "beta"``, then ``"log rho of <format>"``.
        matrix: rows in the order of ``names``; zero for parameters that were held or sit at a
            bound; an infinite diagonal where the runs carry no information; NaN throughout where
            the noise could not be estimated.
    """

    names: tuple[str, ...]
    matrix: tuple[tuple[float, ...], ...]

    @classmethod
    def of(cls, formats: Sequence[str], matrix: ArrayLike) -> ParameterCovariance:
        """From the compressed formats in order and a (5 + F, 5 + F) array."""
        values = np.asarray(matrix, dtype=np.float64)
        names = (*LAW_NAMES, *(LOG_RHO + name for name in formats))
        if values.shape != (len(names), len(names)):
            raise ValueError(f"{len(names)} parameters need a square matrix, got {values.shape}")
        return cls(names, tuple(tuple(row) for row in values.tolist()))

    @classmethod
    def unknown(cls, formats: Sequence[str]) -> ParameterCovariance:
        """NaN throughout: the noise, or the covariance itself, is not known."""
        size = len(LAW_NAMES) + len(formats)
        return cls.of(formats, np.full((size, size), math.nan))

    @property
    def known(self) -> bool:
        """False where every entry is NaN."""
        return not all(math.isnan(value) for row in self.matrix for value in row)

    def array(self) -> Floats:
        """The matrix as an array, (p, p)."""
        return np.array(self.matrix, dtype=np.float64).reshape(len(self.names), len(self.names))

    def for_format(self, name: str, *, dense: str) -> Floats:
        """Covariance of (log A, log B, E, alpha, beta, log rho of ``name``), (6, 6).

        Raises:
            UsageError: the fit has no such format.
        """
        own = np.arange(len(LAW_NAMES))
        full = self.array()
        result = np.zeros((len(own) + 1, len(own) + 1))
        if name == dense:
            result[:-1, :-1] = full[np.ix_(own, own)]
            return result
        if LOG_RHO + name not in self.names:
            known = ", ".join(n.removeprefix(LOG_RHO) for n in self.names[len(own) :])
            raise UsageError(f"the covariance has no format {name!r}; it has {dense}, {known}")
        own = np.append(own, self.names.index(LOG_RHO + name))
        result[:] = full[np.ix_(own, own)]
        return result

    def correlation(self) -> Floats:
        """Correlation matrix, (p, p); NaN beside a parameter of zero or infinite variance."""
        full = self.array()
        variance = np.diag(full)
        usable = np.isfinite(variance) & (variance > 0)
        size = np.sqrt(np.where(usable, variance, np.nan))
        result: Floats = full / np.outer(size, size)
        np.fill_diagonal(result, np.where(usable, 1.0, np.nan))
        return result

    def to_json(self) -> dict[str, Any] | None:
        """JSON value: null if unknown, else null in the matrix for what is not finite."""
        if not self.known:
            return None
        rows = [[value if math.isfinite(value) else None for value in row] for row in self.matrix]
        return {"names": list(self.names), "matrix": rows}

    @classmethod
    def from_json(
        cls, content: Mapping[str, Any] | None, formats: Sequence[str]
    ) -> ParameterCovariance:
        """Inverse of `to_json`; ``formats`` are the compressed ones, for a null.

        On the diagonal null becomes infinity, elsewhere NaN.
        """
        if content is None:
            return cls.unknown(formats)
        rows = [
            tuple(
                (math.inf if i == j else math.nan) if value is None else float(value)
                for j, value in enumerate(row)
            )
            for i, row in enumerate(content["matrix"])
        ]
        names = tuple(content["names"])
        if {len(names)} != {len(rows), *(len(row) for row in rows)}:
            raise ValueError(f"the covariance of {len(names)} parameters is not square")
        return cls(names, tuple(rows))


def quadratic_form(gradient: ArrayLike, covariance: ArrayLike) -> float:
    """``g^T C g`` where an infinite variance counts only if the gradient touches it.

    Args:
        gradient: derivatives of a prediction, (k,).
        covariance: of the same parameters, (k, k).
    """
    slope = np.asarray(gradient, dtype=np.float64)
    matrix = np.asarray(covariance, dtype=np.float64)
    touched = slope != 0.0
    own = matrix[np.ix_(touched, touched)]
    if np.isinf(np.diag(own)).any():
        return math.inf
    return float(slope[touched] @ own @ slope[touched])
