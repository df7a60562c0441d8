"""Hydra's instantiate behind an allow-list: a configuration file may not run arbitrary code."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from typing import Any

import hydra.utils

from unified_laws.errors import UsageError

OURS = "unified_laws"
# Exact classes of the libraries that our configurations name.
LIBRARY_CLASSES = (
    "torch.optim.AdamW",
    "torch.optim.Adam",
    "torch.optim.SGD",
    "torch.optim.Muon",
    "lightning.pytorch.loggers.WandbLogger",
    "lightning.pytorch.loggers.CSVLogger",
)


def instantiate(node: Any, trusted_packages: Sequence[str] = ()) -> Any:
    """Build the object that a configuration node describes.

    Args:
        node: plain containers with ``_target_`` keys, or None (returned as it is).
        trusted_packages: packages whose classes the user allows (the key of that name).

    Raises:
        UsageError: a target is not allowed or does not exist, or its arguments do not fit.
    """
    # Hydra would resolve what is left of "${...}" after our check, and that can hide a target.
    for text in _texts(node):
        if "${" in text:
            raise UsageError(f"{text!r} holds an unresolved ${{...}}; write the value itself")
    for target in _targets(node):
        _check(target, tuple(trusted_packages))
    try:
        return hydra.utils.instantiate(node, _convert_="all")
    except Exception as error:
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, UsageError):
            cause = cause.__cause__
        if cause is not None:
            raise cause from error
        where = node.get("_target_") if isinstance(node, dict) else None
        text = " ".join(str(error).split())
        raise UsageError(f"cannot build {where or 'the configured object'}: {text}") from error


def _texts(node: Any) -> Iterator[str]:
    if isinstance(node, str):
        yield node
    elif isinstance(node, dict):
        for key, value in node.items():
            yield str(key)
            yield from _texts(value)
    elif isinstance(node, (list, tuple)):
        for item in node:
            yield from _texts(item)


def _targets(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "_target_":
                yield str(value)
            else:
                yield from _targets(value)
    elif isinstance(node, (list, tuple)):
        for item in node:
            yield from _targets(item)


def _check(target: str, trusted: tuple[str, ...]) -> None:
    """Allow a class where it is defined in our package or a trusted one, or listed by name."""
    if target in LIBRARY_CLASSES:
        return
    module_name, _, name = target.rpartition(".")
    package = module_name.partition(".")[0]
    if package == OURS or package in trusted:
        try:
            found = getattr(importlib.import_module(module_name), name, None)
        except ImportError as error:
            raise UsageError(f"_target_ {target!r}: {error}") from error
        # A name that was merely imported there (os, subprocess) is not defined there.
        if isinstance(found, type) and found.__module__ == module_name:
            return
        raise UsageError(f"_target_ {target!r} is no class defined in {module_name}")
    raise UsageError(
        f"_target_ {target!r} is not allowed; allowed are classes of {OURS}, "
        f"{', '.join(LIBRARY_CLASSES)}, and packages in trusted_packages=[{', '.join(trusted)}]"
    )
