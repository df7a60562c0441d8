"""Hydra's and OmegaConf's errors in one line that says what is allowed."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml
from hydra.errors import HydraException, MissingConfigException
from omegaconf import DictConfig
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from unified_laws.cli.format_names import unknown_format
from unified_laws.cli.paths import config_dir
from unified_laws.errors import nearest


def explain(error: BaseException, config_name: str) -> str | None:
    """One line for a user, None if the error is not about a configuration."""
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        return _missing_option(error)
    if isinstance(error, MissingMandatoryValue):
        key = getattr(error, "full_key", None) or _first_line(error)
        return f"{config_name}: {key} has no value; give it on the command line as {key}=..."
    if isinstance(error, ValueError) and str(error).startswith("Config group override"):
        return f"{config_name}: {_first_line(error)}; choose an option by its name"
    if not isinstance(error, (HydraException, OmegaConfBaseException)):
        return None
    text = " ".join(str(error).split()) + " " + " ".join(str(error.__cause__ or "").split())
    key = re.search(r"Could not (?:override|append to config|delete).*?'([\w.@/]+)", text)
    unknown = key or re.search(r"Key '([\w.]+)' is not in struct", text)
    if unknown:
        node = getattr(error.__cause__ or error, "parent_node", None)
        known = sorted(str(k) for k in node) if isinstance(node, DictConfig) else []
        return _unknown_key(unknown[1], text, config_name, [k for k in known if k != "hydra"])
    if "Ambiguous value" in text:
        return f"{config_name}: {_first_line(error)}; a list of values needs -m"
    return f"{config_name}: {_first_line(error)}"


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _missing_option(error: MissingConfigException) -> str:
    group, _, name = str(error.missing_cfg_file).rpartition("/")
    if group == "format":
        return str(unknown_format(name, config_dir()))
    options = sorted(error.options or ())
    return f"unknown {group or 'config'} {name!r}; {nearest(name, options)}{_allowed(options)}"


def _unknown_key(key: str, text: str, config_name: str, known: list[str]) -> str:
    if "No match in the defaults list" in text and key in _keys_at(config_name, []):
        return f"{config_name}: {key} is chosen with +{key}=NAME (a plus in front)"
    full = re.search(r"full_key: ([\w.\[\]]+)", text)
    path = (full[1] if full else key).split(".")
    allowed = known or _keys_at(config_name, path[:-1])
    return (
        f"{config_name}: unknown key {'.'.join(path)!r}; "
        f"{nearest(path[-1], allowed)}{_allowed(allowed)}"
    )


def _allowed(options: Iterable[str]) -> str:
    return f"allowed: {', '.join(options)}"


def _keys_at(config_name: str, path: list[str]) -> list[str]:
    """Keys that the primary configuration has at ``path``, read from its files."""
    content = _yaml(config_dir() / f"{config_name}.yaml")
    groups = {
        k: v for d in content.get("defaults", ()) if isinstance(d, dict) for k, v in d.items()
    }
    node: Any = {k: v for k, v in content.items() if k != "defaults"} | {
        group: _yaml(config_dir() / group / f"{option}.yaml") for group, option in groups.items()
    }
    for part in path:
        node = node.get(part) if isinstance(node, dict) else None
    return sorted(str(k) for k in node) if isinstance(node, dict) else []


def _yaml(file: Path) -> dict[str, Any]:
    content = yaml.safe_load(file.read_text(encoding="utf-8")) if file.exists() else None
    return content if isinstance(content, dict) else {}
