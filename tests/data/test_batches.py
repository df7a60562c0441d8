"""Laws of the batches: a pure function of (seed, step, rank)."""

from __future__ import annotations

import pickle
from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch

from unified_laws.data.store import TRAIN_FILE, TokenStore
from unified_laws.data.windows import permutation, windows_at
from unified_laws.errors import UsageError

T = 64
RUN: dict[str, Any] = {"batch_size": 8, "seq_len": T, "num_tokens": 40 * 8 * T}
ALONE: dict[str, Any] = {"rank": 0, "world_size": 1}


def _file(store: TokenStore) -> np.ndarray[Any, np.dtype[np.uint16]]:
    return np.fromfile(store.folder / TRAIN_FILE, dtype="<u2")


def test_shapes_and_targets_are_inputs_one_token_later(store: TokenStore) -> None:
    inputs, targets = store.batch(seed=0, step=3, rank=1, world_size=2, **RUN)
    assert inputs.shape == targets.shape == (4, T)
    assert inputs.dtype == targets.dtype == torch.int64
    assert inputs.is_contiguous()
    assert targets.is_contiguous()
    assert torch.equal(inputs[:, 1:], targets[:, :-1])
    assert int(inputs.max()) < store.vocab_size == 512


def test_pure(store: TokenStore) -> None:
    first = store.batch(seed=1, step=7, **ALONE, **RUN)
    for step in (0, 39, 40, 100):
        store.batch(seed=1, step=step, **ALONE, **RUN)
    again = TokenStore.open(store.folder).batch(seed=1, step=7, **ALONE, **RUN)
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])


def test_a_resumed_run_goes_on_as_the_uninterrupted_one(store: TokenStore) -> None:
    whole = [store.batch(seed=2, step=step, **ALONE, **RUN)[0] for step in range(10)]
    permutation.cache_clear()
    reopened = pickle.loads(pickle.dumps(store))
    rest = [reopened.batch(seed=2, step=step, **ALONE, **RUN)[0] for step in range(6, 10)]
    assert all(torch.equal(a, b) for a, b in zip(whole[6:], rest, strict=True))


def test_a_pickled_store_carries_no_tokens(store: TokenStore) -> None:
    store.batch(seed=0, step=0, **ALONE, **RUN)
    assert len(pickle.dumps(store)) < 5000


@pytest.mark.parametrize("world_size", [1, 2, 4])
def test_ranks_partition_the_global_batch(store: TokenStore, world_size: int) -> None:
    for step in (0, 5, 41):  # 41 lies in the second epoch of the prefix
        alone, _ = store.batch(seed=3, step=step, **ALONE, **RUN)
        parts = [
            store.batch(seed=3, step=step, rank=rank, world_size=world_size, **RUN)[0]
            for rank in range(world_size)
        ]
        assert torch.equal(torch.cat(parts), alone)


def test_a_run_below_one_epoch_reads_exactly_the_prefix_each_window_once(store: TokenStore) -> None:
    rows = torch.cat([store.batch(seed=4, step=step, **ALONE, **RUN)[0] for step in range(40)])
    prefix = torch.from_numpy(_file(store)[: 320 * T].astype(np.int64)).reshape(320, T)
    assert Counter(map(tuple, rows.tolist())) == Counter(map(tuple, prefix.tolist()))


def test_each_token_is_a_target_once_per_epoch(store: TokenStore) -> None:
    count = (store.train_tokens - 1) // T
    seen = windows_at(seed=5, first=0, size=count, count=count)
    assert sorted(seen.tolist()) == list(range(count))
    longer = {"batch_size": count, "seq_len": T, "num_tokens": 2 * count * T}
    for step in range(2):
        _, targets = store.batch(seed=5, step=step, **ALONE, **longer)
        assert np.array_equal(
            np.sort(targets.numpy(), axis=None), np.sort(_file(store)[1 : count * T + 1])
        )


def test_a_batch_across_two_epochs_finishes_the_first(store: TokenStore) -> None:
    del store
    both = windows_at(seed=6, first=0, size=20, count=10)
    across = windows_at(seed=6, first=7, size=6, count=10)
    assert np.array_equal(across, both[7:13])
    assert sorted(both[:10]) == sorted(both[10:]) == list(range(10))
    assert not np.array_equal(both[:10], both[10:])


def test_seeds_give_other_orders_of_the_same_windows(store: TokenStore) -> None:
    del store
    one, two = permutation(0, 0, 1000), permutation(1, 0, 1000)
    assert not np.array_equal(one, two)
    assert np.array_equal(np.sort(one), np.sort(two))


def test_the_order_is_pinned() -> None:
    # golden: a change here changes every run (CHANGELOG, Numerics)
    assert permutation(0, 0, 8).tolist() == [5, 0, 6, 1, 7, 2, 4, 3]


def test_epochs_and_unique_tokens(store: TokenStore) -> None:
    epoch = (store.train_tokens - 1) // T * T
    assert store.epochs(epoch, T) == 1.0
    assert store.epochs(epoch // 4, T) == pytest.approx(0.25, rel=1e-3)
    assert store.unique_tokens(1000, T) == 1000
    assert store.unique_tokens(3 * epoch, T) == epoch


def test_validation_is_fixed_and_in_file_order(store: TokenStore) -> None:
    inputs, targets = store.validation(T)
    assert inputs.shape == targets.shape == ((store.val_tokens - 1) // T, T)
    assert torch.equal(inputs[1:, 0], targets[:-1, -1])
    few, _ = store.validation(T, max_tokens=5 * T + 1)
    assert torch.equal(few, inputs[:5])
    assert 2.0 < store.val_bytes_per_token < 2.5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"world_size": 3}, "batch_size 8 cannot be shared by 3 processes; .* multiple of 3"),
        ({"batch_size": 10**6}, "one step reads 1000000 sequences of 64 tokens, but .* allow 320"),
        ({"num_tokens": 10 * T**2, "seq_len": 10**6}, "needs 1000001, but train.bin .* has 6"),
    ],
)
def test_impossible_batches(store: TokenStore, change: dict[str, int], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        store.batch(**{"seed": 0, "step": 0, **ALONE, **RUN, **change})


def test_impossible_validation(store: TokenStore) -> None:
    with pytest.raises(UsageError, match="max_tokens 10 of validation is less than one sequence"):
        store.validation(T, max_tokens=10)
    with pytest.raises(UsageError, match=r"needs 1000001, but validation.bin .* has \d+"):
        store.validation(10**6)
