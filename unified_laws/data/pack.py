"""Documents to one flat file of tokens."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from hashlib import sha256
from itertools import islice
from pathlib import Path

import numpy as np

from unified_laws.data.document import Document
from unified_laws.data.manifest import Part
from unified_laws.data.tokenizers.base import Encoder

_TOGETHER = 256  # documents encoded in one call, so that the library can use all cores


def token_dtype(vocab_size: int) -> str:
    """The smallest of uint16 and uint32 that holds every token."""
    return "uint16" if vocab_size <= 1 << 16 else "uint32"


def pack(
    documents: Iterable[Document],
    encoder: Encoder,
    path: Path,
    *,
    max_tokens: int | None,
    progress: Callable[[int], None] | None,
) -> Part:
    """Write the tokens of the documents, each followed by end of text, to one flat file.

    Args:
        documents: in the order in which they will lie.
        encoder: the tokenizer.
        path: the file to write; it must not be in use.
        max_tokens: stop after the document that goes beyond so many tokens; None takes all.
        progress: called with the number of documents written so far.

    Returns:
        Counts and checksum of the file.
    """
    dtype = np.dtype(token_dtype(encoder.vocab_size)).newbyteorder("<")
    digest = sha256()
    tokens = count = text_bytes = 0
    stream = iter(documents)
    with path.open("wb") as file:
        while (max_tokens is None or tokens <= max_tokens) and (
            block := list(islice(stream, _TOGETHER))
        ):
            for document, ids in zip(
                block, encoder.encode([document.text for document in block]), strict=True
            ):
                content = np.array([*ids, encoder.end_of_text], dtype=dtype).tobytes()
                file.write(content)
                digest.update(content)
                tokens += len(ids) + 1
                count += 1
                text_bytes += len(document.text.encode())
                if max_tokens is not None and tokens > max_tokens:
                    break
            if progress is not None:
                progress(count)
    return Part(tokens=tokens, documents=count, text_bytes=text_bytes, sha256=digest.hexdigest())
