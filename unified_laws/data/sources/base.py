"""What every source of documents can do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from unified_laws.data.document import Document


@dataclass(frozen=True)
class Split:
    """Training and validation documents; each call starts again from the first document."""

    train: Callable[[], Iterator[Document]]
    validation: Callable[[], Iterator[Document]]


class Source(ABC):
    """Documents, and the rule by which some of them are held out for validation."""

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """What decides the documents, as JSON: a part of the key under which tokens are cached.

        Local content is described by its sha256, so moving a file prepares nothing anew.

        Raises:
            UsageError: the source is not there.
        """

    @abstractmethod
    def split(self, val_fraction: float | None) -> Split:
        """Training and validation documents, disjoint by group.

        Args:
            val_fraction: fraction of the groups held out; None where the source has its own
                validation split.

        Raises:
            UsageError: nothing to read, or one side would be empty.
        """


def read_documents(dataset: Any) -> Iterator[Document]:
    """Documents of a ``datasets`` iterable with the columns id, group and text."""
    for row in dataset:
        yield Document(id=row["id"], group=row["group"], text=row["text"])
