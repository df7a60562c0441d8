"""Laws of the sources: hash order, disjoint splits, one text in many containers; bad input."""

from __future__ import annotations

import gzip
import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from unified_laws.data.document import Document, passages
from unified_laws.data.hash_split import hash_split
from unified_laws.data.sources.base import Source
from unified_laws.data.sources.c4 import C4
from unified_laws.data.sources.local import LocalText
from unified_laws.data.sources.speeches import PackagedSpeeches
from unified_laws.errors import UsageError

SOTU_TINY = Path(__file__).parent / "sotu_tiny.txt"
TEXTS = [t.strip() for t in SOTU_TINY.read_text(encoding="utf-8").split("<|endoftext|>\n")][:12]


def _local(path: Path | list[str], field: str = "text", chars: int | None = 500) -> LocalText:
    return LocalText(
        path=[*path] if isinstance(path, list) else str(path), field=field, passage_chars=chars
    )


def _c4(folder: Path) -> C4:
    for part, shards in (("train", 3), ("validation", 1)):
        for shard in range(shards):
            with gzip.open(folder / f"c4-{part}.{shard:05d}-of-{shards:05d}.json.gz", "wt") as file:
                for k in range(40):
                    url = f"https://{part}.example/{shard}/{k}"
                    row = {
                        "text": f"{part} {shard} {k} {TEXTS[k % 12][:200]}",
                        "timestamp": "2019-04-25T12:57:54Z",
                        "url": url,
                    }
                    file.write(json.dumps(row) + "\n")
    files = {part: f"{folder}/c4-{part}.*.json.gz" for part in ("train", "validation")}
    return C4(path="allenai/c4", name="en", revision="abc", data_files=files)


def test_passages_joined_are_the_text() -> None:
    for text in [*TEXTS, "", "one", "a\n\n\n\nb\n\n"]:
        for chars in (1, 500, 10**9):
            assert "\n\n".join(passages(text, chars)) == text
        assert list(passages(text, None)) == [text]
    lengths = [len(passage) for passage in passages("\n\n".join(["x" * 100] * 100), 500)]
    assert max(lengths) < 620


@pytest.mark.parametrize("source", [PackagedSpeeches(passage_chars=2000), _local(SOTU_TINY)])
def test_hash_order_and_groups_on_one_side(source: Source) -> None:
    split = source.split(0.05)
    train, validation = list(split.train()), list(split.validation())
    assert not {d.group for d in train} & {d.group for d in validation}
    assert not {d.id for d in train} & {d.id for d in validation}
    for documents in (train, validation):
        order = [sha256(document.id.encode()).digest() for document in documents]
        assert order == sorted(order)
        assert len(set(order)) == len(order)
    groups = len({d.group for d in [*train, *validation]})
    assert len({d.group for d in validation}) == max(1, round(0.05 * groups))
    assert list(source.split(0.05).train()) == train


def test_the_speeches_are_whole_and_not_imported() -> None:
    import sys

    split = PackagedSpeeches(passage_chars=None).split(0.03)
    documents = [*split.train(), *split.validation()]
    assert len(documents) == 249
    (first,) = [d for d in documents if d.id == "1790-Washington-1#0"]
    assert first.text.startswith("Fellow-Citizens of the Senate and House of Representatives:")
    assert "sotu" not in sys.modules


def test_more_held_out_groups_contain_fewer() -> None:
    documents = [Document(id=f"{g}#{k}", group=str(g), text="x") for g in range(50) for k in "ab"]
    small = {d.group for d in hash_split(documents, 0.1, "test").validation()}
    large = {d.group for d in hash_split(documents, 0.4, "test").validation()}
    assert len(small) == 5
    assert len(large) == 20
    assert small < large


def test_the_same_documents_from_every_container(tmp_path: Path) -> None:
    from datasets import Dataset

    separator = "\n<|endoftext|>\n"
    (tmp_path / "all.txt").write_text(separator.join(TEXTS), encoding="utf-8")
    (tmp_path / "dos.txt").write_bytes(separator.join(TEXTS).replace("\n", "\r\n").encode())
    folder = tmp_path / ".odd [folder] *"
    folder.mkdir()
    for number, text in enumerate(reversed(TEXTS)):
        (folder / f"{number}.txt").write_text(text, encoding="utf-8")
    lines = "".join(json.dumps({"id": k, "body": text}) + "\n" for k, text in enumerate(TEXTS))
    (tmp_path / "all.jsonl").write_text(lines)
    with gzip.open(tmp_path / "all.jsonl.gz", "wt") as file:
        file.write(lines)
    (tmp_path / "all.json").write_text(json.dumps([{"body": text} for text in TEXTS]))
    Dataset.from_dict({"body": TEXTS[::-1]}).to_parquet(tmp_path / "all.parquet")
    (tmp_path / "half.jsonl").write_text("".join(lines.splitlines(keepends=True)[:6]))
    Dataset.from_dict({"body": TEXTS[6:]}).to_parquet(tmp_path / "half.parquet")

    def documents(source: LocalText) -> list[Document]:
        split = source.split(0.2)
        return [*split.train(), *split.validation()]

    reference = documents(_local(tmp_path / "all.txt"))
    assert len(reference) > 50
    for name in ("dos.txt", folder.name, "all.jsonl", "all.jsonl.gz", "all.json", "all.parquet"):
        assert documents(_local(tmp_path / name, field="body")) == reference, name
    assert documents(_local(tmp_path / "?odd*" / "*.txt")) == reference
    halves = [str(tmp_path / "half.jsonl"), str(tmp_path / "half.parquet")]
    assert documents(_local(halves, field="body")) == reference


