"""What quantizers with a trained step have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, final

import numpy as np
import torch
from torch import Tensor, nn

from unified_laws.compression.gaussian import Array, Spread
from unified_laws.compression.gradient.learned_step import LearnedStep
from unified_laws.compression.gradient.straight_through import StraightThrough
from unified_laws.compression.gradient.unclipped import Unclipped
from unified_laws.compression.projection import Learned, Projection, zero_off
from unified_laws.compression.quantizer.base import Quantizer
from unified_laws.compression.stage import Stage
from unified_laws.errors import UsageError


class LearnedQuantizer(Quantizer):
    """Levels step·(low, …, high) + offset of a whole operand, step and offset being trained.

    step = unit·|factor| and offset = origin + unit·shift. The buffers `unit`, `origin` and
    `initialised` are set once, by `begin`; the parameters `factor` (from 1) and `shift` (from 0)
    are trained. Until `begin`, as in a GMSE, unit and origin follow each operand.

    Args:
        bits: of an index.
        low: lowest index.
        high: highest index.
        shifts: whether there is an offset.

    Note:
        The papers train the step itself. Adam moves every parameter by about the learning rate,
        which for a step of 1e-3 would be its own size; the factor starts from 1.
    """

    unit: Tensor
    origin: Tensor
    initialised: Tensor

    def __init__(self, bits: int, *, low: int, high: int, shifts: bool) -> None:
        super().__init__()
        self._bits = bits
        self.low = low
        self.high = high
        self.factor = nn.Parameter(torch.ones(()))
        self.shift = nn.Parameter(torch.zeros(())) if shifts else None
        self.register_buffer("unit", torch.zeros(()))
        self.register_buffer("origin", torch.zeros(()))
        self.register_buffer("initialised", torch.zeros((), dtype=torch.bool))
        self.has_begun = False  # `initialised`, where asking costs nothing
        self.is_of_weight = False

    @abstractmethod
    def start(self, y: Tensor, support: Tensor | None) -> tuple[Tensor, Tensor]:
        """First step and offset for an operand (float32), scalars."""

    @abstractmethod
    def slope(self, position: Tensor, index: Tensor, inside: Tensor) -> Tensor:
        """The derivative of the value by the step.

        Args:
            position: (y - offset)/step.
            index: the level taken.
            inside: True where `position` is between the outermost levels.
        """

    @final
    @torch.no_grad()
    def begin(self, y: Tensor, support: Tensor | None, *, is_of_weight: bool) -> None:
        """Take step and offset from an encoded operand, and train them from here."""
        self.is_of_weight = is_of_weight
        if y.is_meta:
            return
        unit, origin = self.start(y.float(), support)
        self.unit.copy_(unit)
        self.origin.copy_(origin)
        self.initialised.fill_(True)
        self.has_begun = True

    def _load_from_state_dict(self, *arguments: Any) -> None:
        super()._load_from_state_dict(*arguments)
        self.has_begun = not self.initialised.is_meta and bool(self.initialised)

    def check(self, stages: Mapping[str, Stage]) -> None:
        """Refuse gradients that ask for a symmetric grid."""
        gradient = stages["gradient"]
        if not isinstance(gradient, LearnedStep | Unclipped | StraightThrough):
            raise UsageError(
                f"{type(self).__name__}: got the gradient {type(gradient).__name__}, allowed are "
                "learned_step, unclipped and straight_through; choose one of them"
            )

    @final
    def project(self, y: Tensor, support: Tensor | None) -> Projection:
        """The nearest level of each kept value; zero elsewhere. Computed in float32."""
        wide = y.float()
        unit, origin = (self.unit, self.origin) if self.has_begun else self.start(wide, support)
        step = unit * self.factor.abs()
        offset = origin if self.shift is None else origin + unit * self.shift
        position = (wide - offset) / torch.where(step > 0, step, 1.0)
        inside = (position > self.low) & (position < self.high)
        index = position.clamp(self.low, self.high).round_()
        value = (index * step + offset).to(y.dtype)
        slopes = [self.slope(position, index, inside) * (unit * self.factor.sign())]
        parameters = [self.factor]
        if self.shift is not None:
            parameters.append(self.shift)
            slopes.append(torch.where(inside, 0.0, unit))
        if support is not None:
            value = zero_off(value, support)
            slopes = [slope * support for slope in slopes]
        count = y.numel() if self.is_of_weight else y.shape[-1]
        learned = tuple(
            Learned(parameter, slope, levels=max(self.high, 1), count=count)
            for parameter, slope in zip(parameters, slopes, strict=True)
        )
        return Projection(value=value, limit=None, reach=None, inside=inside, learned=learned)

    @property
    def is_learned(self) -> bool:
        """True."""
        return True

    @property
    def kind(self) -> str:
        """Learned integer: biased, so that capacity saturates below 1 (arXiv:2506.01863)."""
        return "learned integer"

    @property
    def is_identity(self) -> bool:
        """False."""
        return False

    @property
    def bits(self) -> float:
        """The bits of an index."""
        return float(self._bits)

    def scale_bits(self, in_features: int) -> float:  # noqa: ARG002
        """0: one step for the whole operand."""
        return 0.0

    def _gaussian_levels(self, spread: Spread) -> Array | None:  # noqa: ARG002
        """The levels of the first step on N(0,1); None where it depends on the number of values."""
        return None

    def gaussian_values(self, y: Array, spread: Spread) -> Array | None:
        """The nearest level at the first step."""
        levels, edges = self._gaussian_levels(spread), self.gaussian_edges(spread)
        if levels is None or edges is None:
            return None
        found: Array = levels[np.searchsorted(edges, y)]
        return found

    def gaussian_edges(self, spread: Spread) -> tuple[float, ...] | None:
        """Midpoints of neighbouring levels at the first step."""
        levels = self._gaussian_levels(spread)
        if levels is None:
            return None
        return tuple(float(edge) for edge in (levels[1:] + levels[:-1]) / 2)

    def bind(self, in_features: int) -> LearnedQuantizer:  # noqa: ARG002
        """Itself: every width will do."""
        return self

    def extra_repr(self) -> str:
        """The width."""
        return f"bits={self._bits}"


def kept_mean(values: Tensor, support: Tensor | None) -> Tensor:
    """Mean over the kept values; 0 where nothing is kept."""
    if support is None:
        return values.mean()
    return torch.where(support, values, 0.0).sum() / support.sum().clamp(min=1)


def check_choice(owner: str, bits: int, lowest: int, init: str, allowed: tuple[str, ...]) -> None:
    """Refuse a width or a first step that is none.

    Raises:
        UsageError: bits outside lowest..8, or an unknown word.
    """
    if not isinstance(bits, int) or isinstance(bits, bool) or not lowest <= bits <= 8:
        raise UsageError(
            f"{owner} bits: got {bits!r}, allowed are whole numbers from {lowest} to 8; for one "
            "bit take the uniform quantizer, which has no zero"
        )
    if init not in allowed:
        raise UsageError(
            f"{owner} init: got {init!r}, allowed are {', '.join(map(repr, allowed))}; choose one "
            "of them"
        )
