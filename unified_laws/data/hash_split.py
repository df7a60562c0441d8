"""Hash order and the validation split by hash: both depend on names only, never on a seed."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256

from unified_laws.data.document import Document
from unified_laws.data.sources.base import Split
from unified_laws.errors import UsageError


def hash_split(documents: Iterable[Document], val_fraction: float | None, name: str) -> Split:
    """Hold out the groups of smallest hash and put all documents in hash order.

    In hash order (sha256 of the id) any prefix is a random sample of the documents, so a run on
    fewer tokens sees a smaller sample of the same text. max(1, round(val_fraction · groups))
    groups are held out.

    Args:
        documents: all documents; they are held in memory.
        val_fraction: fraction of the groups to hold out, between 0 and 1.
        name: the source, for messages.

    Raises:
        UsageError: val_fraction is not in (0, 1), or one side has no group.
    """
    if val_fraction is None or not 0 < val_fraction < 1:
        raise UsageError(
            f"val_fraction of {name} is {val_fraction}; give a fraction between 0 and 1, e.g. 0.03"
        )
    ordered = sorted(documents, key=lambda document: sha256(document.id.encode()).digest())
    groups = sorted(
        {document.group for document in ordered},
        # salted: where id and group are equal, the split must not follow the order
        key=lambda group: sha256(b"validation:" + group.encode()).digest(),
    )
    count = max(1, round(val_fraction * len(groups)))
    if count >= len(groups):
        raise UsageError(
            f"{name} has {len(groups)} document(s) and val_fraction {val_fraction} holds out "
            f"{count}; at least one must be left on each side: give more documents "
            "(in a .txt file, separate them by a line <|endoftext|>) or a smaller val_fraction"
        )
    held_out = frozenset(groups[:count])
    train = [document for document in ordered if document.group not in held_out]
    validation = [document for document in ordered if document.group in held_out]
    return Split(train=lambda: iter(train), validation=lambda: iter(validation))
