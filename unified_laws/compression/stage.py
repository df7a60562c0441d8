"""What every stage of a compressor shares: it binds to a width and knows whether it acts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

from torch import nn


class Stage(nn.Module, ABC):
    """One step of a compressor: a module, so that a learned stage may own parameters.

    Most stages own neither parameter nor buffer: `state_dict` of a compressed model then has the
    same keys as that of the plain one.
    """

    @property
    @abstractmethod
    def is_identity(self) -> bool:
        """Whether the stage leaves every tensor as it is."""

    @abstractmethod
    def bind(self, in_features: int) -> Stage:
        """The same stage made concrete for operands whose last dimension is `in_features`.

        Raises:
            UsageError: the stage cannot work at this width.
        """

    def check(self, stages: Mapping[str, Stage]) -> None:
        """Refuse the other stages of the operand, by name, that this one cannot work with.

        Raises:
            UsageError: the combination means nothing.
        """
