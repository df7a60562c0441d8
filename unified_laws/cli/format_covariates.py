"""What rival laws ask of a format beside its name: bits, sparsity, blocks."""

from __future__ import annotations

from collections.abc import Sequence

from unified_laws.cli.build import load_format
from unified_laws.cli.registry import format_config
from unified_laws.compression.quantizer.identity import DENSE_BITS

# A scale per channel counts as this block size (log2 of it is 13.1567; arXiv:2501.02423).
CHANNEL_BLOCK = 2.0**13.1567


def format_covariates(name: str, trusted_packages: Sequence[str] = ()) -> dict[str, float]:
    """Covariates of a format by its name; those that it does not have are left out.

    Returns:
        ``sparsity`` of the weights, ``weight_bits`` and ``activation_bits`` always; ``group_size``
        where scales belong to groups; ``exponent_bits, mantissa_bits, block_size`` of
        floating-point weights.

    Raises:
        UsageError: the name is unknown.
    """
    format, described = load_format(name, trusted_packages), format_config(name)
    weight, activation = format.weight, format.activation
    found = {
        "sparsity": 0.0 if weight is None else 1.0 - weight.sparsifier.kept_fraction,
        "weight_bits": DENSE_BITS if weight is None else weight.quantizer.bits,
        "activation_bits": DENSE_BITS if activation is None else activation.quantizer.bits,
    }
    quantizer = (described.get("weight") or {}).get("quantizer", {})
    group = quantizer.get("group_size")
    if group is not None:
        found["group_size"] = group
    if quantizer.get("exponent") is not None and quantizer.get("mantissa") is not None:
        found["exponent_bits"], found["mantissa_bits"] = (
            quantizer["exponent"],
            quantizer["mantissa"],
        )
        found["block_size"] = CHANNEL_BLOCK if group is None else group
    return {key: float(value) for key, value in found.items()}
