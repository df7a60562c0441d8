"""Where the configuration lives: beside the package in a checkout, inside it in a wheel."""

from __future__ import annotations

import os
from pathlib import Path

# Folders of the user, which --config-dir fills: workers and ranks are processes that inherit it.
VARIABLE = "UNIFIED_LAWS_CONFIG_DIR"
_PACKAGE = Path(__file__).resolve().parent.parent


def config_dir() -> Path:
    """The folder ``conf``."""
    return _first("conf")


def user_dirs() -> tuple[Path, ...]:
    """Folders of the user with configurations like ours, in the order they were given."""
    return tuple(Path(text) for text in os.environ.get(VARIABLE, "").split(os.pathsep) if text)


def add_user_dir(path: Path) -> None:
    """Let this process, and those it starts, find the configurations of a folder behind ours."""
    folders = dict.fromkeys((*user_dirs(), path.resolve()))
    os.environ[VARIABLE] = os.pathsep.join(map(str, folders))


def sweeps_dir() -> Path:
    """The folder ``sweeps``."""
    return _first("sweeps")


def _first(name: str) -> Path:
    inside = _PACKAGE / name
    return inside if inside.is_dir() else _PACKAGE.parent / name
