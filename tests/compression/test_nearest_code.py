"""The nearest code of a vector, by however many threads."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from unified_laws.compression.grids import nearest
from unified_laws.compression.grids.nearest import nearest_code


@pytest.fixture(autouse=True)
def threads_as_before() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_any_number_of_threads_finds_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nearest, "SCORES", 256)  # many chunks, the last of them short
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(1003, 2, generator=generator)
    codes = torch.randn(16, 2, generator=generator)
    distance = (vectors[:, None] - codes[None]).square().sum(2)
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        found = nearest_code(vectors, codes)
        assert torch.equal(found, distance.argmin(1))
        assert torch.get_num_threads() == threads


def test_what_goes_wrong_in_a_thread_is_raised() -> None:
    torch.set_num_threads(2)
    with pytest.raises(RuntimeError, match="shapes"):
        nearest_code(torch.ones(4, 3), torch.ones(2, 2))
    assert torch.get_num_threads() == 2
