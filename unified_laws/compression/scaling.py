"""The statistic that sets the scale of a grid: of which values, and over what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypedDict

import torch
from torch import Tensor

from unified_laws.compression.stage import Stage
from unified_laws.errors import UsageError

RULES = ("rms", "absmax", "mse", "static")
SCOPES = ("row", "tensor")
STATISTICS = ("dense", "masked", "kept")
SCALE_BITS = 16.0  # bf16


class _NeededKeys(TypedDict):
    scale: Literal["rms", "absmax", "mse", "static"]
    scope: Literal["row", "tensor"]
    statistics: Literal["dense", "masked", "kept"]


class ScaleKeys(_NeededKeys, total=False):
    """The keys by which a configuration describes a `Scaling`; see there, where scale is `rule`."""

    group_size: int | None
    rms: float | None
    search_steps: int | None
    search_floor: float | None


@dataclass(frozen=True)
class Scaling:
    """What shares a scale, and how the scale is found.

    Attributes:
        owner: what the errors call the quantizer.
        rule: "rms" (Gaussian-optimal limit times the RMS), "absmax" (limit = largest magnitude),
            "mse" (the best of `search_steps` limits from absmax down to `search_floor`·absmax;
            MR-GPTQ, arXiv:2509.23202, takes 100 down to .2), or "static" (as "rms", with the
            constant `rms` in place of a statistic).
        scope: what shares a scale: "row" (each vector of the last dimension: an output row of a
            weight, a token of an activation) or "tensor".
        group_size: values along the last dimension that share a scale; None for the whole scope.
        statistics: the values that set the scale: "dense" (before pruning), "masked" (after, zeros
            included; under the rule "rms" alone, as zeros change no largest magnitude) or "kept"
            (the kept alone). Without sparsity they are one, and `check_sparsity` refuses others
            than "kept".
        rms: the constant of the rule "static"; None otherwise.
        search_steps: of the rule "mse", at least 2; None otherwise.
        search_floor: of the rule "mse", in (0, 1); None otherwise.

    Raises:
        UsageError: a word that is unknown, or a number that the rule needs, does not use or cannot.
    """

    owner: str
    rule: str
    scope: str
    group_size: int | None
    statistics: str
    rms: float | None
    search_steps: int | None
    search_floor: float | None

    def __post_init__(self) -> None:
        for name, got, words in (
            ("scale", self.rule, RULES),
            ("scope", self.scope, SCOPES),
            ("statistics", self.statistics, STATISTICS),
        ):
            if got not in words:
                raise UsageError(
                    f"{self.owner} {name}: got {got!r}, allowed are "
                    f"{', '.join(map(repr, words))}; choose one of them"
                )
        for name, number, rule, allowed, fits in (
            ("rms", self.rms, "static", "positive numbers", (self.rms or 0) > 0),
            ("search_steps", self.search_steps, "mse", "2 and more", (self.search_steps or 0) > 1),
            (
                "search_floor",
                self.search_floor,
                "mse",
                "numbers between 0 and 1",
                0 < (self.search_floor or 0) < 1,
            ),
        ):
            if (number is not None) != (self.rule == rule) or (number is not None and not fits):
                raise UsageError(
                    f"{self.owner} {name}: got {number} under scale {self.rule!r}, allowed are "
                    f"{allowed} under scale {rule!r} and null under the others; change one of them"
                )
        meant = {"rms": STATISTICS, "static": ("kept",)}.get(self.rule, ("dense", "kept"))
        if self.statistics not in meant:
            raise UsageError(
                f"{self.owner} statistics: got {self.statistics!r} under scale {self.rule!r}, "
                f"allowed are {', '.join(map(repr, meant))}, as it would change nothing; take kept"
            )
        if self.rule == "static" and self.scope != "tensor":
            raise UsageError(
                f"{self.owner} scope: got {self.scope!r} under scale 'static', allowed is "
                "'tensor', as its scale is one constant; set scope to tensor"
            )
        if self.group_size is None:
            return
        whole = isinstance(self.group_size, int) and not isinstance(self.group_size, bool)
        if not whole or self.group_size < 2 or self.scope != "row":
            raise UsageError(
                f"{self.owner} group_size: got {self.group_size!r} in scope {self.scope!r}, "
                "allowed are whole numbers from 2 that divide in_features, in scope 'row', and "
                "null for no groups; change one of them"
            )

    @classmethod
    def of(cls, owner: str, keys: ScaleKeys) -> Scaling:
        """The scaling that keys describe; those that may be missing are None.

        Raises:
            UsageError: a value is refused, see the class.
            TypeError: a key is missing or unknown.
        """
        wrong = (ScaleKeys.__required_keys__ - set(keys)) | (
            set(keys) - (ScaleKeys.__required_keys__ | ScaleKeys.__optional_keys__)
        )
        if wrong:
            raise TypeError(f"{owner}: missing or unexpected keyword arguments {sorted(wrong)}")
        return cls(
            owner=owner,
            rule=keys["scale"],
            scope=keys["scope"],
            group_size=keys.get("group_size"),
            statistics=keys["statistics"],
            rms=keys.get("rms"),
            search_steps=keys.get("search_steps"),
            search_floor=keys.get("search_floor"),
        )

    @property
    def converges(self) -> bool:
        """Whether the limit has one of its own on wide rows of N(0,1)."""
        return self.rule in ("rms", "static") and self.group_size is None

    def check_sparsity(self, stages: Mapping[str, Stage]) -> None:
        """Refuse statistics of an operand that is not pruned, where they would change nothing.

        Raises:
            UsageError: nothing is pruned, and the statistics are not "kept".
        """
        if stages["sparsifier"].is_identity and self.statistics != "kept":
            raise UsageError(
                f"{self.owner} statistics: got {self.statistics!r} for an operand that is not "
                "pruned, allowed is 'kept', as the others would change nothing; take kept, or add "
                "a sparsifier"
            )

    def check(self, in_features: int) -> None:
        """Refuse a width that is not whole groups.

        Raises:
            UsageError: `group_size` does not divide `in_features`.
        """
        if self.group_size is not None and in_features % self.group_size:
            raise UsageError(
                f"{self.owner} group_size {self.group_size}: got in_features {in_features}, "
                f"allowed are multiples of {self.group_size}; choose a group that divides the width"
            )

    def scale_bits(self, in_features: int) -> float:
        """16 (bf16) for each scale of a row of `in_features` values; nothing for one per tensor."""
        if self.scope == "tensor":
            return 0.0
        return SCALE_BITS * (1 if self.group_size is None else in_features / self.group_size)

    def split(self, y: Tensor) -> Tensor:
        """`y` with its groups as the last dimension; `y` itself without groups."""
        return y if self.group_size is None else y.reshape(*y.shape[:-1], -1, self.group_size)

    def join(self, y: Tensor) -> Tensor:
        """The inverse of `split`."""
        return y if self.group_size is None else y.flatten(-2)

    def spread(self, scale: Tensor) -> Tensor:
        """A tensor of one value per scope, made broadcastable to the operand."""
        if self.group_size is None:
            return scale
        return scale.expand(*scale.shape[:-1], self.group_size).flatten(-2)

    def dims(self, y: Tensor) -> list[int]:
        """The dimensions of split `y` that share a scale."""
        return [-1] if self.scope == "row" else list(range(y.dim()))

    def counted(self, y: Tensor, support: Tensor | None) -> Tensor:
        """`y` with zeros for what the statistics leave out."""
        if support is None or self.statistics == "dense":
            return y
        return y * support  # not `where`, see `zero_off`

    def absmax(self, y: Tensor, support: Tensor | None) -> Tensor:
        """The largest magnitude of each scope of split `y`."""
        return self.counted(y, support).abs().amax(self.dims(y), keepdim=True)

    def root_mean_square(self, y: Tensor, support: Tensor | None) -> Tensor:
        """The RMS of each scope of split `y`."""
        square, dims = self.counted(y, support).square(), self.dims(y)
        if support is not None and self.statistics == "kept":
            count = support.sum(dims, keepdim=True, dtype=torch.int32).clamp_(min=1)
            return (square.sum(dims, keepdim=True) / count).sqrt()
        return square.mean(dims, keepdim=True).sqrt()
