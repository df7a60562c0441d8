"""Bytes as tokens: no vocabulary to train or fetch."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from unified_laws.data.tokenizers.base import Encoder, Tokenizer

_END_OF_TEXT = 256


class ByteEncoder(Encoder):
    """Ids 0 to 255 are the bytes of UTF-8, 256 is end of text."""

    vocab_size = _END_OF_TEXT + 1
    end_of_text = _END_OF_TEXT
    content = json.dumps({"kind": "bytes", "end_of_text": _END_OF_TEXT}).encode()

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """The bytes of each text."""
        return [list(text.encode()) for text in texts]

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of bytes; broken characters at the ends are replaced."""
        return bytes(token for token in tokens if token != _END_OF_TEXT).decode(errors="replace")


@dataclass(frozen=True)
class Bytes(Tokenizer):
    """257 ids: every byte and end of text."""

    def describe(self) -> dict[str, Any]:
        """Only the kind: there is nothing to choose."""
        return {"kind": "bytes"}

    def build(self, texts: Callable[[], Iterator[str]]) -> Encoder:
        """The encoder; the texts are not looked at."""
        del texts
        return ByteEncoder()
