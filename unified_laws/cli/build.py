"""Plain configurations into the objects of the library."""

from __future__ import annotations

import copy
import functools
import json
from collections.abc import Sequence
from typing import Any

from unified_laws.cli.entry import Config, compose
from unified_laws.cli.format_names import DENSE, canonical_name, is_format_name
from unified_laws.cli.instantiate import OURS, instantiate
from unified_laws.cli.paths import config_dir
from unified_laws.cli.registry import format_config
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
    return _format(config, format_label(config), trusted_packages)


def _format(config: Config, label: str, trusted_packages: Sequence[str]) -> Format:
    unknown = sorted(set(config) - {"name", "weight", "activation", "targets", "ignore"})
    if unknown:
        raise UsageError(
            f"format: unknown keys {unknown}; allowed: name, weight, activation, targets, ignore"
        )
    patterns: dict[str, tuple[str, ...]] = {
        k: tuple(config[k]) for k in ("targets", "ignore") if config.get(k) is not None
    }
    try:
        return Format(
            name=label,
            weight=_compressor(config.get("weight"), "weight", trusted_packages),
            activation=_compressor(config.get("activation"), "activation", trusted_packages),
            **patterns,
        )
    except UsageError as error:
        raise UsageError(f"format {label}: {error}") from error


def load_format(name: str, trusted_packages: Sequence[str] = ()) -> Format:
    """A format by its name, as ``+format=NAME`` would give it."""
    config = format_config(name)
    return _format(config, str(config.get("name") or "unnamed"), trusted_packages)


def format_label(config: Config) -> str:
    """The name of a format, with what the command line changed about it.

    ``+format=int4 format.weight.quantizer.bits=3`` must not be listed as int4, so its label is
    ``int4[weight.quantizer.bits=3]``.
    """
    name = str(config.get("name") or "")
    if not name:
        raise UsageError("the format has no name; give it one with name: in its YAML")
    if is_format_name(name, config_dir()):
        named = format_config(canonical_name(name, config_dir()))
    else:
        try:  # a file of the user, found by --config-dir
            named = compose("train", [f"+format={name}"])["format"]
        except UsageError:
            return name
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
    empty = [stage for stage in STAGES if not isinstance(config[stage], dict)]
    if empty:
        raise UsageError(f"{operand}: stages {empty} are no mappings with a _target_")
    return Compressor(**{stage: _stage(config[stage], trusted_packages) for stage in STAGES})


def _stage(node: Any, trusted_packages: Sequence[str]) -> Any:
    """One stage. Ours are built once and copied: Hydra takes 7 ms for each of 500 of a registry."""
    if isinstance(node, dict) and str(node.get("_target_")).startswith(f"{OURS}."):
        return copy.deepcopy(_prototype(json.dumps(node, sort_keys=True)))
    return instantiate(node, trusted_packages)


@functools.lru_cache(maxsize=1024)
def _prototype(node: str) -> Any:
    return instantiate(json.loads(node))
