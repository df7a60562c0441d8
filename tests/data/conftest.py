"""One small corpus, prepared once for all tests of the data."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from unified_laws.data.prepare import prepare
from unified_laws.data.sources.local import LocalText
from unified_laws.data.store import TokenStore
from unified_laws.data.tokenizers.byte_level_bpe import ByteLevelBPE

SOTU_TINY = Path(__file__).parent / "sotu_tiny.txt"


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "false")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def tiny_text() -> LocalText:
    return LocalText(path=str(SOTU_TINY), field="text", passage_chars=2000)


@pytest.fixture(scope="session")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def store(tiny_text: LocalText, cache_dir: Path) -> TokenStore:
    return prepare(tiny_text, ByteLevelBPE(vocab_size=512), cache_dir=cache_dir, val_fraction=0.05)
