"""Grids as files: which runs a sweep consists of, as command-line overrides."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from unified_laws.cli.paths import sweeps_dir
from unified_laws.errors import UsageError


@dataclass(frozen=True)
class Grid:
    """A sweep: its name, the question it answers, and the overrides of each run."""

    name: str
    question: str
    runs: tuple[tuple[str, ...], ...]


def read_grid(name: str) -> Grid:
    """Read ``sweeps/NAME.yaml``, or the file at a path.

    The file holds ``question``, ``expected_runs`` and ``grids``: a list of blocks, each a mapping
    from a key of the training configuration to a list of values; a block is their product and the
    sweep is the union of its blocks. ``format`` is written without its plus.

    Raises:
        UsageError: no such sweep, it is no such mapping, or it does not expand to expected_runs.
    """
    known = sorted(path.stem for path in sweeps_dir().glob("*.yaml"))
    path = Path(name) if name.endswith(".yaml") else sweeps_dir() / f"{name}.yaml"
    if not path.is_file():
        raise UsageError(f"unknown sweep {name!r}; allowed: {', '.join(known)}, or a .yaml file")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise UsageError(f"{path} cannot be read: {' '.join(str(error).split())}") from error
    blocks = content.get("grids") if isinstance(content, dict) else None
    if not isinstance(blocks, list) or not all(isinstance(b, dict) and b for b in blocks):
        raise UsageError(f"{path}: grids must be a list of mappings from keys to lists of values")
    runs = list(dict.fromkeys(run for block in blocks for run in _product(block, path)))
    expected = content.get("expected_runs")
    if expected != len(runs):
        raise UsageError(f"{path}: expands to {len(runs)} runs, but expected_runs is {expected}")
    return Grid(path.stem, str(content.get("question", "")), tuple(runs))


def _product(block: dict[str, Any], path: Path) -> list[tuple[str, ...]]:
    axes = []
    for key, values in block.items():
        listed = values if isinstance(values, list) else [values]
        if not listed:
            raise UsageError(f"{path}: {key} has no values")
        plus = "+" if key == "format" else ""
        axes.append([f"{plus}{key}={value}" for value in listed])
    return [tuple(run) for run in itertools.product(*axes)]
