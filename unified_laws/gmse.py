"""Gaussian MSE of formats, no training: python -m unified_laws.gmse formats=[int4,sparse50]."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unified_laws.cli.entry import Config, entry
from unified_laws.errors import UsageError
from unified_laws.records.files import write_json

if TYPE_CHECKING:
    from unified_laws.compression.compressor import Compressor


def gmse_row(name: str, config: Config) -> dict[str, Any]:
    """The error, storage and predicted capacity of one format.

    Returns:
        ``format, gmse, stderr, gmse_activation, effective_bits, bits_per_weight,
        rate_distortion_gap_bits, rho_predicted``. Bits are null where the error is 0 (dense), and
        gmse_activation is null unless activations are compressed. rho_predicted is the product
        over the operands (arXiv:2506.01863 §3).

    Raises:
        UsageError: the name or a number in it is refused.
    """
    from unified_laws.cli.build import load_format
    from unified_laws.compression.gmse import gmse
    from unified_laws.compression.quantizer.identity import DENSE_BITS
    from unified_laws.compression.storage import bits_per_weight
    from unified_laws.laws.capacity_curve import CapacityCurve

    format = load_format(name, config["trusted_packages"])
    in_features = config["in_features"]
    curve = CapacityCurve(**config["curve"])

    def error(compressor: Compressor | None) -> tuple[float, float]:
        if compressor is None:
            return 0.0, 0.0
        found = gmse(
            compressor,
            samples=config["samples"],
            in_features=in_features,
            seed=config["seed"],
            block=config["block"],
        )
        return found.value, found.stderr

    weight, stderr = error(format.weight)
    activation, _ = error(format.activation)
    rho = float(curve.predict(weight)) if format.weight is not None else 1.0
    rho *= float(curve.predict(activation)) if format.activation is not None else 1.0
    stored = DENSE_BITS if format.weight is None else bits_per_weight(format.weight, in_features)
    bits = -0.5 * math.log2(weight) if weight > 0 else None
    return {
        "format": format.name,
        "gmse": weight,
        "stderr": stderr,
        "gmse_activation": None if format.activation is None else activation,
        "effective_bits": bits,
        "bits_per_weight": stored,
        "rate_distortion_gap_bits": None if bits is None else stored - bits,
        "rho_predicted": rho,
    }


def _gmse(config: Config) -> None:
    from rich.console import Console
    from rich.table import Table

    names = config["formats"]
    if not isinstance(names, list) or not names:
        raise UsageError(f"formats is {names!r}; give a list such as formats=[int4,sparse50]")
    rows = [gmse_row(str(name), config) for name in names]
    if config["out"]:
        write_json(Path(config["out"]), rows)
    table = Table()
    for heading in ("format", "GMSE", "±", "GMSE act.", "eff. bits", "bits", "gap", "rho"):
        table.add_column(heading, justify="left" if heading == "format" else "right")
    for row in rows:
        table.add_row(str(row["format"]), *(_cell(v) for k, v in row.items() if k != "format"))
    Console(width=100).print(table)


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:.3g}" if abs(value) < 1e-3 and value else f"{value:.4f}"


main = entry("gmse", {"gmse": _gmse})

if __name__ == "__main__":
    main()
