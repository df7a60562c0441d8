"""Tokenise a corpus once; every later call finds the tokens."""

from __future__ import annotations

import fcntl
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

from unified_laws.data.manifest import VERSION, Manifest
from unified_laws.data.pack import pack, token_dtype
from unified_laws.data.sources.base import Source
from unified_laws.data.store import TOKENIZER_FILE, TRAIN_FILE, VALIDATION_FILE, TokenStore
from unified_laws.data.tokenizers.base import Tokenizer
from unified_laws.errors import UsageError


def prepare(
    source: Source,
    tokenizer: Tokenizer,
    *,
    cache_dir: Path,
    val_fraction: float | None,
    max_tokens: int | None = None,
    max_val_tokens: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> TokenStore:
    """The token store of a source under a tokenizer: made at the first call, found at later ones.

    The folder's name is a hash of everything that decides the tokens. It is written under
    a temporary name and renamed when whole, so a store is never half-written. Of several processes
    one prepares and the others wait; where the file system has no locks all prepare the same bytes
    and the first to rename wins.

    Args:
        source: the documents.
        tokenizer: the recipe of the tokenizer.
        cache_dir: folder of all stores.
        val_fraction: fraction of the groups held out; None if the source has its own split.
        max_tokens: training tokens needed; stops at the document that goes beyond. A smaller
            store is a prefix of a larger one. None takes all.
        max_val_tokens: the same for validation.
        progress: called with the number of documents done, first of training, then of validation.

    Raises:
        UsageError: source or tokenizer cannot be had, the store is damaged, or the disk is full.
    """
    identity = {
        "version": VERSION,
        "source": source.describe(),
        "tokenizer": tokenizer.describe(),
        "val_fraction": val_fraction,
        "max_tokens": max_tokens,
        "max_val_tokens": max_val_tokens,
    }
    key = sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]
    folder = cache_dir / key
    if folder.exists():
        return TokenStore.open(folder)
    try:
        cache_dir.mkdir(parents=True, exist_ok=True)
        with _one_at_a_time(cache_dir / f".{key}.lock") as alone:
            if not folder.exists():
                if alone:
                    _remove_leftovers(folder)
                _make(folder, source, tokenizer, identity, progress)
    except OSError as error:
        raise UsageError(
            f"cannot write tokens to {cache_dir}: {error.strerror or error}; "
            "free space or choose another folder"
        ) from error
    return TokenStore.open(folder)


def _make(
    folder: Path,
    source: Source,
    tokenizer: Tokenizer,
    identity: dict[str, Any],
    progress: Callable[[int], None] | None,
) -> None:
    """Write a whole store under a temporary name, then give it its own."""
    split = source.split(identity["val_fraction"])
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        encoder = tokenizer.build(lambda: (document.text for document in split.train()))
        train = pack(
            split.train(),
            encoder,
            temporary / TRAIN_FILE,
            max_tokens=identity["max_tokens"],
            progress=progress,
        )
        validation = pack(
            split.validation(),
            encoder,
            temporary / VALIDATION_FILE,
            max_tokens=identity["max_val_tokens"],
            progress=progress,
        )
        for name, part in (("training", train), ("validation", validation)):
            if part.documents == 0:
                raise UsageError(f"no {name} documents in {identity['source']}; give more text")
        (temporary / TOKENIZER_FILE).write_bytes(encoder.content)
        Manifest(
            version=VERSION,
            dtype=token_dtype(encoder.vocab_size),
            vocab_size=encoder.vocab_size,
            end_of_text=encoder.end_of_text,
            train=train,
            validation=validation,
            tokenizer_sha256=sha256(encoder.content).hexdigest(),
            source=identity["source"],
            tokenizer=identity["tokenizer"],
        ).write(temporary)
        temporary.chmod(0o755)  # mkdtemp gives 0700; a cache is shared
        try:
            temporary.rename(folder)
        except OSError:
            if not folder.exists():  # otherwise another process was first, with the same bytes
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _remove_leftovers(folder: Path) -> None:
    """Remove what processes killed while making this store left beside it."""
    for left in folder.parent.glob(f".{folder.name}.*"):
        if left.is_dir():
            shutil.rmtree(left, ignore_errors=True)


@contextmanager
def _one_at_a_time(path: Path) -> Iterator[bool]:
    """Hold an exclusive lock; the kernel frees it when a process dies. False without locks."""
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError:  # a file system without locks: renaming still keeps the store whole
            yield False
            return
        yield True
