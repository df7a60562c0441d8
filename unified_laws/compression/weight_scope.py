"""The scope in which weights are projected once: between two optimizer steps, or an evaluation."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

from unified_laws.compression.linear import CompressedLinear


def cache_weights(model: nn.Module) -> None:
    """Project the weight of every compressed layer now, for the forward passes that follow.

    Call it ahead of every forward pass: what is cached already and unchanged stays. From here to
    `drop_weights` a format that draws random numbers uses one draw per weight.
    """
    for layer in _layers(model):
        layer.cache_weight()


def drop_weights(model: nn.Module) -> None:
    """Forget the projected weights: the next forward pass projects anew."""
    for layer in _layers(model):
        layer.drop_weight()


@contextmanager
def cached_weights(model: nn.Module) -> Iterator[None]:
    """Forward passes inside share one projection of every weight."""
    drop_weights(model)
    cache_weights(model)
    try:
        yield
    finally:
        drop_weights(model)


def _layers(model: nn.Module) -> Iterator[CompressedLinear]:
    return (module for module in model.modules() if isinstance(module, CompressedLinear))
