"""Laws of preparation: the same bytes always, whole or not at all, once."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from unified_laws.data.document import Document
from unified_laws.data.pack import token_dtype
from unified_laws.data.prepare import prepare
from unified_laws.data.sources.base import Source, Split
from unified_laws.data.sources.c4 import C4
from unified_laws.data.sources.local import LocalText
from unified_laws.data.store import TOKENIZER_FILE, TRAIN_FILE, VALIDATION_FILE, TokenStore
from unified_laws.data.tokenizers.byte_level_bpe import END_OF_TEXT, ByteLevelBPE
from unified_laws.data.tokenizers.plain_bytes import Bytes
from unified_laws.data.tokenizers.tokenizer_file import TokenizerFile
from unified_laws.errors import UsageError


@dataclass(frozen=True)
class Letters(Source):
    """Ten training documents and two held out; breaks after ``breaks_at`` of them."""

    breaks_at: int | None = None

    def describe(self) -> dict[str, Any]:
        return {"kind": "letters"}

    def split(self, val_fraction: float | None) -> Split:
        del val_fraction
        return Split(train=self._train, validation=lambda: iter([_document(k) for k in (10, 11)]))

    def _train(self) -> Iterator[Document]:
        for k in range(10):
            if k == self.breaks_at:
                raise RuntimeError("killed")
            yield _document(k)


def _document(k: int) -> Document:
    return Document(id=str(k), group=str(k), text="abcdefghijkl"[k] * 9)


def _prepare(cache_dir: Path, source: Source | None = None, **options: Any) -> TokenStore:
    return prepare(source or Letters(), Bytes(), cache_dir=cache_dir, val_fraction=0.1, **options)


def test_the_file_is_documents_each_followed_by_end_of_text(tmp_path: Path) -> None:
    store = _prepare(tmp_path)
    tokens = np.fromfile(store.folder / TRAIN_FILE, dtype="<u2")
    assert tokens.tolist() == [t for k in range(10) for t in [*_document(k).text.encode(), 256]]
    part = store.manifest.train
    assert (part.tokens, part.documents, part.text_bytes) == (100, 10, 90)
    assert part.sha256 == sha256((store.folder / TRAIN_FILE).read_bytes()).hexdigest()
    assert store.val_bytes_per_token == 0.9
    assert store.manifest.vocab_size == 257


def test_the_same_bytes_every_time(store: TokenStore, tiny_text: LocalText, tmp_path: Path) -> None:
    again = prepare(tiny_text, ByteLevelBPE(vocab_size=512), cache_dir=tmp_path, val_fraction=0.05)
    assert again.manifest == store.manifest
    assert again.folder.name == store.folder.name
    for name in (TRAIN_FILE, VALIDATION_FILE, TOKENIZER_FILE, "manifest.json"):
        assert (again.folder / name).read_bytes() == (store.folder / name).read_bytes()
    content = (store.folder / TOKENIZER_FILE).read_bytes()
    assert sha256(content).hexdigest() == store.manifest.tokenizer_sha256


def test_decoded_tokens_are_the_text(store: TokenStore, tiny_text: LocalText) -> None:
    path = str(store.folder / TOKENIZER_FILE)
    encoder = TokenizerFile(path=path, end_of_text=END_OF_TEXT).build(lambda: iter(()))
    tokens = np.fromfile(store.folder / VALIDATION_FILE, dtype="<u2")
    ends = np.flatnonzero(tokens == store.manifest.end_of_text)
    texts = [encoder.decode(part[:-1].tolist()) for part in np.split(tokens, ends + 1)[:-1]]
    assert texts == [document.text for document in tiny_text.split(0.05).validation()]


def test_the_second_call_reads_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = _prepare(tmp_path)
    monkeypatch.setattr(Letters, "split", lambda *_: pytest.fail("prepared twice"))
    assert _prepare(tmp_path) == first


def test_other_choices_other_folders(tmp_path: Path) -> None:
    folders = {
        _prepare(tmp_path).folder,
        _prepare(tmp_path, max_tokens=5).folder,
        _prepare(tmp_path, max_val_tokens=5).folder,
        prepare(Letters(), Bytes(), cache_dir=tmp_path, val_fraction=0.2).folder,
    }
    assert len(folders) == 4


@pytest.mark.parametrize(("limit", "documents"), [(1, 1), (9, 1), (10, 2), (50, 6), (1000, 10)])
def test_a_limit_keeps_a_prefix_one_token_longer(
    tmp_path: Path, limit: int, documents: int
) -> None:
    whole = (_prepare(tmp_path).folder / TRAIN_FILE).read_bytes()
    store = _prepare(tmp_path, max_tokens=limit)
    assert store.manifest.train.documents == documents
    assert whole.startswith((store.folder / TRAIN_FILE).read_bytes())
    assert store.manifest.train.text_bytes == 9 * documents


def test_progress_counts_documents(tmp_path: Path) -> None:
    seen: list[int] = []
    _prepare(tmp_path, progress=seen.append)
    assert seen == [10, 2]


def test_killed_half_way_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="killed"):
        _prepare(tmp_path, Letters(breaks_at=7))
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == []
    assert _prepare(tmp_path).manifest.train.documents == 10


def test_a_temporary_folder_left_by_a_kill_is_no_store_and_goes(tmp_path: Path) -> None:
    whole = _prepare(tmp_path)
    left = tmp_path / f".{whole.folder.name}.abc"
    whole.folder.rename(left)
    (left / TRAIN_FILE).write_bytes(b"half")
    other = tmp_path / ".0123456789abcdef.abc"  # of a store that another process may be making
    other.mkdir()
    assert _prepare(tmp_path).manifest == whole.manifest
    assert not left.exists()
    assert other.exists()


_ONE_OF_MANY = """
import sys
from pathlib import Path
from unified_laws.data.prepare import prepare
from unified_laws.data.sources.local import LocalText
from unified_laws.data.tokenizers.plain_bytes import Bytes
source = LocalText(path=sys.argv[1], field="text", passage_chars=2000)
store = prepare(source, Bytes(), cache_dir=Path(sys.argv[2]), val_fraction=0.05)
print(store.manifest.train.sha256)
"""


def test_processes_at_once_get_one_store(tmp_path: Path, tiny_text: LocalText) -> None:
    arguments = [sys.executable, "-c", _ONE_OF_MANY, str(tiny_text.path), str(tmp_path / "cache")]
    processes = [
        subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    results = [process.communicate(timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], results
    assert len({out for out, _ in results}) == 1
    assert len([path for path in (tmp_path / "cache").iterdir() if path.is_dir()]) == 1


def test_without_locks_the_first_to_rename_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(*_: Any) -> None:
        raise OSError("this file system has no locks")

    monkeypatch.setattr("fcntl.flock", no_locks)
    inner: list[TokenStore] = []

    def another_process(_: int) -> None:
        if not inner:
            inner.append(prepare(Letters(), Bytes(), cache_dir=tmp_path, val_fraction=0.1))

    outer = _prepare(tmp_path, progress=another_process)
    assert inner == [outer]
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == [outer.folder.name]


def test_a_damaged_store_names_the_folder_to_delete(tmp_path: Path) -> None:
    folder = _prepare(tmp_path).folder
    (folder / TRAIN_FILE).write_bytes(b"half")
    message = rf"train.bin has 4 bytes where its manifest says 200; .* delete the folder {folder} "
    with pytest.raises(UsageError, match=message):
        _prepare(tmp_path)
    for content in ("{", "{}", None):
        (folder / "manifest.json").unlink()
        if content is not None:
            (folder / "manifest.json").write_text(content)
        with pytest.raises(UsageError, match=rf"not a whole .*; delete the folder {folder} ") as e:
            _prepare(tmp_path)
        assert "\n" not in str(e.value)


def test_no_documents_and_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"cannot write tokens to .*file/cache: .*; free space or"):
        _prepare(tmp_path / "file" / "cache")
    monkeypatch.setattr(Letters, "_train", lambda _: iter(()))
    with pytest.raises(UsageError, match=r"no training documents in .*letters"):
        _prepare(tmp_path)


def test_large_vocabularies_take_four_bytes() -> None:
    assert [token_dtype(v) for v in (257, 65536, 65537)] == ["uint16", "uint16", "uint32"]


def test_c4_with_a_tokenizer_file(tmp_path: Path, store: TokenStore) -> None:
    for part, number in (("train", 400), ("validation", 30)):
        with gzip.open(tmp_path / f"c4-{part}.00000-of-00001.json.gz", "wt") as file:
            for k in range(number):
                row = {"text": f"A page about {part} {k}.", "timestamp": "", "url": f"{part}{k}"}
                file.write(json.dumps(row) + "\n")
    files = {part: f"{tmp_path}/c4-{part}.*.json.gz" for part in ("train", "validation")}
    source = C4(path="allenai/c4", name="en", revision="abc", data_files=files)
    tokenizer = TokenizerFile(path=str(store.folder / TOKENIZER_FILE), end_of_text=END_OF_TEXT)
    made = prepare(
        source, tokenizer, cache_dir=tmp_path / "cache", val_fraction=None, max_tokens=1000
    )
    assert 1000 < made.train_tokens < 1100
    assert made.manifest.validation.documents == 30
    assert made.manifest.tokenizer_sha256 == store.manifest.tokenizer_sha256
    inputs, _ = made.batch(
        seed=0, step=0, rank=0, world_size=1, batch_size=4, seq_len=100, num_tokens=1000
    )
    assert inputs.shape == (4, 100)
