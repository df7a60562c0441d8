"""A document, and how long texts are cut into documents."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Document:
    """One text that is followed by one end-of-text token.

    Attributes:
        id: decides the place in hash order.
        group: documents of one group are all training or all validation (a speech, a page).
        text: the text itself.
    """

    id: str
    group: str
    text: str


def passages(text: str, passage_chars: int | None) -> Iterator[str]:
    """Cut a text at blank lines into passages of about ``passage_chars`` characters.

    A passage ends at the paragraph with which it reaches ``passage_chars``; a paragraph is never
    cut. The passages joined by a blank line are the text again.

    Args:
        text: any text; paragraphs are separated by one blank line.
        passage_chars: wanted length in characters; None leaves the text whole.
    """
    if passage_chars is None:
        yield text
        return
    held: list[str] = []
    length = 0
    for paragraph in text.split("\n\n"):
        held.append(paragraph)
        length += len(paragraph) + 2
        if length >= passage_chars:
            yield "\n\n".join(held)
            held, length = [], 0
    if held:
        yield "\n\n".join(held)
