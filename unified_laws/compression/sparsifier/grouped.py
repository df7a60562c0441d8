"""What N:M sparsifiers have in common: so many values of every group are kept."""

from __future__ import annotations

from math import comb, log2

from unified_laws.compression.sparsifier.base import Sparsifier
from unified_laws.errors import UsageError


class GroupSparsifier(Sparsifier):
    """Keeps `kept` of every `group` consecutive values of the last dimension, in whole tuples.

    Args:
        owner: what the errors call the sparsifier.
        kept: N of N:M.
        group: M of N:M, a divisor of in_features.
        tuple_size: neighbours that are kept or pruned together, 1 or 2; divides both.

    Raises:
        UsageError: not 0 < kept < group, or a number of no whole tuples.
    """

    def __init__(self, owner: str, kept: int, group: int, tuple_size: int) -> None:
        super().__init__()
        numbers = (kept, group)
        whole = all(isinstance(n, int) and n % tuple_size == 0 for n in numbers)
        if not (whole and 0 < kept < group):
            kind = "whole numbers" if tuple_size == 1 else "even numbers"
            raise UsageError(
                f"{owner} sparsity: got {kept!r}:{group!r}, allowed are {kind} with "
                f"0 < kept < group; for example kept {2 * tuple_size}, group {4 * tuple_size}"
            )
        self.owner = owner
        self.kept = kept
        self.group = group
        self.tuple_size = tuple_size

    @property
    def is_identity(self) -> bool:
        """False."""
        return False

    @property
    def kept_fraction(self) -> float:
        """N/M."""
        return self.kept / self.group

    @property
    def mask_entropy_bits(self) -> float:
        """log2(M choose N)/M, of tuples."""
        return log2(comb(self.group // self.tuple_size, self.kept // self.tuple_size)) / self.group

    @property
    def breakpoints(self) -> tuple[float, ...]:
        """None: the probability is smooth."""
        return ()

    def bind(self, in_features: int) -> GroupSparsifier:
        """Itself, if the groups fit.

        Raises:
            UsageError: `group` does not divide `in_features`.
        """
        if in_features % self.group != 0:
            raise UsageError(
                f"{self.owner} sparsity {self.kept}:{self.group}: got in_features {in_features}, "
                f"allowed are multiples of {self.group}; change the width or the group"
            )
        return self

    def extra_repr(self) -> str:
        """The arguments."""
        return f"kept={self.kept}, group={self.group}"
