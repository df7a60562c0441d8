"""Frozen dataclasses to JSON values and back by their annotations."""

from __future__ import annotations

import math
import types
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from unified_laws.errors import UsageError

T = TypeVar("T")


def to_json(value: Any) -> Any:
    """The JSON value of nested dataclasses, tuples and mappings; not finite becomes null."""
    if is_dataclass(value):
        return {field.name: to_json(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def nan_for_null(entry: Mapping[str, Any]) -> dict[str, Any]:
    """The same mapping with NaN where `to_json` left null."""
    return {key: math.nan if value is None else value for key, value in entry.items()}


def from_json(kind: type[T], content: Any) -> T:
    """Inverse of `to_json` for a dataclass ``kind``; null becomes NaN where a float belongs.

    Raises:
        UsageError: a key is missing or too many, or a value is of the wrong kind.
    """
    try:
        found = _read(kind, content)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UsageError(
            f"this is not the JSON of a {kind.__name__} ({type(error).__name__}: {error}); "
            "write it again with the command that made it"
        ) from error
    assert isinstance(found, kind)
    return found


def _read(kind: Any, content: Any) -> Any:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        if content is None and type(None) in arguments:
            return None
        (kind,) = (a for a in arguments if a is not type(None))
        return _read(kind, content)
    if is_dataclass(kind) and isinstance(kind, type):
        unknown = set(content) - {field.name for field in fields(kind)}
        if unknown:
            raise ValueError(f"unknown keys {sorted(unknown)}")
        hints = get_type_hints(kind)
        return kind(**{f.name: _read(hints[f.name], content[f.name]) for f in fields(kind)})
    if origin is tuple:
        if not isinstance(content, list):
            raise TypeError(f"{content!r} is no list")
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            return tuple(_read(arguments[0], item) for item in content)
        return tuple(_read(a, item) for a, item in zip(arguments, content, strict=True))
    if kind is float:
        return math.nan if content is None else float(content)
    if not isinstance(content, kind) or (kind is int and isinstance(content, bool)):
        raise TypeError(f"{content!r} is no {kind.__name__}")
    return content
