"""Frozen results to JSON and back, by their fields."""

from __future__ import annotations

import math
import types
import typing
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, Self

from unified_laws.errors import UsageError


class JsonResult:
    """Base of a frozen dataclass of numbers, texts, tuples and other such dataclasses."""

    def to_json(self) -> dict[str, Any]:
        """JSON value; numbers that are not finite become null, tuples lists."""
        assert is_dataclass(self)
        return {entry.name: _plain(getattr(self, entry.name)) for entry in fields(self)}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """Inverse of `to_json`; null becomes NaN where a number belongs.

        Raises:
            UsageError: a key is missing or unknown, or a value is of another kind.
        """
        try:
            return typing.cast("Self", _build(cls, content))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise UsageError(
                f"this is not the JSON of a {cls.__name__} ({type(error).__name__}: {error}); "
                "write it again with the command that made it"
            ) from error


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return {entry.name: _plain(getattr(value, entry.name)) for entry in fields(value)}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _build(kind: Any, value: Any) -> Any:
    """``value`` as an object of the annotated ``kind``."""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if isinstance(kind, type) and is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        unknown = sorted(set(value) - set(hints))
        if unknown:
            raise ValueError(f"unknown keys {', '.join(unknown)}")
        return kind(**{name: _build(hints[name], value[name]) for name in hints})
    if origin is tuple:
        if not isinstance(value, list):
            raise ValueError(f"{value!r} is no list")
        item = inner[0] if len(inner) == 2 and inner[1] is Ellipsis else None
        kinds = [item] * len(value) if item is not None else list(inner)
        return tuple(_build(one, each) for one, each in zip(kinds, value, strict=True))
    if origin is types.UnionType:
        if value is None:
            return None
        return _build(next(one for one in inner if one is not type(None)), value)
    if kind is float:
        return math.nan if value is None else float(value)
    if not isinstance(value, kind):
        raise ValueError(f"{value!r} is no {kind.__name__}")
    return value
