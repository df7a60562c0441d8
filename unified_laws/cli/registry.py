"""The formats that ``formats=all`` means, and their configurations without one composition each."""

from __future__ import annotations

import copy
import functools
from pathlib import Path
from typing import Any

import yaml

from unified_laws.cli.entry import Config, compose
from unified_laws.cli.format_names import (
    compose_name,
    families,
    folders,
    format_files,
    is_format_name,
)
from unified_laws.cli.paths import config_dir

LIST = "registry.yaml"  # in conf: the committed names besides files and examples


def registry_names(conf: Path) -> list[str]:
    """Every file of ``conf/format``, the example of every family, and ``conf/registry.yaml``.

    Files and families of the user's folders too.
    """
    files = [file.stem for file in format_files(conf)]
    examples = [family["example"] for family in families(conf)]
    return list(dict.fromkeys([*files, *examples, *_yaml(conf / LIST)["names"]]))


def format_config(name: str) -> Config:
    """The configuration of a format by its name, as ``+format=NAME`` would give it.

    Raises:
        UsageError: the name is unknown, or a value is missing.
    """
    known = is_format_name(name, config_dir())
    found = _assemble(name, folders(config_dir())) if known else None
    if found is None:
        composed: Config = compose("train", [f"+format={name}"])["format"]
        return composed
    return copy.deepcopy(found)


@functools.lru_cache(maxsize=1024)
def _assemble(name: str, where: tuple[Path, ...]) -> Config | None:
    """What Hydra composes for a format of plain defaults (stage files below the format's values).

    A composition takes a tenth of a second and there are a hundred formats; a test holds the two
    equal. None where only Hydra knows: other defaults, packages, interpolations, missing values.
    Folders of the user come after ours in Hydra, too.
    """
    file = _find(Path("format") / f"{name}.yaml", where)
    content = compose_name(name, where[0]) if file is None else _yaml(file)
    found: dict[str, Any] = {}
    for item in content.get("defaults", ["_self_"]):
        if item == "_self_":
            found = _over(found, {k: v for k, v in content.items() if k != "defaults"})
            continue
        if not isinstance(item, dict) or len(item) != 1:
            return None
        ((key, option),) = item.items()
        group, _, package = key.partition("@")
        stage = _find(Path(group.lstrip("/")) / f"{option}.yaml", where)
        if not package or not group.startswith("/") or stage is None:
            return None
        node = _yaml(stage)
        if "defaults" in node or "@package" in stage.read_text(encoding="utf-8"):
            return None
        for part in reversed(package.split(".")):
            node = {part: node}
        found = _over(found, node)
    return None if any(word in repr(found) for word in ("'???'", "${")) else found


def _find(place: Path, where: tuple[Path, ...]) -> Path | None:
    """The first folder's file at this place."""
    return next((folder / place for folder in where if (folder / place).exists()), None)


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
