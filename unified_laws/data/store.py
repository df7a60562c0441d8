"""Tokens on disk, and the batches read from them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unified_laws.data.manifest import Manifest, Part
from unified_laws.data.windows import gather, windows_at
from unified_laws.errors import UsageError

TRAIN_FILE = "train.bin"
VALIDATION_FILE = "validation.bin"
TOKENIZER_FILE = "tokenizer.json"


@dataclass(frozen=True)
class TokenStore:
    """Packed tokens of one corpus under one tokenizer. Made by `prepare`, read by `open`.

    Documents lie one after another, each followed by the end-of-text token. A window is
    ``seq_len + 1`` tokens (inputs and the targets one token later), the stride is ``seq_len``, so
    each token is a target once per epoch. Windows do not respect document boundaries.

    Attributes:
        folder: where the files are.
        manifest: what they hold.
    """

    folder: Path
    manifest: Manifest

    @classmethod
    def open(cls, folder: Path) -> TokenStore:
        """Open a prepared folder.

        Raises:
            UsageError: the folder is no store, or a file does not have the size it should have.
        """
        store = cls(folder=folder, manifest=Manifest.read(folder))
        for name, part in store._parts().items():
            path = folder / name
            wanted = part.tokens * np.dtype(store.manifest.dtype).itemsize
            found = path.stat().st_size if path.exists() else 0
            if found != wanted:
                raise UsageError(
                    f"{path} has {found} bytes where its manifest says {wanted}; "
                    f"it was damaged: delete the folder {folder} and run again"
                )
        return store

    @property
    def vocab_size(self) -> int:
        """Every token is below it."""
        return self.manifest.vocab_size

    @property
    def train_tokens(self) -> int:
        """Number of training tokens."""
        return self.manifest.train.tokens

    @property
    def val_tokens(self) -> int:
        """Number of validation tokens."""
        return self.manifest.validation.tokens

    @property
    def val_bytes_per_token(self) -> float:
        """Bytes of validation text per token: bits per byte = nats / ln 2 / this."""
        return self.manifest.validation.text_bytes / self.manifest.validation.tokens

    def unique_tokens(self, num_tokens: int, seq_len: int) -> int:
        """Number of different target tokens a run of ``num_tokens`` tokens sees."""
        return min(num_tokens, self._windows(TRAIN_FILE, seq_len) * seq_len)

    def epochs(self, num_tokens: int, seq_len: int) -> float:
        """How many times a run of ``num_tokens`` tokens passes over the training tokens."""
        return num_tokens / (self._windows(TRAIN_FILE, seq_len) * seq_len)

    def batch(
        self,
        *,
        seed: int,
        step: int,
        rank: int,
        world_size: int,
        batch_size: int,
        seq_len: int,
        num_tokens: int,
    ) -> tuple[Tensor, Tensor]:
        """The rank's part of one training step: a pure function of its arguments.

        A run of less than one epoch reads exactly the first ceil(num_tokens / seq_len) windows of
        the file, each once, in an order given by the seed; a longer run reads all windows, in a
        new order each epoch. The batch of all ranks together does not depend on ``world_size``.

        Args:
            seed: seed of the order, ≥ 0.
            step: number of the step, from 0; resuming needs nothing else.
            rank: of the process, from 0.
            world_size: number of processes; divides ``batch_size``.
            batch_size: sequences per step over all processes.
            seq_len: tokens per sequence.
            num_tokens: tokens of the whole run (batch_size · seq_len · steps).

        Returns:
            Inputs and targets, int64, each of shape [batch_size // world_size, seq_len].

        Raises:
            UsageError: the batch cannot be divided, or run or corpus are smaller than one batch.
        """
        assert 0 <= rank < world_size, (rank, world_size)
        if batch_size % world_size:
            raise UsageError(
                f"batch_size {batch_size} cannot be shared by {world_size} processes; "
                f"choose a multiple of {world_size}"
            )
        count = min(-(-num_tokens // seq_len), self._windows(TRAIN_FILE, seq_len))
        if batch_size > count:
            raise UsageError(
                f"one step reads {batch_size} sequences of {seq_len} tokens, but num_tokens "
                f"{num_tokens} and the corpus of {self.train_tokens} training tokens allow {count};"
                " choose a smaller batch_size or seq_len, more num_tokens, or a larger corpus"
            )
        size = batch_size // world_size
        first = step * batch_size + rank * size
        windows = windows_at(seed=seed, first=first, size=size, count=count)
        return _inputs_and_targets(gather(self._tokens(TRAIN_FILE), windows, seq_len))

    def validation(self, seq_len: int, max_tokens: int | None = None) -> tuple[Tensor, Tensor]:
        """Fixed validation windows in file order.

        Args:
            seq_len: tokens per sequence.
            max_tokens: read at most so many target tokens; None reads all.

        Returns:
            Inputs and targets, int64, each of shape [n, seq_len].

        Raises:
            UsageError: ``max_tokens`` or the validation tokens are less than one window.
        """
        count = self._windows(VALIDATION_FILE, seq_len)
        if max_tokens is not None:
            count = min(count, max_tokens // seq_len)
        if count < 1:
            raise UsageError(
                f"max_tokens {max_tokens} of validation is less than one sequence of {seq_len} "
                "tokens; choose more, or null for all"
            )
        windows = np.arange(count, dtype=np.int64)
        return _inputs_and_targets(gather(self._tokens(VALIDATION_FILE), windows, seq_len))

    def _parts(self) -> dict[str, Part]:
        return {TRAIN_FILE: self.manifest.train, VALIDATION_FILE: self.manifest.validation}

    def _windows(self, name: str, seq_len: int) -> int:
        """Number of whole windows in a file, at least 1."""
        tokens = self._parts()[name].tokens
        if tokens < seq_len + 1:
            raise UsageError(
                f"a sequence of {seq_len} tokens needs {seq_len + 1}, but {name} in {self.folder} "
                f"has {tokens}; choose a smaller seq_len or a larger corpus"
            )
        return (tokens - 1) // seq_len

    def _tokens(self, name: str) -> NDArray[np.uint16] | NDArray[np.uint32]:
        return _open_tokens(self.folder / name, self.manifest.dtype)


@lru_cache(maxsize=8)  # outside of the store, so that a pickled store carries no tokens
def _open_tokens(path: Path, dtype: str) -> NDArray[np.uint16] | NDArray[np.uint32]:
    return np.memmap(path, dtype=np.dtype(dtype).newbyteorder("<"), mode="r")


def _inputs_and_targets(windows: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
    """[n, seq_len + 1] → two contiguous tensors [n, seq_len]."""
    tokens = torch.from_numpy(windows)
    return tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous()
