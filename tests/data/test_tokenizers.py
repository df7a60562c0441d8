"""Laws of the tokenizers: text there and back, the same bytes from the same text."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from unified_laws.data.tokenizers.base import Encoder
from unified_laws.data.tokenizers.byte_level_bpe import END_OF_TEXT, ByteLevelBPE
from unified_laws.data.tokenizers.hub import HubTokenizer
from unified_laws.data.tokenizers.plain_bytes import Bytes
from unified_laws.data.tokenizers.tokenizer_file import TokenizerFile
from unified_laws.errors import UsageError

SOTU_TINY = Path(__file__).parent / "sotu_tiny.txt"
TEXT = SOTU_TINY.read_text(encoding="utf-8")[:300_000]


def _texts() -> Iterator[str]:
    yield from TEXT.split("\n\n")


@pytest.fixture(scope="module")
def bpe() -> Encoder:
    return ByteLevelBPE(vocab_size=512).build(_texts)


def test_training_twice_gives_the_same_bytes(bpe: Encoder) -> None:
    assert ByteLevelBPE(vocab_size=512).build(_texts).content == bpe.content


@pytest.mark.parametrize(
    "text", [TEXT[:5000], "naïve — “Ωmega” \U0001f600\ttab\r\n", " two  spaces ", END_OF_TEXT, ""]
)
def test_decode_of_encode_is_the_text(bpe: Encoder, text: str) -> None:
    for encoder in (bpe, Bytes().build(_texts)):
        (tokens,) = encoder.encode([text])
        assert encoder.decode([*tokens, encoder.end_of_text]) == text
        assert all(0 <= token < encoder.vocab_size for token in tokens)
        assert encoder.end_of_text not in tokens


def test_sizes(bpe: Encoder) -> None:
    assert bpe.vocab_size == 512
    assert ByteLevelBPE(vocab_size=257).build(_texts).vocab_size == 257
    encoder = Bytes().build(_texts)
    assert (encoder.vocab_size, encoder.end_of_text) == (257, 256)
    assert encoder.encode(["aé"]) == [[97, 195, 169]]


def test_a_saved_tokenizer_encodes_as_the_trained_one(bpe: Encoder, tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_bytes(bpe.content)
    read = TokenizerFile(path=str(path), end_of_text=END_OF_TEXT).build(_texts)
    assert read.content == bpe.content
    assert read.encode([TEXT]) == bpe.encode([TEXT])


@pytest.mark.parametrize("size", [0, 256, 65537])
def test_sizes_out_of_range(size: int) -> None:
    with pytest.raises(UsageError, match=f"vocab_size {size} .* allowed are 257 to 65536"):
        ByteLevelBPE(vocab_size=size)


def test_text_too_small_for_the_vocabulary() -> None:
    with pytest.raises(UsageError, match=r"vocab_size 4096 asked, .* gives only \d+ tokens; set"):
        ByteLevelBPE(vocab_size=4096).build(lambda: iter(["a few words and a few words"]))


def test_bad_tokenizer_files(bpe: Encoder, tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    recipe = TokenizerFile(path=str(path), end_of_text="</s>")
    with pytest.raises(UsageError, match=r"cannot read the tokenizer .*: No such file"):
        recipe.describe()
    path.write_text("{}")
    with pytest.raises(UsageError, match=r"is not a tokenizer.json of the tokenizers library"):
        recipe.build(_texts)
    path.write_bytes(bpe.content)
    with pytest.raises(UsageError, match=r"no token '</s>' .* special tokens: <\|endoftext\|>"):
        recipe.build(_texts)


def test_a_hub_tokenizer_that_cannot_be_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    from tokenizers import Tokenizer

    class Offline:
        from_str = Tokenizer.from_str

        @staticmethod
        def from_pretrained(name: str, revision: str) -> None:
            raise OSError(f"no network for {name} {revision}\nmore")

    monkeypatch.setattr("tokenizers.Tokenizer", Offline)
    recipe = HubTokenizer(repo="owner/name", revision="abc", end_of_text="</s>")
    with pytest.raises(
        UsageError, match="cannot fetch the tokenizer owner/name@abc: no network"
    ) as e:
        recipe.build(_texts)
    assert "\n" not in str(e.value)
