"""Plain configurations into the objects of the library."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from unified_laws.cli.entry import Config, compose
from unified_laws.cli.format_names import DENSE, canonical_name, is_format_name
from unified_laws.cli.instantiate import instantiate
from unified_laws.cli.paths import config_dir
from unified_laws.compression.compressor import Compressor
from unified_laws.compression.format import Format
from unified_laws.errors import UsageError

STAGES = ("transform", "sparsifier", "backward_mask", "quantizer", "gradient")


def build_format(config: Config | None, trusted_packages: Sequence[str] = ()) -> Format:
    """A format from its configuration; None is the dense baseline.

    Raises:
        UsageError: a stage is missing or unknown, or refuses its numbers.
    """
    if config is None:
        return Format(name=DENSE, weight=None, activation=None)
    unknown = sorted(set(config) - {"name", "weight", "activation", "targets", "ignore"})
    if unknown:
        raise UsageError(
            f"format: unknown keys {unknown}; allowed: name, weight, activation, targets, ignore"
        )
    patterns: dict[str, tuple[str, ...]] = {
        k: tuple(config[k]) for k in ("targets", "ignore") if config.get(k) is not None
    }
    return Format(
        name=format_label(config),
        weight=_compressor(config.get("weight"), "weight", trusted_packages),
        activation=_compressor(config.get("activation"), "activation", trusted_packages),
        **patterns,
    )


def load_format(name: str, trusted_packages: Sequence[str] = ()) -> Format:
    """A format by its name, as ``+format=NAME`` would give it."""
    return build_format(compose("train", [f"+format={name}"])["format"], trusted_packages)


def format_label(config: Config) -> str:
    """The name of a format, with what the command line changed about it.

    ``+format=int4 format.weight.quantizer.bits=3`` must not be listed as int4, so its label is
    ``int4[weight.quantizer.bits=3]``.
    """
    name = str(config.get("name") or "unnamed")
    if not is_format_name(name, config_dir()):
        return name
    named = compose("train", [f"+format={canonical_name(name, config_dir())}"])["format"]
    changed = sorted(
        f"{key}={value}"
        for key, value in _leaves(config).items()
        if key != "name" and _leaves(named).get(key, None) != value
    )
    return f"{name}[{','.join(changed)}]" if changed else name


def _leaves(node: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(node, dict):
        return {prefix: node}
    return {
        k: v
        for key, item in node.items()
        for k, v in _leaves(item, f"{prefix}.{key}".lstrip(".")).items()
    }


def _compressor(
    config: Config | None, operand: str, trusted_packages: Sequence[str]
) -> Compressor | None:
    if config is None:
        return None
    missing, unknown = set(STAGES) - set(config), set(config) - set(STAGES)
    if missing or unknown:
        raise UsageError(
            f"format.{operand}: missing stages {sorted(missing)}, unknown {sorted(unknown)}; "
            f"allowed and needed: {', '.join(STAGES)}"
        )
    return Compressor(**{stage: instantiate(config[stage], trusted_packages) for stage in STAGES})
