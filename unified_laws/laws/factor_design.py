"""The log-linear model of a factorization: levels, design matrix, and what it determines."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from unified_laws.errors import UsageError
from unified_laws.laws.factor_result import Cell
from unified_laws.laws.loss_law import Floats


@dataclass(frozen=True, eq=False)
class Design:
    """Log-linear model: which columns (levels) each cell has."""

    factors: tuple[str, ...]
    levels: tuple[tuple[str, ...], ...]
    dense: tuple[str, ...]
    anchored: bool

    @property
    def columns(self) -> tuple[tuple[int, str], ...]:
        """(factor, level) of each fitted column."""
        return tuple(
            (k, level)
            for k, own in enumerate(self.levels)
            for level in own
            if level != self.dense[k]
        )

    def rows(self, cells: Sequence[tuple[str, ...]]) -> Floats:
        """Design matrix, (cells, parameters); the last column is log rho(dense) unless anchored."""
        matrix = np.array(
            [[float(cell[k] == level) for k, level in self.columns] for cell in cells]
        ).reshape(len(cells), len(self.columns))
        return matrix if self.anchored else np.column_stack([matrix, np.ones(len(cells))])


def ordered_levels(cells: Sequence[Cell], factor: int, dense: str) -> tuple[str, ...]:
    """Levels of a factor: the uncompressed one, then by name with numbers in their order."""
    found = {cell.levels[factor] for cell in cells} - {dense}
    return (dense, *sorted(found, key=_natural_key))


def _natural_key(text: str) -> tuple[str, float, str]:
    digits = "".join(c for c in text if c.isdigit() or c == ".")
    try:
        number = float(digits)
    except ValueError:
        number = math.inf
    return ("".join(c for c in text if c.isalpha()), number, text)


def invert_information(matrix: Floats, design: Design) -> Floats:
    """(X^T X)^-1, or an error that names the levels which the cells do not determine."""
    _, singular, vectors = np.linalg.svd(matrix, full_matrices=True)
    rank = int((singular > 1e-10 * singular[0]).sum()) if singular.size else 0
    if rank < matrix.shape[1]:
        loose = np.square(vectors[rank:]).sum(axis=0) > 1e-8
        names = [f"{design.factors[k]} {level}" for k, level in design.columns]
        names += [] if design.anchored else ["rho(dense)"]
        free = [name for name, hit in zip(names, loose, strict=True) if hit]
        raise UsageError(
            f"the measured cells do not determine {', '.join(free)}; add a cell that joins them to "
            "the others (best with everything else uncompressed)"
        )
    return np.asarray(np.linalg.inv(matrix.T @ matrix), dtype=np.float64)


def check_cells(
    cells: Sequence[Cell],
    *,
    factors: Sequence[str],
    dense: Sequence[str],
    weights: str,
    tolerance: float,
) -> None:
    """Refuse cells and settings that mean nothing.

    Raises:
        UsageError: what was got and what is allowed.
    """
    if len(factors) < 2 or len(dense) != len(factors) or len(set(factors)) < len(factors):
        raise UsageError(
            f"factors are {list(factors)} with uncompressed levels {list(dense)}; give two or more "
            "different factors and one uncompressed level for each"
        )
    if weights not in ("auto", "stderr", "absolute", "relative"):
        raise UsageError(f"weights is {weights!r}; allowed: auto, stderr, absolute, relative")
    if not (math.isfinite(tolerance) and tolerance > 0):
        raise UsageError(f"tolerance is {tolerance}; allowed is a number above zero, such as 0.05")
    seen: set[tuple[str, ...]] = set()
    for cell in cells:
        name = " ".join(cell.levels)
        if len(cell.levels) != len(factors):
            raise UsageError(f"cell {name!r} has {len(cell.levels)} levels for {list(factors)}")
        if cell.levels in seen:
            raise UsageError(f"cell {name!r} occurs twice; keep one (average replicates first)")
        if not (math.isfinite(cell.rho) and cell.rho > 0):
            raise UsageError(f"cell {name!r} has rho {cell.rho}; allowed is a number above zero")
        if cell.stderr < 0 or math.isinf(cell.stderr):
            raise UsageError(f"cell {name!r} has stderr {cell.stderr}; allowed is at least 0")
        seen.add(cell.levels)
    compressed = [c for c in cells if c.levels != tuple(dense)]
    if not compressed:
        raise UsageError("there is no compressed cell; give capacities of compressed formats")
