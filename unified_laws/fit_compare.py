"""Which law do the data prefer: python -m unified_laws.fit action=compare runs=runs.csv."""

from __future__ import annotations

from pathlib import Path

from unified_laws.cli.entry import Config, compose
from unified_laws.cli.run_table import read_run_table, threshold
from unified_laws.cli.values import Rule, check_values
from unified_laws.errors import UsageError
from unified_laws.records.files import write_bytes, write_json

COMPARE_RULES: dict[str, Rule] = {"starts": (int, 1, False), "folds": (int, 2, False)}


def compare_action(config: Config) -> None:
    """Fit every law that the runs can carry; write compare.json and compare.svg."""
    from unified_laws.cli.progress import step_bar
    from unified_laws.figures.comparison_plot import comparison_alt, draw_comparison
    from unified_laws.figures.save import picture_bytes
    from unified_laws.laws.forms.catalogue import pick_forms
    from unified_laws.laws.forms.comparison import compare_laws
    from unified_laws.laws.forms.observations import observe

    if not config["runs"]:
        raise UsageError("fit: runs has no value; give it on the command line as runs=...")
    settings = config["compare"]
    check_values(config, {"seed": (int, 0, False)})
    check_values(settings, COMPARE_RULES)
    forms = pick_forms(settings["laws"])
    delta = threshold(config["delta"])
    if isinstance(delta, str):
        raise UsageError("delta is auto; action=compare takes a number or inf, such as 1e-3")
    table = read_run_table(config)
    known = _known_formats(sorted(set(table.formats) - {config["dense"]}))
    runs = observe(table, dense=config["dense"], by_format=known)
    with step_bar(enabled=config["progress"], text="laws") as progress:
        found = compare_laws(
            runs,
            forms,
            objective=settings["objective"],
            delta=delta,
            starts=settings["starts"],
            folds=settings["folds"],
            seed=config["seed"],
            rank_by=settings["rank_by"],
            progress=progress,
        )
    out = Path(config["out"])
    write_json(out / "compare.json", found.to_json())
    picture = out / "compare.svg"
    write_bytes(picture, picture_bytes(draw_comparison(found), picture, alt=comparison_alt(found)))
    print(found.summary())
    print(f"-> {out / 'compare.json'}, {out / 'compare.svg'}")


def _known_formats(labels: list[str]) -> dict[str, dict[str, float]]:
    """Covariates of the labels that are names of our formats; other labels have none here."""
    from unified_laws.cli.format_names import is_format_name
    from unified_laws.cli.paths import config_dir

    names = [label for label in labels if is_format_name(label, config_dir())]
    if not names:
        return {}
    from unified_laws.cli.format_covariates import format_covariates
    from unified_laws.gmse import Meter, gmse_row

    settings = compose("gmse", [])
    meter, found = Meter(settings), {}
    for name in names:
        row = gmse_row(name, settings, meter)
        found[name] = {
            **format_covariates(name),
            "gmse": row["gmse"],
            "gmse_activation": row["gmse_activation"] or 0.0,
        }
    return found
