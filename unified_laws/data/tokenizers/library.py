"""An encoder of the Hugging Face ``tokenizers`` library, from its JSON."""

from __future__ import annotations

from collections.abc import Sequence

from unified_laws.data.tokenizers.base import Encoder
from unified_laws.errors import UsageError


class LibraryEncoder(Encoder):
    """A tokenizer given by the content of a ``tokenizer.json``.

    Args:
        content: the JSON.
        end_of_text: the token that ends a document, as written in the vocabulary.
        name: where it came from, for messages.

    Raises:
        UsageError: the content is not a tokenizer, or the end-of-text token is not in it.
    """

    def __init__(self, content: bytes, end_of_text: str, name: str) -> None:
        from tokenizers import Tokenizer

        try:
            self._tokenizer = Tokenizer.from_str(content.decode())
        except Exception as error:  # the library raises bare Exception
            raise UsageError(
                f"{name} is not a tokenizer.json of the tokenizers library ({error}); "
                "give the file that tokenizer.save() writes"
            ) from error
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        # a document that spells a special token means its characters
        self._tokenizer.encode_special_tokens = True
        token = self._tokenizer.token_to_id(end_of_text)
        if token is None:
            added = self._tokenizer.get_added_tokens_decoder().values()
            special = sorted(entry.content for entry in added)
            raise UsageError(
                f"{name} has no token {end_of_text!r} to end documents with; "
                f"set end_of_text to one of its special tokens: {', '.join(special) or 'none'}"
            )
        self.end_of_text = int(token)
        # ids may have gaps: what counts for a model is the largest one
        self.vocab_size = max(self._tokenizer.get_vocab(with_added_tokens=True).values()) + 1
        self.content = content

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text."""
        encoded = self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        return [entry.ids for entry in encoded]

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of token ids."""
        return str(self._tokenizer.decode(list(tokens), skip_special_tokens=True))
