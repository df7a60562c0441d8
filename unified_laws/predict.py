"""The loss of a run that was not trained: python -m unified_laws.predict laws=laws.json ..."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from unified_laws.cli.entry import Config, compose, entry
from unified_laws.cli.values import Rule, check_values
from unified_laws.records.files import read_json, write_json

RULES: dict[str, Rule] = {"num_params": (float, 1, False), "num_tokens": (float, 1, False)}


def predict_loss(config: Config) -> dict[str, Any]:
    """The law at (N, D) and the capacity of a format.

    Returns:
        ``val_loss, low, high`` in nats, ``rho``, and ``source``: "measured" if the format is in
        the laws, else "gmse". low and high follow the 95 % interval of rho alone, null for "gmse".

    Note:
        The uncertainty of A, B, E and the exponents is not in the interval, so far from the runs
        that were fitted it is too narrow.
    """
    from unified_laws.gmse import gmse_row
    from unified_laws.laws.result import LawsResult

    check_values(config, RULES)
    laws = LawsResult.from_json(read_json(Path(config["laws"])))
    name, size, tokens = str(config["name"]), config["num_params"], config["num_tokens"]

    def loss(rho: float) -> float | None:
        found = float(laws.law.predict(size, tokens, rho))
        return found if math.isfinite(found) else None

    if name in {capacity.format for capacity in laws.capacities}:
        capacity = laws.capacity(name)
        low, high = loss(capacity.high), loss(capacity.low)
        return {
            "val_loss": loss(capacity.rho),
            "low": low,
            "high": high,
            "rho": capacity.rho,
            "source": "measured",
        }
    rho = gmse_row(name, compose("gmse", []))["rho_predicted"]
    return {"val_loss": loss(rho), "low": None, "high": None, "rho": rho, "source": "gmse"}


def _loss(config: Config) -> None:
    row = predict_loss(config)
    if config["out"]:
        write_json(Path(config["out"]), row)
    interval = ""
    if row["low"] is not None:
        interval = f" [{row['low']:.4f}, {row['high']:.4f}] (interval of rho alone)"
    print(
        f"{config['name']} N={config['num_params']:g} D={config['num_tokens']:g}: "
        f"val_loss {row['val_loss']:.4f}{interval}, rho {row['rho']:.3f} ({row['source']})"
    )


main = entry("predict", {"loss": _loss}, aliases={"format": "name"})

if __name__ == "__main__":
    main()
