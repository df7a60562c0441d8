"""Everything that is asked of capacity curves at once: forms, types, laws and input densities."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import kendalltau

from unified_laws.errors import UsageError
from unified_laws.laws.bootstrap import Progress
from unified_laws.laws.curve_fit import CurveFit, fit_curve
from unified_laws.laws.curve_forms import FORMS, FREE
from unified_laws.laws.curve_law import CurveLawFit, fit_curve_law
from unified_laws.laws.curve_points import SHARED, CurvePoint, Unplaced, operand_errors
from unified_laws.laws.table import RunTable

# A parameter with a larger relative standard deviation is called not identified.
LARGEST_RELATIVE_SD = 0.5
SPARSITY, QUANTIZATION = "sparsity", "quantization"


@dataclass(frozen=True)
class LawError:
    """A row of the paper's Table 1 for one group of formats.

    Attributes:
        group: "sparsity", "quantization" or "all".
        form: how the law gets its capacities; "free" is one rho per format.
        rmse: of the loss, nats per token.
        rmse_log: of log loss.
        objective: sum of Huber losses.
        num_runs: runs fitted.
        num_free: parameters fitted.
    """

    group: str
    form: str
    rmse: float
    rmse_log: float
    objective: float
    num_runs: int
    num_free: int


@dataclass(frozen=True)
class LawConstants:
    """A row of the paper's Table 3: the combined law with a tanh curve, for one type."""

    type: str
    fit: CurveLawFit


@dataclass(frozen=True)
class SourceError:
    """How well the error on one input density explains capacity (arXiv:2506.01863 App. D.1).

    Attributes:
        source: the density.
        rmse: root mean square error of rho of tanh curves, one per type.
        shared_rmse: the same of one curve for all types.
        law_rmse_log: of log loss of the combined law, NaN without runs.
        order: Kendall's tau between error and rho over formats of one compressed operand; -1 is the
            strictly falling relation that the paper asks for.
        spread: largest over smallest error; the paper prefers the widest.
    """

    source: str
    rmse: float
    shared_rmse: float
    law_rmse_log: float
    order: float
    spread: float


@dataclass(frozen=True)
class CurveReport:
    """Curves, laws and what could not be placed.

    Attributes:
        points: what was fitted, with errors on the first density.
        fits: every form, for every type with enough formats and for all together.
        law_errors: Table 1.
        law_constants: Table 3.
        sources: one per input density.
        unplaced: formats on no curve.
        warnings: in plain words.
    """

    points: tuple[CurvePoint, ...]
    fits: tuple[CurveFit, ...]
    law_errors: tuple[LawError, ...]
    law_constants: tuple[LawConstants, ...]
    sources: tuple[SourceError, ...]
    unplaced: tuple[Unplaced, ...]
    warnings: tuple[str, ...]

    def fit(self, type: str, form: str = "tanh") -> CurveFit:
        """The curve of a type.

        Raises:
            UsageError: there is none.
        """
        for entry in self.fits:
            if (entry.type, entry.form) == (type, form):
                return entry
        have = ", ".join(dict.fromkeys(entry.type for entry in self.fits))
        raise UsageError(f"there is no {form} curve of {type!r}; there are curves of {have}")

    def summary(self) -> str:
        """Readable tables."""
        lines = [entry.summary() for entry in self.fits]
        if self.law_errors:
            lines += ["", *_error_table(self.law_errors)]
        if self.law_constants:
            lines += ["", *_constant_table(self.law_constants)]
        if len(self.sources) > 1:
            lines += ["", "input density   rmse by type   one curve   log loss    order   spread"]
            lines += [
                f"{e.source:<14}  {e.rmse:12.4f}  {e.shared_rmse:10.4f}  {_number(e.law_rmse_log)}"
                f"  {e.order:7.3f}  {e.spread:7.1f}"
                for e in self.sources
            ]
        lines += [f"on no curve: {entry.format} ({entry.reason})" for entry in self.unplaced]
        lines += [f"warning: {text}" for text in self.warnings]
        return "\n".join(lines)


def _number(value: float) -> str:
    return f"{value:8.2e}" if math.isfinite(value) else "     n/a"


