"""What every tokenizer can do, and the recipe that makes one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any


class Encoder(ABC):
    """A finished tokenizer: text to token ids and back.

    Attributes:
        vocab_size: number of ids; every id is below it.
        end_of_text: the id that follows each document.
        content: the bytes that define the tokenizer; saved as ``tokenizer.json`` in the store.
    """

    vocab_size: int
    end_of_text: int
    content: bytes

    @abstractmethod
    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, without any special token."""

    @abstractmethod
    def decode(self, tokens: Sequence[int]) -> str:
        """The text of token ids; special tokens are left out."""


class Tokenizer(ABC):
    """The recipe of a tokenizer: what a configuration names."""

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """What decides the tokenizer besides the training text, as JSON."""

    @abstractmethod
    def build(self, texts: Callable[[], Iterator[str]]) -> Encoder:
        """Make the tokenizer, from the training texts where it is trained.

        Raises:
            UsageError: the tokenizer cannot be had.
        """
