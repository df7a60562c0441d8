"""Replacing the linear layers of a model by compressed ones, and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from torch import nn

from unified_laws.compression.format import Format, matches
from unified_laws.compression.linear import CompressedLinear
from unified_laws.errors import UsageError


class Swapped(NamedTuple):
    """A compressed layer: dotted name, widths and the resolved block of its rotation (1 = none)."""

    fqn: str
    in_features: int
    out_features: int
    block: int | None


class Skipped(NamedTuple):
    """A linear or embedding layer left alone, and why."""

    fqn: str
    reason: str


@dataclass(frozen=True)
class SwapReport:
    """What `swap_linears` did, in the order of the model."""

    swapped: tuple[Swapped, ...]
    skipped: tuple[Skipped, ...]


def _why_skipped(
    fqn: str, layer: nn.Module, format: Format, ignore: tuple[str, ...], within: str
) -> str | None:
    """Why a layer stays plain; None if it is to be compressed."""
    if isinstance(layer, nn.Embedding):
        return "an embedding, not a linear layer"
    if within and not fqn.startswith(f"{within}."):
        return f"outside {within}"
    if matches(fqn, ignore):
        return "ignored by the caller"
    if matches(fqn, format.ignore):
        return f"ignored by format {format.name}"
    if not matches(fqn, format.targets):
        return f"not a target of format {format.name}"
    if type(layer) not in (nn.Linear, CompressedLinear):
        return f"a {type(layer).__name__}, not a plain nn.Linear"
    return None


def _check_patterns(format: Format, candidates: list[str]) -> None:
    """Refuse a pattern that names no layer: a misspelt one would silently compress others."""
    for pattern in (*format.targets, *format.ignore):
        if not any(matches(fqn, (pattern,)) for fqn in candidates):
            raise UsageError(
                f"format {format.name}: got pattern {pattern!r}, which names no linear layer, "
                f"allowed are shell patterns of names such as {', '.join(candidates[:8])}; "
                "correct targets or ignore"
            )


def _install(model: nn.Module, fqn: str, layer: nn.Module) -> None:
    parent, _, leaf = fqn.rpartition(".")
    setattr(model.get_submodule(parent), leaf, layer)


def swap_linears(
    model: nn.Module,
    format: Format,
    *,
    ignore: tuple[str, ...] = ("embedding", "head"),
    within: str = "blocks",
) -> SwapReport:
    """Replace every targeted `nn.Linear` of `model.<within>` by a compressed one, in place.

    Parameters are shared, so optimizers, checkpoints and `state_dict` keys do not notice. A model
    that is already compressed changes to the new format. On an error the model is left as it was.

    Args:
        model: any module; on the meta device too.
        format: what happens to the operands.
        ignore: dotted names or shell patterns that stay plain, whatever the format says.
        within: dotted name of the part whose layers are compressed; "" for the whole model.

    Raises:
        UsageError: `within` is no part of the model, it holds no linear layer, a pattern of the
            format names none, or the format does not fit a layer's width.
    """
    modules = dict(model.named_modules(remove_duplicate=False))
    if within not in modules:
        raise UsageError(
            f"swap within: got {within!r}, allowed are parts of the model "
            f"({', '.join(name for name, _ in model.named_children())}) or '' for all of it; "
            "name the part that holds the layers"
        )
    layers = {k: m for k, m in modules.items() if isinstance(m, nn.Linear | nn.Embedding)}
    inside = f"{within}." if within else ""
    candidates = [k for k, m in layers.items() if isinstance(m, nn.Linear) and k.startswith(inside)]
    if not candidates:
        raise UsageError(
            f"swap within {within or 'the model'!r}: got no nn.Linear there, allowed is a part "
            "that holds at least one; name another part"
        )
    _check_patterns(format, candidates)

    replacements: dict[str, nn.Module] = {}
    shared: dict[int, CompressedLinear] = {}
    swapped: list[Swapped] = []
    skipped: list[Skipped] = []
    for fqn, layer in layers.items():
        reason = _why_skipped(fqn, layer, format, ignore, within)
        if reason is not None:
            skipped.append(Skipped(fqn, reason))
            if isinstance(layer, CompressedLinear):
                replacements[fqn] = layer.to_linear()
        elif isinstance(layer, nn.Linear):
            try:
                new = shared.get(id(layer)) or CompressedLinear.from_linear(layer, format)
            except UsageError as error:
                raise UsageError(f"layer {fqn}: {error}") from None
            shared[id(layer)] = new
            replacements[fqn] = new
            swapped.append(Swapped(fqn, new.in_features, new.out_features, new.block))
    for fqn, module in replacements.items():
        _install(model, fqn, module)
    return SwapReport(swapped=tuple(swapped), skipped=tuple(skipped))


def unswap_linears(model: nn.Module) -> None:
    """Put plain `nn.Linear` layers on the same parameters in place of the compressed ones."""
    plain: dict[int, nn.Linear] = {}
    for fqn, layer in list(model.named_modules(remove_duplicate=False)):
        if isinstance(layer, CompressedLinear):
            _install(model, fqn, plain.setdefault(id(layer), layer.to_linear()))
