"""Gaussian MSE of formats, no training: python -m unified_laws.gmse formats=[int4,sparse50]."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unified_laws.cli.entry import Config, entry
from unified_laws.errors import UsageError
from unified_laws.records.files import write_json, write_text

if TYPE_CHECKING:
    from unified_laws.compression.compressor import Compressor
    from unified_laws.compression.gmse import Estimate

# Of a compressor's stages, those that change the value and not only the gradient.
FORWARD = ("transform", "sparsifier", "quantizer")


class Meter:
    """Measures operands, each distinct one once.

    Args:
        config: the resolved configuration ``gmse``.
    """

    def __init__(self, config: Config) -> None:
        from unified_laws.cli.instantiate import instantiate
        from unified_laws.laws.capacity_curve import CapacityCurve

        self.config = config
        self.source = instantiate(config["source"], config["trusted_packages"])
        self.curve = CapacityCurve(**config["curve"])
        self._known: dict[str, Estimate] = {}

    def __call__(
        self, compressor: Compressor | None, described: Config | None, in_features: int
    ) -> Estimate:
        """The error of an operand that `described` configures; 0 of none."""
        from unified_laws.compression.gmse import Estimate, gmse

        if compressor is None or described is None:
            return Estimate(0.0, 0.0, "exact")
        key = json.dumps([in_features, *(described[stage] for stage in FORWARD)], sort_keys=True)
        if key not in self._known:
            self._known[key] = gmse(
                compressor,
                samples=self.config["samples"],
                in_features=in_features,
                seed=self.config["seed"],
                block=self.config["block"],
                source=self.source,
                precision=self.config["precision"],
            )
        return self._known[key]


def gmse_row(name: str, config: Config, meter: Meter | None = None) -> dict[str, Any]:
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
    from unified_laws.cli.registry import format_config
    from unified_laws.compression.quantizer.identity import DENSE_BITS
    from unified_laws.compression.storage import bits_per_weight

    meter = meter or Meter(config)
    format, described = load_format(name, config["trusted_packages"]), format_config(name)
    in_features = config["in_features"]
    found = meter(format.weight, described.get("weight"), in_features)
    activation = meter(format.activation, described.get("activation"), in_features).value
    weight = found.value
    rho = float(meter.curve.predict(weight)) if format.weight is not None else 1.0
    rho *= float(meter.curve.predict(activation)) if format.activation is not None else 1.0
    stored = DENSE_BITS if format.weight is None else bits_per_weight(format.weight, in_features)
    bits = -0.5 * math.log2(weight) if weight > 0 else None
    return {
        "format": format.name,
        "gmse": weight,
        "stderr": found.stderr,
        "gmse_activation": None if format.activation is None else activation,
        "effective_bits": bits,
        "bits_per_weight": stored,
        "rate_distortion_gap_bits": None if bits is None else stored - bits,
        "rho_predicted": rho,
    }


def run_rows(name: str, folder: Path, config: Config, meter: Meter) -> list[dict[str, Any]]:
    """The error of a format on the weights of a finished run.

    Returns:
        One row per compressed layer: ``format, layer, in_features, error, gmse, stderr``, where
        error is ‖W - C(W)‖²/‖W‖² and gmse is predicted for rows of that width.

    Raises:
        UsageError: the run has no weights, or the format does not fit its layers.
    """
    import torch

    from unified_laws.cli.build import load_format
    from unified_laws.cli.registry import format_config
    from unified_laws.compression.layer_error import STATE, layer_errors
    from unified_laws.compression.swap import swap_linears
    from unified_laws.model.llama import Llama, LlamaShape
    from unified_laws.records.record import read_record
    from unified_laws.training.checkpoint import load_weights

    format, described = load_format(name, config["trusted_packages"]), format_config(name)
    state, record = load_weights(folder), read_record(folder)
    if record.format != format.name:  # another format's masks and steps mean nothing to this one
        state = {key: value for key, value in state.items() if STATE not in key}
    model = record.config["model"]
    sizes = {k: model[k] for k in ("num_layers", "num_heads", "width", "mlp_width", "seq_len")}
    with torch.device("meta"):  # which layers the format compresses, as in training
        swapped = swap_linears(Llama(LlamaShape(vocab_size=2, **sizes)), format).swapped
    layers = {layer.fqn: layer.in_features for layer in swapped}
    rows = []
    for found in layer_errors(state, layers, format):
        expected = meter(found.compressor, described["weight"], found.in_features)
        rows.append(
            {
                "format": format.name,
                "layer": found.layer,
                "in_features": found.in_features,
                "error": found.error,
                "gmse": expected.value,
                "stderr": expected.stderr,
            }
        )
    return rows


def _names(config: Config) -> list[str]:
    from unified_laws.cli.paths import config_dir
    from unified_laws.cli.registry import registry_names

    names = config["formats"]
    if names == "all":
        return registry_names(config_dir())
    if not isinstance(names, list) or not names:
        raise UsageError(
            f"formats is {names!r}; give a list such as formats=[int4,sparse50] or all"
        )
    return [str(name) for name in names]


def _gmse(config: Config) -> None:
    from unified_laws.cli.progress import step_bar

    if config["run"] is not None and config["table"] is not None:
        raise UsageError("table= shows formats, not the layers of a run; give out=layers.json")
    names, meter = _names(config), Meter(config)
    rows: list[dict[str, Any]] = []
    with step_bar(enabled=config["progress"], text="formats") as progress:
        for done, name in enumerate(names, 1):
            if config["run"] is None:
                rows.append(gmse_row(name, config, meter))
            else:
                rows += run_rows(name, Path(config["run"]), config, meter)
            if progress is not None:
                progress(done, len(names))
    if config["out"]:
        write_json(Path(config["out"]), rows)
    if config["table"]:
        _write_table(rows, config)
    _print(rows, config)


def _write_table(rows: list[dict[str, Any]], config: Config) -> None:
    from unified_laws.figures.format_table import format_page

    page = format_page(rows, in_features=config["in_features"], **config["curve"])
    write_text(Path(config["table"]), page)


def _print(rows: list[dict[str, Any]], config: Config) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table()
    headings = ["format", "GMSE", "±", "GMSE act.", "eff. bits", "bits", "gap", "rho"]
    if config["run"] is not None:
        headings = ["format", "layer", "width", "error", "GMSE", "±"]
    for heading in headings:
        table.add_column(heading, justify="left" if heading in ("format", "layer") else "right")
    for row in rows:
        table.add_row(*map(_cell, row.values()))
    Console(width=100).print(table)


def _cell(value: Any) -> str:
    if not isinstance(value, float):
        return "–" if value is None else str(value)
    return f"{value:.3g}" if abs(value) < 1e-3 and value else f"{value:.4f}"


main = entry("gmse", {"gmse": _gmse})

if __name__ == "__main__":
    main()
