"""What is in a token store, as the file beside the tokens says it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from unified_laws.errors import UsageError
from unified_laws.records.files import read_json, write_json

VERSION = 1  # raised when the same source and tokenizer would give other tokens
FILE = "manifest.json"


@dataclass(frozen=True)
class Part:
    """One flat file of tokens.

    Attributes:
        tokens: number of tokens, end-of-text tokens included.
        documents: number of documents.
        text_bytes: bytes of UTF-8 text that became the tokens.
        sha256: of the file.
    """

    tokens: int
    documents: int
    text_bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """Content of ``manifest.json``.

    Attributes:
        version: of the numerics: packing, order and split.
        dtype: of the token files, little-endian: "uint16" or "uint32".
        vocab_size: every token is below it.
        end_of_text: the token after each document.
        train: the training tokens.
        validation: the validation tokens.
        tokenizer_sha256: of the content of the tokenizer.
        source: description of the source.
        tokenizer: description of the tokenizer's recipe.
    """

    version: int
    dtype: str
    vocab_size: int
    end_of_text: int
    train: Part
    validation: Part
    tokenizer_sha256: str
    source: dict[str, Any]
    tokenizer: dict[str, Any]

    def write(self, folder: Path) -> None:
        """Write ``manifest.json`` into a folder."""
        write_json(folder / FILE, asdict(self))

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """Read ``manifest.json`` of a folder.

        Raises:
            UsageError: it is missing or damaged.
        """
        try:
            content = read_json(folder / FILE)
            content["train"] = Part(**content["train"])
            content["validation"] = Part(**content["validation"])
            return cls(**content)
        except (TypeError, KeyError, UsageError) as error:
            raise UsageError(
                f"{folder} is not a whole token store ({error}); "
                f"delete the folder {folder} and run again"
            ) from error
