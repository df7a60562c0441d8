"""Capacities as products: python -m unified_laws.fit action=factorize laws=laws.json."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from unified_laws.cli.entry import Config
from unified_laws.errors import UsageError
from unified_laws.fit_curve import read_laws
from unified_laws.records.files import write_bytes, write_json

if TYPE_CHECKING:
    from unified_laws.laws.factor_result import Cell
    from unified_laws.laws.result import LawsResult

DENSE_LABELS = ("dense", "bf16", "BF16")
NUMBERS = ("rho", "stderr")


def factorize_action(config: Config) -> None:
    """Fit the factors, print them, write ``factors.json`` and ``factors.svg``."""
    from unified_laws.figures.factor_plot import draw_factors, factors_alt
    from unified_laws.figures.save import picture_bytes
    from unified_laws.laws.factorization import factorize
    from unified_laws.laws.json_form import to_json
    from unified_laws.laws.published.read import published_matrices

    settings = config["factors"]
    given = settings["cells"]
    notes: list[str] = []
    if given is None:
        cells, factors, dense, notes = cells_of_laws(read_laws(config))
    elif given in published_matrices():
        from unified_laws.laws.published.read import read_matrix

        matrix = read_matrix(given)
        cells, factors, dense = list(matrix.cells), list(matrix.factors), list(matrix.dense)
        notes = [f"{matrix.title} ({matrix.source}). {matrix.note}", matrix.caution]
    else:
        cells, factors, dense = read_cells(Path(given), settings["dense"] or {})
    result = factorize(
        cells,
        factors=factors,
        dense=dense,
        anchored=bool(settings["anchored"]),
        weights=str(settings["weights"]),
        tolerance=float(settings["tolerance"]),
    )
    out = Path(config["out"])
    write_json(out / "factors.json", to_json(result))
    picture = out / "factors.svg"
    write_bytes(picture, picture_bytes(draw_factors(result), picture, alt=factors_alt(result)))
    for text in (*notes, result.summary()):
        print(text)
    print(f"-> {out / 'factors.json'}")


def cells_of_laws(laws: LawsResult) -> tuple[list[Cell], list[str], list[str], list[str]]:
    """Cells, factors, their dense levels, and remarks, from the names of the formats.

    Raises:
        UsageError: the formats compress fewer than two things.
    """
    from unified_laws.cli.compression_type import factor_levels
    from unified_laws.cli.format_names import is_format_name
    from unified_laws.cli.paths import config_dir
    from unified_laws.laws.factor_result import Cell

    conf = config_dir()
    levels: dict[str, dict[str, str]] = {}
    unknown = []
    for entry in laws.capacities:
        if entry.format == laws.dense:
            levels[entry.format] = {}
        elif is_format_name(entry.format, conf) and (found := factor_levels(entry.format, conf)):
            levels[entry.format] = found
        else:
            unknown.append(entry.format)
    factors = list(dict.fromkeys(factor for own in levels.values() for factor in own))
    if len(factors) < 2:
        raise UsageError(
            f"the formats {', '.join(levels)} compress {len(factors)} of: weight quantizer, "
            "activation quantizer, weight sparsifier, activation sparsifier; a product needs two, "
            "and a format that has both, such as int4_sparse50 or w4a8"
        )
    cells = [
        Cell(tuple(levels[e.format].get(f, "dense") for f in factors), e.rho, e.stderr)
        for e in laws.capacities
        if e.format in levels
    ]
    notes = [f"no cell: {name} (its name says nothing of its parts)" for name in unknown]
    return cells, factors, ["dense"] * len(factors), notes


def read_cells(path: Path, dense: Mapping[str, object]) -> tuple[list[Cell], list[str], list[str]]:
    """Cells, factors and their dense levels from a table with a column ``rho``.

    Every column but ``rho`` and ``stderr`` is a factor.

    Args:
        path: CSV, JSONL or JSON list.
        dense: factor -> its uncompressed level, where that is not called dense or bf16.

    Raises:
        UsageError: no such table, no rho, or a factor without an uncompressed level.
    """
    from unified_laws.laws.factor_result import Cell
    from unified_laws.laws.rows import read_rows

    content = read_rows(path)
    factors = [name for name in content.columns if name not in NUMBERS]
    if "rho" not in content.columns or len(factors) < 2:
        raise UsageError(
            f"{path} has the columns {', '.join(content.columns)}; needed are rho and two or more "
            "factors (and stderr where it is known)"
        )
    unknown = sorted(set(dense) - set(factors))
    if unknown:
        raise UsageError(f"factors.dense names {', '.join(unknown)}; the factors are {factors}")
    cells = []
    for row in content.rows:
        stderr = row.optional_positive("stderr")
        levels = tuple(row.label(factor) for factor in factors)
        cells.append(Cell(levels, row.positive("rho"), stderr if stderr > 0 else math.nan))
    levels_of = {f: {cell.levels[k] for cell in cells} for k, f in enumerate(factors)}
    found = []
    for factor in factors:
        level = str(dense.get(factor, ""))
        level = level or next((t for t in DENSE_LABELS if t in levels_of[factor]), "")
        if not level:
            raise UsageError(
                f"which level of {factor!r} is uncompressed? it has "
                f"{', '.join(sorted(levels_of[factor]))}; say factors.dense={{{factor}: <level>}}"
            )
        found.append(level)
    return cells, factors, found
