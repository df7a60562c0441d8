"""A tokenizer of the Hugging Face hub, by name and commit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from unified_laws.data.tokenizers.base import Encoder, Tokenizer
from unified_laws.data.tokenizers.library import LibraryEncoder
from unified_laws.errors import UsageError


@dataclass(frozen=True)
class HubTokenizer(Tokenizer):
    """The ``tokenizer.json`` of a repository on the hub.

    Note: the download itself has not been run here; everything after it is that of `TokenizerFile`.

    Attributes:
        repo: owner/name on the hub.
        revision: commit; a name like "main" would let the tokens change under the same key.
        end_of_text: the token that ends a document, as written in its vocabulary.
    """

    repo: str
    revision: str
    end_of_text: str

    def describe(self) -> dict[str, Any]:
        """Repository, commit and end-of-text token."""
        return {
            "kind": "hub",
            "repo": self.repo,
            "revision": self.revision,
            "end_of_text": self.end_of_text,
        }

    def build(self, texts: Callable[[], Iterator[str]]) -> Encoder:
        """Fetch the tokenizer; the texts are not looked at."""
        del texts
        from tokenizers import Tokenizer as Library

        name = f"{self.repo}@{self.revision}"
        try:
            content = Library.from_pretrained(self.repo, revision=self.revision).to_str().encode()
        except Exception as error:  # the library raises bare Exception, the hub its own
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise UsageError(
                f"cannot fetch the tokenizer {name}: {reason}; check name and network, "
                "or use tokenizer_file.TokenizerFile with a local tokenizer.json"
            ) from error
        return LibraryEncoder(content, self.end_of_text, name)
