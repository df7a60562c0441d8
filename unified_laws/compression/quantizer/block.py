"""What block formats have in common: small floats under a scale of few bits per block."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping

from torch import Tensor

from unified_laws.compression.float_grid import FloatGrid
from unified_laws.compression.gaussian import Array, Spread
from unified_laws.compression.projection import Projection, zero_off
from unified_laws.compression.quantizer.base import Quantizer
from unified_laws.compression.scaling import Scaling
from unified_laws.compression.stage import Stage
from unified_laws.errors import UsageError


class BlockQuantizer(Quantizer):
    """Splits rows into blocks, finds a scale for each, and rounds y/scale to `numbers`.

    Args:
        owner: what the errors call the quantizer.
        numbers: the element type.
        group_size: values of a block.
        scale: "absmax".
        statistics: see `Scaling`.

    Raises:
        UsageError: another scale, or an argument outside its range.
    """

    def __init__(
        self, owner: str, numbers: FloatGrid, group_size: int, scale: str, statistics: str
    ) -> None:
        super().__init__()
        if scale != "absmax":
            raise UsageError(
                f"{owner} scale: got {scale!r}, allowed is 'absmax', which the scale rule of the "
                "format is defined by; for an RMS clip take e2m1 or another exmy with group_size"
            )
        if group_size is None:
            raise UsageError(
                f"{owner} group_size: got null, allowed are whole numbers from 2; take the block "
                "of the format"
            )
        self.scaling = Scaling(
            owner=owner,
            rule=scale,
            scope="row",
            group_size=group_size,
            statistics=statistics,
            rms=None,
            search_steps=None,
            search_floor=None,
        )
        self.numbers = numbers
        self.group_size = group_size
        last_step = 2.0 ** (numbers.largest_exponent - numbers.mantissa_bits)
        self._reach = numbers.largest + last_step / 2

    @abstractmethod
    def quantize(self, blocks: Tensor, support: Tensor | None) -> tuple[Tensor, Tensor]:
        """The projection of `blocks` (..., blocks, group_size), and the scale of each block."""

    def project(self, y: Tensor, support: Tensor | None) -> Projection:
        """The nearest number of each kept value; zero elsewhere. Computed in float32."""
        wide = self.scaling.split(y.float())
        kept = None if support is None else self.scaling.split(support)
        blocks, scale = self.quantize(wide, kept)
        value = self.scaling.join(blocks).to(y.dtype)
        return Projection(
            value=zero_off(value, support),
            limit=self.scaling.spread(scale * self.numbers.largest),
            reach=self.scaling.spread(scale * self._reach),
        )

    def check(self, stages: Mapping[str, Stage]) -> None:
        """Refuse statistics that would change nothing."""
        self.scaling.check_sparsity(stages)

    @property
    def kind(self) -> str:
        """The kind of the elements."""
        return self.numbers.kind

    @property
    def is_identity(self) -> bool:
        """False."""
        return False

    @property
    def bits(self) -> float:
        """The bits of an element."""
        return float(self.numbers.bits)

    def scale_bits(self, in_features: int) -> float:
        """8 for each block."""
        return 8.0 * in_features / self.group_size

    def gaussian_values(self, y: Array, spread: Spread) -> Array | None:  # noqa: ARG002
        """None: the scale depends on the largest of the block."""
        return None

    def gaussian_edges(self, spread: Spread) -> tuple[float, ...] | None:  # noqa: ARG002
        """None."""
        return None

    def bind(self, in_features: int) -> BlockQuantizer:
        """Itself.

        Raises:
            UsageError: the blocks do not divide `in_features`.
        """
        self.scaling.check(in_features)
        return self
