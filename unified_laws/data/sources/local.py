"""Text of one's own: plain text, JSON lines or Parquet."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import chain
from pathlib import Path
from typing import Any

from unified_laws.data.document import Document, passages
from unified_laws.data.hash_split import hash_split
from unified_laws.data.sources.base import Source, Split
from unified_laws.data.sources.files import matching_files
from unified_laws.data.sources.stream import reason, stream_files
from unified_laws.errors import UsageError

# extension → builder of `datasets`
_BUILDERS = {
    ".txt": "text",
    ".jsonl": "json",
    ".json": "json",
    ".jsonl.gz": "json",
    ".json.gz": "json",
    ".parquet": "parquet",
}
_SEPARATOR = re.compile(r"^<\|endoftext\|>[ \t]*\r?$", re.MULTILINE)


@dataclass(frozen=True)
class LocalText(Source):
    """Documents in local files, held in memory while they are prepared.

    A .txt file holds documents separated by lines ``<|endoftext|>``, or is one document; a row of
    the other kinds is one document. Documents are named by the hash of their text: the same texts
    give the same tokens from any kind and number of files, and copies of a text are never on both
    sides of the split.

    Attributes:
        path: a file, a folder, a glob pattern, or a list of these.
        field: the column that holds the text (.txt files have none).
        passage_chars: documents are cut at blank lines into passages of about so many characters,
            so that a prefix of the corpus is a random sample; None keeps them whole.
    """

    path: str | Sequence[str]
    field: str
    passage_chars: int | None

    def describe(self) -> dict[str, Any]:
        """The sha256 of each file (whatever its name), and how it is read."""
        files = matching_files(self.path, list(_BUILDERS))
        return {
            "kind": "local",
            "sha256": sorted(_digest(file) for file in files),
            "builders": sorted({_builder(file) for file in files}),
            "field": self.field,
            "passage_chars": self.passage_chars,
        }

    def split(self, val_fraction: float | None) -> Split:
        """Split by document, before it is cut into passages; see `hash_split`."""
        files = matching_files(self.path, list(_BUILDERS))
        builders = sorted({_builder(file) for file in files})
        texts = chain.from_iterable(
            self._texts(builder, [file for file in files if _builder(file) == builder])
            for builder in builders
        )
        documents = [document for text in texts for document in self._documents(text)]
        if not documents:
            raise UsageError(f"no text in {self.path}: all documents are empty")
        return hash_split(documents, val_fraction, str(self.path))

    def _texts(self, builder: str, files: list[Path]) -> Iterator[str]:
        """The text of each row, or of each .txt file."""
        column = "text" if builder == "text" else self.field
        options = {"sample_by": "document"} if builder == "text" else {}
        try:
            rows = stream_files(builder, files, **options)
            for number, row in enumerate(rows):
                if column not in row:
                    raise UsageError(
                        f"no column {column!r} in {self.path}; the columns are "
                        f"{', '.join(sorted(row))}: set field to the one that holds the text"
                    )
                if not isinstance(row[column], str):
                    raise UsageError(
                        f"row {number} of {self.path} has {row[column]!r} in column {column!r} "
                        "where text is expected; mend the file or set field to another column"
                    )
                yield row[column]
        except UsageError:
            raise
        except Exception as error:  # each builder raises errors of its own
            raise UsageError(
                f"cannot read {self.path} as {builder}: {reason(error)}; mend the file"
            ) from error

    def _documents(self, text: str) -> Iterator[Document]:
        for whole in _SEPARATOR.split(text):
            stripped = whole.strip()
            if not stripped:
                continue
            name = sha256(stripped.encode()).hexdigest()[:32]
            for number, passage in enumerate(passages(stripped, self.passage_chars)):
                yield Document(id=f"{name}#{number}", group=name, text=passage)


def _builder(file: Path) -> str:
    return next(builder for end, builder in _BUILDERS.items() if file.name.endswith(end))


def _digest(file: Path) -> str:
    """The sha256 of a file; plain text must be UTF-8."""
    digest = sha256()
    decoder = codecs.getincrementaldecoder("utf-8")()
    plain = file.suffix in (".txt", ".jsonl", ".json")
    with file.open("rb") as content:
        while block := content.read(1 << 20):
            digest.update(block)
            if plain:
                _decode(decoder, block, file, final=False)
        if plain:
            _decode(decoder, b"", file, final=True)
    return digest.hexdigest()


def _decode(decoder: codecs.IncrementalDecoder, block: bytes, file: Path, *, final: bool) -> None:
    try:
        decoder.decode(block, final)
    except UnicodeDecodeError as error:
        raise UsageError(
            f"{file} is not UTF-8 ({error.reason}); convert it, "
            "e.g. iconv -f latin1 -t utf-8 OLD > NEW"
        ) from error
