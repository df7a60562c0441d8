"""The formats that ``formats=all`` means, and their configurations without one composition each."""

from __future__ import annotations

import copy
import functools
from pathlib import Path
from typing import Any

import yaml

from unified_laws.cli.entry import Config, compose
from unified_laws.cli.format_names import compose_name, is_format_name
from unified_laws.cli.paths import config_dir

LIST = "registry.yaml"  # in conf: the committed names besides files and examples


def registry_names(conf: Path) -> list[str]:
    """Every file of ``conf/format``, the example of every family, and ``conf/registry.yaml``."""
    files = [file.stem for file in sorted((conf / "format").glob("*.yaml"))]
    families = sorted((conf / "format_family").glob("*.yaml"))
    examples = [_yaml(file)["example"] for file in families]
    return list(dict.fromkeys([*files, *examples, *_yaml(conf / LIST)["names"]]))


def format_config(name: str) -> Config:
    """The configuration of a format by its name, as ``+format=NAME`` would give it.

    Raises:
        UsageError: the name is unknown, or a value is missing.
    """
    known = (config_dir() / "format" / f"{name}.yaml").exists() or is_format_name(
        name, config_dir()
    )
    found = _assemble(name, config_dir()) if known else None
    if found is None:
        composed: Config = compose("train", [f"+format={name}"])["format"]
        return composed
    return copy.deepcopy(found)


@functools.lru_cache(maxsize=1024)
def _assemble(name: str, conf: Path) -> Config | None:
    """What Hydra composes for a format of plain defaults (stage files below the format's values).

    A composition takes a tenth of a second and there are a hundred formats; a test holds the two
    equal. None where only Hydra knows: other defaults, packages, interpolations, missing values.
    A folder given by --config-dir comes after ours in Hydra, so it changes no name of ours.
    """
    file = conf / "format" / f"{name}.yaml"
    content = _yaml(file) if file.exists() else compose_name(name, conf)
    found: dict[str, Any] = {}
    for item in content.get("defaults", ["_self_"]):
        if item == "_self_":
            found = _over(found, {k: v for k, v in content.items() if k != "defaults"})
            continue
        if not isinstance(item, dict) or len(item) != 1:
            return None
        ((key, option),) = item.items()
        group, _, package = key.partition("@")
        stage = conf / group.lstrip("/") / f"{option}.yaml"
        if not package or not group.startswith("/") or not stage.exists():
            return None
        node = _yaml(stage)
        if "defaults" in node or "@package" in stage.read_text(encoding="utf-8"):
            return None
        for part in reversed(package.split(".")):
            node = {part: node}
        found = _over(found, node)
    return None if any(word in repr(found) for word in ("'???'", "${")) else found


@functools.lru_cache(maxsize=256)
def _yaml(path: Path) -> dict[str, Any]:
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert isinstance(content, dict), path
    return content


def _over(first: Any, second: Any) -> Any:
    """The second over the first, mappings key by key."""
    if not (isinstance(first, dict) and isinstance(second, dict)):
        return second
    return {
        key: _over(first.get(key), second[key]) if key in second else first[key]
        for key in {**first, **second}
    }
