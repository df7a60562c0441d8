"""What the RMS-banded masks measure: the RMS and the smallest kept magnitude of a scope."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from unified_laws.compression.sparsifier.base import Sparsifier
from unified_laws.compression.stage import Stage
from unified_laws.errors import UsageError

Scope = Literal["tensor", "row"]


def rms(y: Tensor, scope: Scope) -> Tensor:
    """Root mean square of each scope, float32, broadcastable to `y`."""
    return y.float().square().mean(_dims(y, scope), keepdim=True).sqrt()


def smallest_kept(y: Tensor, support: Tensor, scope: Scope) -> Tensor:
    """T_k, the smallest kept magnitude of each scope, float32; infinite where nothing is kept."""
    magnitude = torch.where(support, y.float().abs(), torch.inf)
    return magnitude.amin(_dims(y, scope), keepdim=True)


def check_fraction(mask: str, name: str, value: float, *, below: float | None = None) -> float:
    """`value` as a float.

    Raises:
        UsageError: it is not in [0, 1], or not in [0, below).
    """
    if not 0.0 <= value <= 1.0 or (below is not None and not value < below):
        allowed = "from 0 to 1" if below is None else f"from 0 to below {below:g}"
        raise UsageError(
            f"{mask} backward mask {name}: got {value:g}, allowed are fractions {allowed}; "
            f"{name} is a probability of N(0,1), not a threshold"
        )
    return float(value)


def check_scope(mask: str, scope: Scope) -> Scope:
    """`scope` itself.

    Raises:
        UsageError: it is neither "tensor" nor "row".
    """
    if scope not in ("tensor", "row"):
        raise UsageError(
            f"{mask} backward mask scope: got {scope!r}, allowed are 'tensor' and 'row'; take that "
            "of the sparsifier"
        )
    return scope


def check_threshold(mask: str, scope: Scope, stages: Mapping[str, Stage]) -> None:
    """Refuse a sparsifier without a magnitude threshold in this scope: T_k would mean nothing.

    Raises:
        UsageError: the sparsifier keeps by something else, or has another scope.
    """
    sparsifier = stages["sparsifier"]
    found = sparsifier.threshold_scope if isinstance(sparsifier, Sparsifier) else None
    if found != scope:
        got = "has none" if found is None else f"has one per {found}"
        raise UsageError(
            f"{mask} backward mask of scope {scope!r}: got a {type(sparsifier).__name__} "
            f"sparsifier, which {got}, allowed is one magnitude threshold per {scope} for T_k; "
            "combine it with magnitude pruning, as in sparse50_rbbm50"
        )


def _dims(y: Tensor, scope: Scope) -> list[int]:
    return [-1] if scope == "row" else list(range(y.dim()))
