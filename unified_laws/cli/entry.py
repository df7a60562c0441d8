"""The one decorator of the entry modules: Hydra around them, one line for a user's mistake."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf

from unified_laws.cli.config_errors import explain
from unified_laws.cli.format_names import check_user_dir
from unified_laws.cli.format_source import register
from unified_laws.cli.paths import add_user_dir, config_dir, user_dirs
from unified_laws.errors import UsageError

Config = dict[str, Any]
Action = Callable[[Config], None]
VERSION_BASE = "1.3"
# What a disk answers: full, quota, read-only, not allowed.
REFUSED = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)


def entry(
    config_name: str, actions: Mapping[str, Action], aliases: Mapping[str, str] | None = None
) -> Callable[[], None]:
    """A ``main()`` for ``python -m unified_laws.<config_name> key=value ... [action=word] [-m]``.

    Args:
        config_name: the primary configuration in ``conf``.
        actions: what each ``action`` does with the resolved configuration (plain containers).
            A module with one action has no such key.
        aliases: words of the command line that stand for a key. ``format=`` as a plain value needs
            one, because Hydra takes the name of a group for a choice.
    """

    def task(config: DictConfig) -> None:
        with one_line_errors(config_name):
            plain = to_plain(config)
            action = plain.get("action", next(iter(actions)))
            if action not in actions:
                raise UsageError(
                    f"{config_name}: unknown action {action!r}; allowed: {', '.join(actions)}"
                )
            actions[str(action)](plain)

    def main() -> None:
        register()
        for index, argument in enumerate(sys.argv[1:], start=1):
            key, equals, value = argument.partition("=")
            if equals and key in (aliases or {}):
                sys.argv[index] = f"{(aliases or {})[key]}={value}"
        os.environ["HYDRA_FULL_ERROR"] = "1"  # let errors reach us whole; we shorten them
        with one_line_errors(config_name):
            _find_user_dir()
            hydra.main(
                version_base=VERSION_BASE,
                config_path=str(config_dir()),
                config_name=config_name,
            )(task)()

    return main


def _find_user_dir() -> None:
    """Take over ``--config-dir``: names of its formats join with ours, in workers too."""
    given = get_args_parser().parse_known_args()[0].config_dir
    for folder in (*user_dirs(), *([Path(given)] if given else [])):
        if folder.is_dir():  # else Hydra says so
            check_user_dir(folder, config_dir())
            add_user_dir(folder)


def to_plain(config: DictConfig) -> Config:
    """Resolve interpolations into plain dicts and lists, without Hydra's own branch."""
    plain = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items() if key != "hydra"}


def compose(config_name: str, overrides: list[str]) -> Config:
    """Compose a configuration from Python, as the command line would.

    Raises:
        UsageError: a key, a value or a name is wrong; the text lists what is allowed.
    """
    register()
    # Inside an entry module Hydra is already initialised on the same folder.
    here: AbstractContextManager[Any] = (
        nullcontext()
        if GlobalHydra.instance().is_initialized()
        else hydra.initialize_config_dir(version_base=VERSION_BASE, config_dir=str(config_dir()))
    )
    try:
        with here:
            return to_plain(hydra.compose(config_name, overrides=overrides))
    except Exception as error:
        text = explain(error, config_name)
        if text is None:
            raise
        raise UsageError(text) from error


@contextmanager
def one_line_errors(config_name: str) -> Iterator[None]:
    """Print a mistake of the user in one line and exit with 2; let bugs keep their traceback."""
    try:
        yield
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from here", file=sys.stderr)
        sys.exit(130)
    except Exception as error:
        text = str(error) if isinstance(error, UsageError) else explain(error, config_name)
        if isinstance(error, OSError) and error.errno in REFUSED:
            text = f"{config_name}: {error.strerror}: {error.filename}; choose another place"
        if text is None:
            raise
        print(f"error: {' '.join(text.split())}", file=sys.stderr)
        sys.exit(2)
