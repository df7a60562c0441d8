"""C4, the web text of the paper's runs, streamed from the Hugging Face hub or local shards."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from unified_laws.data.document import Document
from unified_laws.data.sources.base import Source, Split
from unified_laws.data.sources.files import matching_files
from unified_laws.data.sources.stream import reason, stream, stream_files
from unified_laws.errors import UsageError

_SPLITS = ("train", "validation")


@dataclass(frozen=True)
class C4(Source):
    """Documents in the order of the stream; its own validation split is the held-out part.

    C4 was shuffled when it was made, so a prefix is a random sample. Only as many documents are
    read as `prepare` needs for its ``max_tokens``.

    Note: tested against local shards of C4's format (json.gz with text, timestamp, url). Streaming
    from the hub uses the same call of ``datasets`` but has not been run.

    Attributes:
        path: dataset on the hub.
        name: its configuration, e.g. "en".
        revision: commit of the dataset.
        data_files: local shards instead of the hub: {"train": …, "validation": …}, each a file,
            folder, pattern or list; None streams from the hub.
    """

    path: str
    name: str
    revision: str
    data_files: Mapping[str, str | Sequence[str]] | None

    def describe(self) -> dict[str, Any]:
        """Dataset and commit; for local shards their names and sizes, for they are too large."""
        if self.data_files is None:
            return {"kind": "c4", "path": self.path, "name": self.name, "revision": self.revision}
        shards = {
            part: [[file.name, file.stat().st_size] for file in self._shards(part)]
            for part in _SPLITS
        }
        return {"kind": "c4", "shards": shards}

    def split(self, val_fraction: float | None) -> Split:
        """C4's own splits.

        Raises:
            UsageError: a val_fraction is given.
        """
        if val_fraction is not None:
            raise UsageError(
                f"val_fraction {val_fraction} is set, but C4 has a validation split of its own; "
                "set val_fraction to null"
            )
        return Split(
            train=partial(self._documents, "train"),
            validation=partial(self._documents, "validation"),
        )

    def _documents(self, part: str) -> Iterator[Document]:
        try:
            if self.data_files is None:
                rows = stream(self.path, self.name, split=part, revision=self.revision)
            else:
                rows = stream_files("json", self._shards(part))
            for row in rows:
                if not {"text", "url"} <= row.keys():
                    raise UsageError(
                        f"{part} documents of C4 need the columns text and url, got "
                        f"{', '.join(sorted(row))}; for other text choose data=text"
                    )
                yield Document(id=row["url"], group=row["url"], text=row["text"])
        except UsageError:
            raise
        except Exception as error:  # the hub, gzip and JSON raise errors of their own
            where = f"{self.path} ({self.name})" if self.data_files is None else "local C4 shards"
            raise UsageError(
                f"cannot read {part} documents of {where}: {reason(error)}; check the network, "
                "or set data_files.train and data_files.validation to local .json.gz shards of C4"
            ) from error

    def _shards(self, part: str) -> list[Path]:
        assert self.data_files is not None
        if part not in self.data_files:
            raise UsageError(
                f"data_files of C4 has {', '.join(sorted(self.data_files)) or 'nothing'}; "
                "give both train and validation"
            )
        return matching_files(self.data_files[part], [".json.gz", ".json", ".jsonl"])
