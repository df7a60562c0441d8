"""RigL: connections that are dropped by magnitude and grown by gradient."""

from __future__ import annotations

from collections.abc import Mapping
from math import cos, pi
from typing import final

import torch
from torch import Tensor

from unified_laws.compression.gaussian import Array
from unified_laws.compression.pruning_schedule import check_interval
from unified_laws.compression.sparsifier.held import HeldSparsifier
from unified_laws.compression.sparsifier.magnitude import Magnitude
from unified_laws.compression.stage import Stage
from unified_laws.compression.transform.base import Transform
from unified_laws.errors import UsageError


@final
class RigL(HeldSparsifier):
    """A mask of round((1 - sparsity)·n) values that moves (Evci et al., arXiv:1911.11134 Alg. 1).

    Every `every` steps up to the share `stop` of training, the fraction
    f(t) = fraction/2·(1 + cos(π·t/T_stop)) of the kept values is dropped, the smallest magnitudes,
    and as many of the values without a connection are grown, the largest gradients; grown values
    that were pruned before start from zero. All pruned values get no update.

    Args:
        sparsity: fraction pruned, in (0, 1), of every tensor alike ("uniform" in the paper).
        every: ΔT (100 in the paper; arXiv:2506.01863 App. H also has 1).
        stop: last share of training with updates (.75 in both).
        fraction: α (.3 in the paper), in (0, 1].

    Raises:
        UsageError: an argument outside its range, a backward mask that hides the gradient of pruned
            values, or a transform that is not orthonormal.

    Note:
        The paper starts from a random mask. Here it is that of the largest initial weights, which
        sit at random places too, but are larger.

        The paper skips the optimizer step when the mask moves; here it follows, without the
        gradient of what is pruned, so that ΔT = 1 trains at all.
    """

    def __init__(self, sparsity: float, every: int, stop: float, fraction: float) -> None:
        super().__init__()
        self.like = Magnitude(sparsity=sparsity, scope="tensor")
        self.every = check_interval("RigL every", every)
        for name, value in (("stop", stop), ("fraction", fraction)):
            if not 0.0 < value <= 1.0:
                raise UsageError(
                    f"RigL {name}: got {value:g}, allowed are fractions above 0 and up to 1; the "
                    "paper has stop 0.75, fraction 0.3"
                )
        self.stop = float(stop)
        self.fraction = float(fraction)

    def check(self, stages: Mapping[str, Stage]) -> None:
        """Refuse stages that keep the gradient of pruned values away."""
        transform, mask = stages["transform"], stages["backward_mask"]
        if not mask.is_identity:
            raise UsageError(
                f"RigL: got the backward mask {type(mask).__name__}, allowed is the full one, "
                "because growth is by the gradient of pruned values; take backward_mask full"
            )
        if isinstance(transform, Transform) and not transform.is_orthonormal:
            raise UsageError(
                f"RigL: got the transform {type(transform).__name__}, allowed are orthonormal "
                "ones, which carry gradients as they carry values; take identity or hadamard"
            )

    def final_support(self, y: Tensor) -> Tensor:
        """The largest magnitudes; of ties any, so that the count is exact."""
        kept = round(self.kept_fraction * y.numel())
        return _at(y.abs().reshape(-1).topk(kept).indices, y)

    @property
    def wants_gradient(self) -> bool:
        """True."""
        return True

    def share(self, *, step: int, steps: int) -> float:
        """f(t): the share of kept values that is exchanged at a step; 0 between updates."""
        last = self.stop * steps
        if step == 0 or step % self.every or step >= last:
            return 0.0
        return self.fraction / 2 * (1.0 + cos(pi * step / last))

    def before_update(self, y: Tensor, gradient: Tensor, *, step: int, steps: int) -> Tensor | None:
        """Drop and grow; True where a value was pruned and is not any more."""
        mask = self.mask
        count = round(self.share(step=step, steps=steps) * round(self.kept_fraction * y.numel()))
        if mask is None or count == 0:
            return None
        magnitude = torch.where(mask, y.abs(), torch.inf).reshape(-1)
        remaining = mask & ~_at(magnitude.topk(count, largest=False).indices, y)
        score = torch.where(remaining, -1.0, gradient.abs()).reshape(-1)
        new = remaining | _at(score.topk(count).indices, y)
        grown = new & ~mask
        mask.copy_(new)
        return grown

    @property
    def is_identity(self) -> bool:
        """False."""
        return False

    @property
    def kept_fraction(self) -> float:
        """1 - sparsity."""
        return self.like.kept_fraction

    @property
    def mask_entropy_bits(self) -> float:
        """H2(sparsity)."""
        return self.like.mask_entropy_bits

    def keep_probability(self, magnitude: Array) -> Array | None:
        """That of `Magnitude`: the best that a mask of this size can be."""
        return self.like.keep_probability(magnitude)

    @property
    def by_rank(self) -> bool:
        """True."""
        return self.like.by_rank

    @property
    def breakpoints(self) -> tuple[float, ...]:
        """The threshold of `Magnitude`."""
        return self.like.breakpoints

    def bind(self, in_features: int) -> RigL:  # noqa: ARG002
        """Itself: every width will do."""
        return self

    def extra_repr(self) -> str:
        """The arguments."""
        return f"every={self.every}, stop={self.stop}, fraction={self.fraction}"


def _at(indices: Tensor, y: Tensor) -> Tensor:
    """True at flat indices of the shape of `y`."""
    flat = torch.zeros(y.numel(), dtype=torch.bool, device=y.device)
    return flat.index_fill_(0, indices, True).view(y.shape)
