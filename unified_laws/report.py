"""A page from a table and its laws: python -m unified_laws.report runs=runs.csv laws=laws.json."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from unified_laws.cli.entry import Config, compose, entry
from unified_laws.cli.gmse_rows import read_gmse_rows
from unified_laws.cli.run_table import read_run_table
from unified_laws.errors import UsageError
from unified_laws.records.files import read_json, write_json, write_text

if TYPE_CHECKING:
    from unified_laws.laws.score import ScoreBoard


def _gmse_rows(formats: list[str], config: Config) -> list[dict[str, Any]]:
    """Rows of the given gmse.json, or computed for the formats whose names we know."""
    if config["gmse"]:
        return read_gmse_rows(config["gmse"])
    from unified_laws.cli.format_names import is_format_name
    from unified_laws.cli.paths import config_dir
    from unified_laws.gmse import gmse_row

    settings = compose("gmse", [])
    # Tables of other projects carry labels of their own; those have no GMSE here.
    known = [name for name in formats if is_format_name(name, config_dir())]
    return [gmse_row(name, settings) | {"format": name} for name in known]


def _score(config: Config) -> ScoreBoard | None:
    """The frozen predictions that the configuration names, against its runs."""
    from unified_laws.predict_frozen import score_frozen

    if not config["frozen"]:
        return None
    if not isinstance(config["frozen"], list):
        raise UsageError(f"frozen is {config['frozen']!r}; give a list of files or folders")
    files = [str(file) for file in config["frozen"]]
    return score_frozen(files, config["runs"], config["columns"] or {})


def _page(config: Config) -> None:
    from unified_laws.figures.alt_text import capacity_alt
    from unified_laws.figures.capacity_plot import draw_capacities
    from unified_laws.figures.page import render_page
    from unified_laws.figures.points import join_points
    from unified_laws.figures.save import on_white
    from unified_laws.figures.style import to_svg
    from unified_laws.laws.capacity_curve import fit_capacity_curve
    from unified_laws.laws.result import LawsResult

    table = read_run_table(config)
    laws = LawsResult.from_json(read_json(Path(config["laws"])))
    rows = _gmse_rows([capacity.format for capacity in laws.capacities], config)
    points = join_points(laws, rows)
    on_curve = [point for point in points if point.on_curve]
    try:
        curve_fit = fit_capacity_curve(
            [p.gmse for p in on_curve], [p.rho for p in on_curve], [p.stderr for p in on_curve]
        )
    except UsageError:  # too few formats for a curve of their own: the published one stands alone
        curve_fit = None
    page = render_page(
        table,
        laws,
        rows,
        title=config["title"],
        notes=config["notes"],
        commands=config["commands"],
        curve_fit=curve_fit,
        frozen=_score(config),
    )
    out = Path(config["out"])
    write_json(out / "gmse.json", rows)
    picture = to_svg(draw_capacities(points), name="capacity", alt=capacity_alt(points))
    write_text(out / "capacities.svg", on_white(picture))
    write_text(out / "index.html", page)
    print(f"-> {out / 'index.html'}")


main = entry("report", {"page": _page})

if __name__ == "__main__":
    main()