def _error_table(errors: Sequence[LawError]) -> list[str]:
    """Table 1: rows are forms, columns sparsity | quantization | all."""
    groups = [g for g in (SPARSITY, QUANTIZATION, SHARED) if any(e.group == g for e in errors)]
    known = {(e.group, e.form): e for e in errors}
    lines = ["errors of the combined law: rmse of the loss in nats (Huber objective)"]
    lines.append("law           " + "".join(f"{group:>22}" for group in groups))
    for form in dict.fromkeys(e.form for e in errors):
        cells = [known.get((group, form)) for group in groups]
        text = [f"{c.rmse:.2e} ({c.objective:.2e})" if c else "n/a" for c in cells]
        lines.append(f"{form:<14}" + "".join(f"{t:>22}" for t in text))
    return lines


def _constant_table(rows: Sequence[LawConstants]) -> list[str]:
    """Table 3: alpha, beta, E, L, F, C with one standard deviation of the bootstrap."""
    names = ("alpha", "beta", "E", "L", "F", "C")
    lines = ["constants of the combined law, ± one sd of the bootstrap (! at a bound)"]
    lines.append(f"{'type':<18}" + "".join(f"{name:>19}" for name in names))
    for row in rows:
        values = {p.name.partition(" of ")[0]: p for p in row.fit.parameters}
        text = [
            f"{values[n].value:.3g}" + (" (held)" if values[n].held else f" ± {values[n].sd:.2g}")
            for n in names
        ]
        lines.append(f"{row.type:<18}" + "".join(f"{cell:>19}" for cell in text))
    return lines


def group_of(type: str) -> str:
    """Sparsity or quantization of a type, or mixed."""
    if SPARSITY not in type:
        return QUANTIZATION
    kinds = {part.strip().rpartition(" ")[0] for part in type.split(",")}
    return SPARSITY if kinds == {SPARSITY} else "mixed"


def report_curves(
    points_by_source: Mapping[str, Sequence[CurvePoint]],
    *,
    table: RunTable | None,
    dense: str,
    delta: float,
    free: Sequence[str] = ("L",),
    starts: int = 4,
    bootstrap: int = 0,
    seed: int = 0,
    unplaced: Sequence[Unplaced] = (),
    progress: Progress | None = None,
) -> CurveReport:
    """Fit what the arguments allow.

    Args:
        points_by_source: input density -> the formats with their errors on it; the first is the
            one that the curves are for.
        table: the runs for the combined laws; None leaves them out.
        dense: label of the uncompressed format.
        delta: Huber threshold on log loss for the combined laws.
        free: parameters of tanh that are fitted where a type has formats enough.
        starts: descents per combined law.
        bootstrap: resamples behind intervals of curves and standard deviations of constants.
        seed: of both.
        unplaced: formats that are already known to be on no curve.
        progress: called with (steps done, steps in all).

    Raises:
        UsageError: no type has two formats.
    """
    sources = {name: tuple(points) for name, points in points_by_source.items()}
    main = next(iter(sources.values()))
    placed, gone = _enough(main)
    if not placed:
        raise UsageError(
            f"{len(main)} compressed format(s) with known GMSE and rho, and no kind of compression "
            "with two: no curve; add formats, or say types={label: kind} for labels of your own"
        )
    types = tuple(dict.fromkeys(point.type for point in placed))
    groups = [g for g in (SPARSITY, QUANTIZATION) if any(group_of(t) == g for t in types)]
    if len(groups) != 1 or any(group_of(t) != groups[0] for t in types):
        groups.append(SHARED)
    steps = len(types) + (len(groups) * (1 + len(FORMS)) + len(types) if table else 0)
    steps += len(sources)
    done = 0

    def tick() -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(done, steps)

    fits = []
    for kind in (*types, SHARED):
        own = placed if kind == SHARED else [p for p in placed if p.type == kind]
        if kind == SHARED and len(types) == 1:
            break
        for form in FORMS:
            fits.append(fit_curve(own, form=form, type=kind, bootstrap=bootstrap, seed=seed))
        tick()
    errors: list[LawError] = []
    constants: list[LawConstants] = []
    if table is not None:
        for group in groups:
            own = [p for p in placed if group in (SHARED, group_of(p.type))]
            for form in (FREE, *FORMS):
                found = fit_curve_law(
                    table, own, form=form, dense=dense, delta=delta, starts=starts, seed=seed
                )
                errors.append(_law_error(group, form, found))
                tick()
        for kind in types:
            own = [p for p in placed if p.type == kind]
            freed = tuple(free) if _distinct(own) >= 2 + len(free) else ()
            law = fit_curve_law(
                table,
                own,
                form="tanh",
                dense=dense,
                delta=delta,
                free=freed,
                starts=starts,
                bootstrap=bootstrap,
                seed=seed,
            )
            constants.append(LawConstants(kind, law))
            tick()
    compared = []
    for name, points in sources.items():
        compared.append(
            _source(name, points, {p.format for p in placed}, table, dense, delta, seed)
        )
        tick()
    return CurveReport(
        points=tuple(placed),
        fits=tuple(fits),
        law_errors=tuple(errors),
        law_constants=tuple(constants),
        sources=tuple(compared),
        unplaced=(*unplaced, *gone),
        warnings=tuple(_warnings(placed, table, constants)),
    )


