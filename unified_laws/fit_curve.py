"""Capacity curves from laws and errors: python -m unified_laws.fit action=curve laws=laws.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unified_laws.cli.entry import Config, compose
from unified_laws.cli.gmse_rows import read_gmse_rows
from unified_laws.cli.values import Rule, check_values
from unified_laws.errors import UsageError
from unified_laws.records.files import read_json, write_bytes, write_json

if TYPE_CHECKING:
    from unified_laws.laws.curve_points import CurvePoint, Unplaced
    from unified_laws.laws.result import LawsResult
    from unified_laws.laws.table import RunTable

RULES: dict[str, Rule] = {
    "curve.starts": (int, 1, False),
    "curve.bootstrap": (int, 0, False),
    "curve.samples": (int, 1, False),
    "curve.delta": (float, 0, False),
    "seed": (int, 0, False),
}


def read_laws(config: Config) -> LawsResult:
    """The laws.json that the key ``laws`` names.

    Raises:
        UsageError: there is none, or it is something else.
    """
    from unified_laws.laws.result import LawsResult

    if not config["laws"]:
        raise UsageError(
            f"fit: action={config['action']} reads a fit; give laws=<folder>/laws.json, which "
            "action=fit writes"
        )
    return LawsResult.from_json(read_json(Path(config["laws"])))


def fitted_runs(laws: LawsResult) -> RunTable | None:
    """The runs that a laws.json was fitted to; None if it does not hold them."""
    import numpy as np

    from unified_laws.laws.table import RunTable

    rows = laws.residuals
    if not rows:
        return None
    return RunTable(
        formats=tuple(row.format for row in rows),
        num_params=np.array([row.num_params for row in rows]),
        num_tokens=np.array([row.num_tokens for row in rows]),
        val_loss=np.array([row.val_loss for row in rows]),
        seed=np.full(len(rows), -1, dtype=np.int64),
        epochs=np.full(len(rows), np.nan),
    )


def curve_action(config: Config) -> None:
    """Fit the curves, print the tables, write ``curve.json`` and ``curves.svg``."""
    from unified_laws.cli.progress import step_bar
    from unified_laws.figures.curve_types_plot import curve_types_alt, draw_curve_types
    from unified_laws.figures.save import picture_bytes
    from unified_laws.laws.curve_points import make_points
    from unified_laws.laws.curve_report import report_curves
    from unified_laws.laws.json_form import to_json

    check_values(config, RULES)
    laws, settings = read_laws(config), config["curve"]
    rho = {entry.format: (entry.rho, entry.stderr) for entry in laws.capacities}
    rows = _rows_by_source(list(rho), config)
    first = next(iter(rows.values()))
    types = _types(list(rho)) | {str(r["format"]): str(r["type"]) for r in first if r.get("type")}
    types |= {str(k): str(v) for k, v in (settings["types"] or {}).items()}
    points: dict[str, tuple[CurvePoint, ...]] = {}
    unplaced: tuple[Unplaced, ...] = ()
    for number, (source, own) in enumerate(rows.items()):
        points[source], gone = make_points(own, types, rho, dense=laws.dense)
        unplaced = gone if number == 0 else unplaced
    with step_bar(enabled=config["progress"], text="curves") as progress:
        report = report_curves(
            points,
            table=fitted_runs(laws),
            dense=laws.dense,
            delta=float(settings["delta"]),
            free=tuple(settings["free"] or ()),
            starts=settings["starts"],
            bootstrap=settings["bootstrap"],
            seed=config["seed"],
            unplaced=unplaced,
            progress=progress,
        )
    out = Path(config["out"])
    write_json(out / "curve.json", to_json(report))
    picture = out / "curves.svg"
    write_bytes(
        picture, picture_bytes(draw_curve_types(report), picture, alt=curve_types_alt(report))
    )
    print(report.summary())
    print(f"-> {out / 'curve.json'}")


def _rows_by_source(formats: Sequence[str], config: Config) -> dict[str, list[dict[str, Any]]]:
    """GMSE rows for each input density: read, or computed for the names that we know."""
    given = config["gmse"]
    if isinstance(given, str):
        return {"given": read_gmse_rows(given)}
    if isinstance(given, Mapping):
        return {str(name): read_gmse_rows(str(path)) for name, path in given.items()}
    from unified_laws.gmse import Meter, gmse_row

    sources = config["curve"]["sources"]
    if not isinstance(sources, list) or not sources:
        raise UsageError(
            f"curve.sources is {sources!r}; give input densities such as [normal,laplace]"
        )
    found = {}
    for source in sources:
        samples = config["curve"]["samples"]
        settings = compose("gmse", [f"source={source}", f"samples={samples}"])
        meter = Meter(settings)
        # Tables of other projects carry labels of their own; those have no GMSE here.
        found[str(source)] = [
            gmse_row(name, settings, meter) | {"format": name}
            for name in formats
            if _is_known(name)
        ]
    return found


def _is_known(name: str) -> bool:
    from unified_laws.cli.format_names import is_format_name
    from unified_laws.cli.paths import config_dir

    return is_format_name(name, config_dir())


def _types(formats: Sequence[str]) -> dict[str, str]:
    from unified_laws.cli.build import load_format
    from unified_laws.cli.compression_type import compression_type

    return {name: compression_type(load_format(name)) for name in formats if _is_known(name)}