def test_a_moved_file_is_the_same_source(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one\n<|endoftext|>\ntwo")
    (tmp_path / "b.txt").write_text("one\n<|endoftext|>\ntwo")
    (tmp_path / "c.txt").write_text("one\n<|endoftext|>\nthree")
    a, b, c = (_local(tmp_path / f"{name}.txt").describe() for name in "abc")
    assert a == b != c


def _bad_files(folder: Path) -> None:
    (folder / "empty").mkdir()
    (folder / "zero.jsonl").write_text("")
    (folder / "blank.txt").write_text("\n<|endoftext|>\n\n")
    (folder / "latin1.txt").write_bytes("naïve".encode("latin1"))
    (folder / "table.csv").write_text("text\nx\n")
    (folder / "column.jsonl").write_text('{"body": "x", "n": 1}\n')
    (folder / "null.jsonl").write_text('{"text": "x"}\n{"text": null}\n')
    (folder / "broken.jsonl").write_text('{"text": "x"}\n{"text":\n')
    (folder / "broken.parquet").write_bytes(b"PAR1 and no more")
    (folder / "one.txt").write_text("a single document")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere.txt", r"no such file, folder or pattern: .*nowhere.txt \(looked in "),
        ("*.nothing", r"no such file, folder or pattern: .*\*.nothing"),
        ("empty", r"the folder .*empty holds no file of the kinds .txt, .jsonl, "),
        ("zero.jsonl", "zero.jsonl is empty; give a file with text"),
        ("blank.txt", "no text in .*blank.txt: all documents are empty"),
        ("latin1.txt", "latin1.txt is not UTF-8 .*; convert it"),
        ("table.csv", "cannot read text from .*table.csv; allowed extensions are .txt, .jsonl"),
        ("column.jsonl", "no column 'text' in .*; the columns are body, n: set field"),
        ("null.jsonl", "row 1 of .* has None in column 'text' where text is expected"),
        ("broken.jsonl", "cannot read .*broken.jsonl as json: .*; mend the file"),
        ("broken.parquet", "cannot read .*broken.parquet as parquet: .*; mend the file"),
        ("one.txt", r"has 1 document\(s\) and val_fraction 0.2 holds out 1; at least one"),
    ],
)
def test_bad_local_text(tmp_path: Path, name: str, message: str) -> None:
    _bad_files(tmp_path)
    source = _local(tmp_path / name)
    with pytest.raises(UsageError, match=message) as caught:
        (source.describe(), source.split(0.2))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("fraction", [None, 0.0, 1.0, -1.0, 3])
def test_bad_val_fraction(fraction: float | None) -> None:
    with pytest.raises(UsageError, match=r"val_fraction of .* is .*; give a fraction between"):
        _local(SOTU_TINY).split(fraction)


def test_c4_streams_in_the_order_of_its_shards(tmp_path: Path) -> None:
    split = _c4(tmp_path).split(None)
    train, validation = list(split.train()), list(split.validation())
    assert [d.text.split()[:3] for d in train[:2]] == [["train", "0", "0"], ["train", "0", "1"]]
    assert (len(train), len(validation)) == (120, 40)
    assert not {d.group for d in train} & {d.group for d in validation}
    assert list(split.train()) == train


def test_bad_c4(tmp_path: Path) -> None:
    source = _c4(tmp_path)
    with pytest.raises(UsageError, match=r"val_fraction 0.1 is set, but C4 has .* to null"):
        source.split(0.1)
    only = C4(path="c4", name="en", revision="abc", data_files={"train": f"{tmp_path}/*.gz"})
    with pytest.raises(UsageError, match="data_files of C4 has train; give both"):
        only.describe()
    (tmp_path / "other.json").write_text('{"body": "x"}\n')
    other = dict.fromkeys(("train", "validation"), f"{tmp_path}/other.json")
    with pytest.raises(UsageError, match="need the columns text and url, got body; for other"):
        next(C4(path="c4", name="en", revision="abc", data_files=other).split(None).train())
    (tmp_path / "c4-train.00001-of-00003.json.gz").write_bytes(b"not gzip")
    with pytest.raises(UsageError, match=r"cannot read train documents of local C4 shards: .*"):
        list(source.split(None).train())


def test_c4_that_cannot_be_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: Any, **__: Any) -> None:
        raise ConnectionError("Couldn't reach 'allenai/c4' on the Hub")

    monkeypatch.setattr("datasets.load_dataset", offline)
    source = C4(path="allenai/c4", name="en", revision="abc", data_files=None)
    assert source.describe()["revision"] == "abc"
    with pytest.raises(
        UsageError, match=r"allenai/c4 \(en\): Couldn't reach .*; check the network"
    ):
        next(source.split(None).train())


def test_speeches_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unified_laws.data.sources.speeches._PACKAGE", "no-such-package")
    with pytest.raises(UsageError, match=r"no-such-package .* is not installed; pip install"):
        PackagedSpeeches(passage_chars=2000).describe()
