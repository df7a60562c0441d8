"""A format: what happens to the two operands of a linear layer, and to which layers."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase

from unified_laws.compression.compressor import Compressor
from unified_laws.compression.sparsifier.held import HeldSparsifier
from unified_laws.errors import UsageError


def matches(fqn: str, patterns: tuple[str, ...]) -> bool:
    """Whether a dotted module name, or one of its parents, matches one of the shell patterns."""
    return any(fnmatchcase(fqn, p) or fnmatchcase(fqn, f"{p}.*") for p in patterns)


@dataclass(frozen=True)
class Format:
    """One representation R of a model (arXiv:2506.01863 eq. 1).

    Attributes:
        name: how the format is called in records.
        weight: compressor of the weights; None leaves them uncompressed.
        activation: compressor of the inputs of the linear layers; None leaves them uncompressed.
        targets: shell patterns of the dotted names of the layers to compress; a pattern covers what
            is below it.
        ignore: patterns of layers to leave alone; they win over `targets`.
    """

    name: str
    weight: Compressor | None
    activation: Compressor | None
    targets: tuple[str, ...] = ("*",)
    ignore: tuple[str, ...] = ()

    def bind(self, in_features: int) -> tuple[Compressor | None, Compressor | None]:
        """Fresh compressors of the weight and of the activation for one layer.

        Raises:
            UsageError: a stage cannot work at this width, or both operands stay in a rotated basis
                and not in the same one.
        """
        weight = None if self.weight is None else self.weight.bind(in_features)
        activation = None if self.activation is None else self.activation.bind(in_features)
        if activation is not None and isinstance(activation.sparsifier, HeldSparsifier):
            raise UsageError(
                f"format {self.name}: got {type(activation.sparsifier).__name__} on activations, "
                "allowed is it on weights alone, because its mask has the shape of a weight; take "
                "the magnitude sparsifier"
            )
        if weight is not None and activation is not None:
            w, a = weight.transform, activation.transform
            if w.folded and a.folded and w.block != a.block:
                raise UsageError(
                    f"format {self.name}: got folded blocks of {w.block} (weight) and {a.block} "
                    "(activation), allowed is one block for both; give both the same or set "
                    "fold to false"
                )
            if w.folded and a.folded and w.basis != a.basis:
                raise UsageError(
                    f"format {self.name}: got folded bases {w} (weight) and {a} (activation), "
                    "allowed is one basis for both, signs included; give both the same or set "
                    "fold to false"
                )
        return weight, activation
