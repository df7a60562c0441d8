"""Rows of files or of a dataset on the hub, through the ``datasets`` library, never stored."""

from __future__ import annotations

import glob
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any


def stream_files(builder: str, files: Sequence[Path], **options: Any) -> Iterator[dict[str, Any]]:
    """Rows of local files in the order given.

    Args:
        builder: how ``datasets`` reads them: "text", "json" or "parquet".
        files: existing files.
        options: of the builder.
    """
    # datasets takes names for patterns
    names = [glob.escape(str(file)) for file in files]
    return stream(builder, data_files=names, split="train", **options)


def stream(*what: str, **options: Any) -> Iterator[dict[str, Any]]:
    """Rows of ``datasets.load_dataset(*what, **options)``, read as they are asked for.

    Raises:
        Exception: of many kinds, the library's and its builders' own; see `reason`.
    """
    from datasets import load_dataset

    # streaming stores no rows, but would leave a lock file per call in the home folder
    with TemporaryDirectory() as scratch:
        rows = load_dataset(*what, streaming=True, cache_dir=scratch, **options)
    yield from rows


def reason(error: Exception) -> str:
    """The first line of an error, or its name where it says nothing."""
    lines = str(error).splitlines()
    return lines[0] if lines else type(error).__name__
