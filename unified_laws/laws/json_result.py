"""Base of results that go to JSON and back by their fields."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from unified_laws.laws.json_form import from_json, to_json


class JsonResult:
    """Base of a frozen dataclass of numbers, texts, tuples and other such dataclasses."""

    def to_json(self) -> dict[str, Any]:
        """JSON value; numbers that are not finite become null, tuples lists."""
        content: dict[str, Any] = to_json(self)
        return content

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """Inverse of `to_json`; null becomes NaN where a number belongs.

        Raises:
            UsageError: a key is missing or unknown, or a value is of another kind.
        """
        return from_json(cls, content)
