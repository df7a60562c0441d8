"""Published numbers by name."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from unified_laws.errors import UsageError
from unified_laws.laws.factor_result import Cell


@dataclass(frozen=True)
class PublishedMatrix:
    """A matrix of capacities as a paper prints it.

    Attributes:
        name: of the file.
        title: what it shows.
        source: paper and figure.
        caution: what it must not be used for.
        note: what the paper says about its errors.
        rounding: half a unit of the last printed digit.
        factors: names of the factors.
        dense: uncompressed level of each.
        cells: the numbers; stderr is the printed ±, NaN where none is.
    """

    name: str
    title: str
    source: str
    caution: str
    note: str
    rounding: float
    factors: tuple[str, ...]
    dense: tuple[str, ...]
    cells: tuple[Cell, ...]


def published_matrices() -> tuple[str, ...]:
    """Names of the matrices that come with the package."""
    names = (file.name for file in files(__package__).iterdir())
    found = [name.removesuffix(".json") for name in names if name.endswith(".json")]
    return tuple(sorted(name for name in found if "cells" in _content(name)))


def read_matrix(name: str) -> PublishedMatrix:
    """A matrix of capacities by its name.

    Raises:
        UsageError: there is none of that name.
    """
    if name not in published_matrices():
        raise UsageError(
            f"there is no published matrix {name!r}; there are {', '.join(published_matrices())}"
        )
    content = _content(name)
    cells = tuple(
        Cell(
            tuple(cell["levels"]),
            cell["rho"],
            math.nan if cell["stderr"] is None else cell["stderr"],
        )
        for cell in content.pop("cells")
    )
    factors, dense = tuple(content.pop("factors")), tuple(content.pop("dense"))
    return PublishedMatrix(name=name, factors=factors, dense=dense, cells=cells, **content)


def law_errors() -> dict[str, Any]:
    """Table 1 and the comparison of forms of arXiv:2506.01863 (camera-ready)."""
    return _content("law_errors")


def law_constants() -> dict[str, Any]:
    """Table 3 of arXiv:2506.01863 (camera-ready)."""
    return _content("law_constants")


def _content(name: str) -> dict[str, Any]:
    text = files(__package__).joinpath(f"{name}.json").read_text(encoding="utf-8")
    content: dict[str, Any] = json.loads(text)
    return content