def _distinct(points: Sequence[CurvePoint]) -> int:
    rows = np.nan_to_num(operand_errors(points), nan=-1.0)
    return len({tuple(row.tolist()) for row in rows})


def _enough(points: Sequence[CurvePoint]) -> tuple[list[CurvePoint], list[Unplaced]]:
    """Points of types with two distinct errors, and the others with the reason."""
    by_type: dict[str, list[CurvePoint]] = {}
    for point in points:
        by_type.setdefault(point.type, []).append(point)
    kept, gone = [], []
    for point in points:
        if _distinct(by_type[point.type]) >= 2:
            kept.append(point)
        else:
            gone.append(Unplaced(point.format, f"the only error of its kind, {point.type}"))
    return kept, gone


def _law_error(group: str, form: str, found: CurveLawFit) -> LawError:
    return LawError(
        group=group,
        form=form,
        rmse=found.rmse,
        rmse_log=found.rmse_log,
        objective=found.objective,
        num_runs=found.num_runs,
        num_free=found.num_free,
    )


def _source(
    name: str,
    points: Sequence[CurvePoint],
    formats: set[str],
    table: RunTable | None,
    dense: str,
    delta: float,
    seed: int,
) -> SourceError:
    own = [point for point in points if point.format in formats]
    types = tuple(dict.fromkeys(point.type for point in own))
    residuals = []
    for kind in types:
        fit = fit_curve([p for p in own if p.type == kind], form="tanh", type=kind)
        residuals += [entry.error for entry in fit.residuals]
    shared = fit_curve(own, form="tanh", type=SHARED)
    law = math.nan
    if table is not None:
        law = fit_curve_law(
            table, own, form="tanh", dense=dense, delta=delta, starts=2, seed=seed
        ).rmse_log
    single = [p for p in own if math.isnan(p.gmse) != math.isnan(p.gmse_activation)]
    error = [p.gmse if math.isnan(p.gmse_activation) else p.gmse_activation for p in single]
    order = math.nan
    if len(single) > 1:
        order = float(kendalltau(error, [p.rho for p in single]).statistic)
    every = operand_errors(own)
    return SourceError(
        source=name,
        rmse=float(np.sqrt(np.square(residuals).mean())),
        shared_rmse=shared.rmse,
        law_rmse_log=law,
        order=order,
        spread=float(np.nanmax(every) / np.nanmin(every)),
    )


def _warnings(
    points: Sequence[CurvePoint], table: RunTable | None, constants: Sequence[LawConstants]
) -> list[str]:
    found = []
    for row in constants:
        loose = [
            p.name.partition(" of ")[0]
            for p in row.fit.parameters
            if p.name not in ("A", "B") and (p.at_bound or p.sd > LARGEST_RELATIVE_SD * p.value)
        ]
        if loose:
            found.append(
                f"not identified in the law of {row.type}: {', '.join(loose)} (at a bound, or one "
                "standard deviation is more than half the value)"
            )
    unknown = [point.format for point in points if point.type == "unknown"]
    if unknown:
        found.append(
            f"the kind of compression of {', '.join(unknown)} is unknown: they share one curve; "
            "say types={label: kind}"
        )
    if table is None:
        found.append("no runs: the combined laws (Tables 1 and 3) are left out")
    return found
