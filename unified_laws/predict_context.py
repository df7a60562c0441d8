"""What every action of predict needs: the laws, the capacity of any format, the files to write."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from unified_laws.cli.entry import Config, compose
from unified_laws.cli.run_table import read_run_table
from unified_laws.cli.values import Rule
from unified_laws.errors import UsageError
from unified_laws.records.files import read_json, write_bytes, write_json

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from unified_laws.laws.capacity_source import CapacitySource
    from unified_laws.laws.prediction import Prediction
    from unified_laws.laws.result import LawsResult
    from unified_laws.laws.table import RunTable

COUNTS: dict[str, Rule] = {"num_params": (float, 1, False), "num_tokens": (float, 1, False)}


def read_table(config: Config) -> RunTable:
    """The runs that the key ``runs`` names.

    Raises:
        UsageError: there are none.
    """
    if not config["runs"]:
        raise UsageError("give laws=laws.json (of the fit module), or runs=runs.csv to fit now")
    return read_run_table(config)


class Context:
    """The laws of a configuration and the capacity of any format by them.

    Args:
        config: the resolved configuration ``predict``.
    """

    def __init__(self, config: Config) -> None:
        from unified_laws.cli.capacities import Capacities
        from unified_laws.cli.gmse_rows import read_gmse_rows
        from unified_laws.gmse import Meter, gmse_row
        from unified_laws.laws.fitting import fit_laws
        from unified_laws.laws.information import Information
        from unified_laws.laws.result import LawsResult

        self.config = config
        if config["laws"]:
            self.laws: LawsResult = LawsResult.from_json(read_json(Path(config["laws"])))
        else:
            settings = compose("fit", ["runs=none"])
            self.laws = fit_laws(
                read_table(config),
                dense=str(config["dense"]),
                delta=float(settings["delta"]),
                starts=settings["starts"],
                bootstrap=0,
                seed=settings["seed"],
            )
        self.information = Information.of(self.laws, noise=config["noise"])
        meters: list[tuple[Config, Meter]] = []

        def measure(name: str) -> dict[str, Any]:
            if not meters:
                settings = compose("gmse", [])
                meters.append((settings, Meter(settings)))
            return gmse_row(name, *meters[0])

        rows = read_gmse_rows(config["gmse"], "gmse") if config["gmse"] else []
        self.capacity = Capacities(self.laws, self.information, measure=measure, rows=rows)

    def asked(self) -> CapacitySource:
        """Capacity of the format asked for, from the source asked for."""
        if not self.config["name"]:
            raise UsageError("give a format, as in format=int4")
        return self.capacity(str(self.config["name"]), self.config["rho_source"])

    def predict(self) -> Prediction:
        """The loss asked for."""
        from unified_laws.laws.prediction import predict_loss

        counts = {key: float(self.config[key]) for key in COUNTS}
        return predict_loss(self.laws, self.information, self.asked(), **counts)


def finish(
    config: Config, result: Any, text: str, figure: Figure | None = None, alt: str = ""
) -> None:
    """Write what was asked for, then print."""
    from unified_laws.figures.save import picture_bytes
    from unified_laws.laws.json_form import to_json

    if config["figure"]:
        if figure is None:
            raise UsageError(f"action={config['action']} has no figure; leave figure= out")
        path = Path(config["figure"])
        write_bytes(path, picture_bytes(figure, path, alt=alt))
    if config["out"]:
        write_json(Path(config["out"]), to_json(result))
    print(text)
