"""A tokenizer from a local ``tokenizer.json``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from unified_laws.data.tokenizers.base import Encoder, Tokenizer
from unified_laws.data.tokenizers.library import LibraryEncoder
from unified_laws.errors import UsageError


@dataclass(frozen=True)
class TokenizerFile(Tokenizer):
    """The tokenizer saved in a file by the ``tokenizers`` library.

    Attributes:
        path: of the ``tokenizer.json``.
        end_of_text: the token that ends a document, as written in its vocabulary.
    """

    path: str
    end_of_text: str

    def describe(self) -> dict[str, Any]:
        """The sha256 of the file and the end-of-text token."""
        return {
            "kind": "file",
            "sha256": sha256(self._content()).hexdigest(),
            "end_of_text": self.end_of_text,
        }

    def build(self, texts: Callable[[], Iterator[str]]) -> Encoder:
        """Read the file; the texts are not looked at."""
        del texts
        return LibraryEncoder(self._content(), self.end_of_text, self.path)

    def _content(self) -> bytes:
        try:
            return Path(self.path).expanduser().read_bytes()
        except OSError as error:
            raise UsageError(
                f"cannot read the tokenizer {self.path}: {error.strerror}; "
                "give the path of a tokenizer.json"
            ) from error
