"""What a factorization says: factors, cells against them, and whether they multiply."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Cell:
    """A measured capacity.

    Attributes:
        levels: one per factor, in the order of the factors.
        rho: capacity.
        stderr: its standard error, NaN if unknown.
    """

    levels: tuple[str, ...]
    rho: float
    stderr: float = math.nan


@dataclass(frozen=True)
class Level:
    """The factor of one level: its capacity with everything else uncompressed.

    Attributes:
        factor: which factor it belongs to.
        level: label.
        rho: capacity of the level; 1 for an anchored uncompressed level.
        low: lower end of the 95 % interval.
        high: upper end.
        stderr: standard error of rho.
        cells: number of measured cells behind it.
        fails: the product misses cells of this level by more than the tolerance and their noise.
    """

    factor: str
    level: str
    rho: float
    low: float
    high: float
    stderr: float
    cells: int
    fails: bool


@dataclass(frozen=True)
class CellFit:
    """One combination of levels; NaN where a number is not known.

    Attributes:
        levels: one per factor.
        rho: measured, NaN if it was not.
        stderr: its standard error.
        product: rho of each level alone, multiplied: the cells with all other factors
            uncompressed, over rho(dense) to the power of (factors - 1).
        product_error: rho - product.
        fitted: of the rank-1 fit; for a cell that was not measured and of which no level fails, of
            the fit without the mixed cells of failing levels.
        low: lower end of the fit's 95 % interval.
        high: upper end.
        error: rho - fitted.
        left_out_error: rho - what the fit says without this cell; NaN if nothing else says it.
        needed: it has to be run. A measured cell of one compressed operand is the base of products;
            one of several is needed if the product (or, where its base is missing, the fit without
            it) misses it by more than the tolerance. An unmeasured one is needed if the interval
            reaches further than the tolerance, or the product fails at one of its levels.
    """

    levels: tuple[str, ...]
    rho: float
    stderr: float
    product: float
    product_error: float
    fitted: float
    low: float
    high: float
    error: float
    left_out_error: float
    needed: bool


@dataclass(frozen=True)
class Multiplicativity:
    """A test of rho = product of factors.

    Attributes:
        kind: "chi2" (known standard errors), "tukey" (one degree of freedom for a product term
            left in the residuals, an F test; Tukey, Biometrics 5:232, 1949), or "none".
        statistic: chi-squared or F.
        degrees_of_freedom: cells minus parameters (of the denominator for F).
        p_value: chance of a statistic this large if the factors multiply.
    """

    kind: str
    statistic: float
    degrees_of_freedom: int
    p_value: float


@dataclass(frozen=True)
class Factorization:
    """Factors, every cell against them, and whether they multiply.

    Attributes:
        factors: names.
        dense: uncompressed level of each factor.
        anchored: rho of the uncompressed cell is 1 and not fitted.
        scale: rho of the uncompressed cell (1 if anchored).
        levels: of every factor, in its order.
        cells: all combinations of levels, the first factor slowest.
        test: of multiplicativity.
        tolerance: largest error of rho that is accepted.
        largest_product_error: of the measured cells with two or more compressed operands.
        largest_error: of the rank-1 fit over all measured cells.
        rmse: root mean square error of the rank-1 fit, in rho.
        weights: "stderr", "absolute" or "relative": what the weights of the fit mean.
        warnings: what cannot be trusted, in plain words.
    """

    factors: tuple[str, ...]
    dense: tuple[str, ...]
    anchored: bool
    scale: float
    levels: tuple[Level, ...]
    cells: tuple[CellFit, ...]
    test: Multiplicativity
    tolerance: float
    largest_product_error: float
    largest_error: float
    rmse: float
    weights: str
    warnings: tuple[str, ...]

    def levels_of(self, factor: str) -> tuple[Level, ...]:
        """The levels of one factor."""
        return tuple(entry for entry in self.levels if entry.factor == factor)

    def summary(self) -> str:
        """Factors, errors, the test, failures and what need not be run."""
        lines = []
        for factor in self.factors:
            lines.append(f"{factor}:")
            lines += [
                f"  {e.level:<14} {e.rho:6.3f}  [{e.low:6.3f}, {e.high:6.3f}]"
                + ("  the product fails here" if e.fails else "")
                for e in self.levels_of(factor)
            ]
        lines.append(
            f"largest error: {self.largest_product_error:.3f} of the product of uncompressed "
            f"cells, {self.largest_error:.3f} of the rank-1 fit (rmse {self.rmse:.4f}); "
            f"tolerance {self.tolerance:g}"
        )
        test = self.test
        if test.kind == "none":
            lines.append("no test of multiplicativity: too few cells")
        else:
            name = f"chi2({test.degrees_of_freedom})"
            if test.kind == "tukey":
                name = f"Tukey's F(1, {test.degrees_of_freedom})"
            lines.append(f"multiplicative? {name} = {test.statistic:.3g}, p = {test.p_value:.3g}")
        mixed = [
            cell
            for cell in self.cells
            if sum(v != d for v, d in zip(cell.levels, self.dense, strict=True)) > 1
        ]
        run = [cell for cell in mixed if math.isfinite(cell.rho)]
        needed = [" ".join(cell.levels) for cell in run if cell.needed]
        lines.append(
            f"{len(run) - len(needed)} of {len(run)} mixed cells need not have been run"
            + (f"; needed were {', '.join(needed)}" if needed else "")
        )
        for want, text in ((False, "need not be run"), (True, "to be run")):
            names = [
                f"{' '.join(cell.levels)} ({cell.fitted:.3f})"
                for cell in self.cells
                if cell.needed == want and not math.isfinite(cell.rho) and cell.levels != self.dense
            ]
            if names:
                lines.append(f"{text}: {', '.join(names)}")
        lines += [f"warning: {text}" for text in self.warnings]
        return "\n".join(lines)
