"""The law from a table of losses: python -m unified_laws.fit runs=runs.csv out=laws.

``action=compare`` asks which law the data prefer; ``curve`` fits capacity over GMSE, ``factorize``
capacities as products.
"""

from __future__ import annotations

from pathlib import Path

from unified_laws.cli.entry import Config, entry
from unified_laws.cli.run_table import read_run_table, threshold
from unified_laws.cli.values import Rule, check_values
from unified_laws.errors import UsageError
from unified_laws.fit_compare import compare_action
from unified_laws.fit_curve import curve_action
from unified_laws.fit_factors import factorize_action
from unified_laws.records.files import write_json

RULES: dict[str, Rule] = {
    "starts": (int, 1, False),
    "bootstrap": (int, 0, False),
    "seed": (int, 0, False),
}


def _fit(config: Config) -> None:
    # scipy takes a second to import: --help goes without.
    from unified_laws.cli.progress import step_bar
    from unified_laws.laws.fitting import fit_laws
    from unified_laws.laws.table import baseline

    if not config["runs"]:
        raise UsageError("fit: runs has no value; give it on the command line as runs=...")
    check_values(config, RULES)
    fixed = config["fixed"] or {}
    check_values(fixed, dict.fromkeys(fixed, (float, 0, False)))
    table = read_run_table(config)
    with step_bar(enabled=config["progress"], text="resamples") as progress:
        laws = fit_laws(
            table,
            dense=baseline(table, dense=config["dense"], reference=config["reference"]),
            delta=threshold(config["delta"]),
            starts=config["starts"],
            bootstrap=config["bootstrap"],
            seed=config["seed"],
            fixed=fixed,
            objective=config["objective"],
            interval=config["interval"],
            weights=config["weights"],
            random_effect=config["random_effect"],
            components=config["components"],
            progress=progress,
        )
    out = Path(config["out"]) / "laws.json"
    write_json(out, laws.to_json())
    print(laws.summary())
    print(f"-> {out}")


main = entry(
    "fit",
    {
        "fit": _fit,
        "compare": compare_action,
        "curve": curve_action,
        "factorize": factorize_action,
    },
)

if __name__ == "__main__":
    main()
