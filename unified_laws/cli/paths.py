"""Where the configuration lives: beside the package in a checkout, inside it in a wheel."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent.parent


def config_dir() -> Path:
    """The folder ``conf``."""
    return _first("conf")


def sweeps_dir() -> Path:
    """The folder ``sweeps``."""
    return _first("sweeps")


def _first(name: str) -> Path:
    inside = _PACKAGE / name
    return inside if inside.is_dir() else _PACKAGE.parent / name
