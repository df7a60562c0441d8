"""One look for every picture, and SVG that is the same bytes for the same input."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from typing import Any

import matplotlib
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

# Okabe & Ito, "Color universal design" (2008): told apart with every kind of colour vision. Their
# yellow is left out: it is too faint on white.
PALETTE = ("#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKERS = ("o", "s", "^", "D", "v", "P")
GREY = "#6b6b6b"

# Any: what matplotlib's stubs call the type of these keys differs between its versions.
RC: Any = {
    "font.family": "DejaVu Sans",  # comes with matplotlib, so metrics are the same everywhere
    "font.size": 10.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.7,
    "axes.axisbelow": True,
    "axes.titlesize": 10.0,
    "legend.frameon": False,
    "legend.fontsize": 9.0,
    "figure.facecolor": "#ffffff",
    "svg.fonttype": "path",  # glyphs as outlines: no font of the reader's machine is needed
}


@dataclass(frozen=True)
class Look:
    """Colour and marker of one format."""

    color: str
    marker: str


@contextmanager
def styled() -> Iterator[None]:
    """Draw with the project's settings."""
    with matplotlib.rc_context(RC):
        yield


def looks(formats: Sequence[str]) -> dict[str, Look]:
    """A look per format, in order; all differ up to 42 formats."""
    count = len(PALETTE)
    return {
        name: Look(PALETTE[i % count], MARKERS[(i // count) % len(MARKERS)])
        for i, name in enumerate(formats)
    }


def new_figure(width_inches: float, height_inches: float) -> Figure:
    """An empty figure without pyplot's global state."""
    return Figure(figsize=(width_inches, height_inches), layout="constrained")


def plain_text(text: str) -> str:
    """A label with matplotlib's mathematics switched off."""
    return text.replace("$", r"\$")


def to_svg(figure: Figure, *, name: str, alt: str) -> str:
    """The figure as an ``<svg>`` element that scales with its container.

    Args:
        figure: what to write.
        name: prefix of every id inside, so that pictures on one page do not share ids.
        alt: what the picture says, for those who do not see it.
    """
    buffer = io.StringIO()
    FigureCanvasSVG(figure)
    with matplotlib.rc_context({**RC, "svg.hashsalt": name}):
        figure.savefig(
            buffer,
            format="svg",
            metadata={"Date": None, "Creator": None, "Format": None, "Type": None},
        )
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r'href="#', f'href="#{name}-', text)
    text = text.replace("url(#", f"url(#{name}-")
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1)
    return text.replace("<svg", f'<svg role="img" aria-label="{escape(alt)}"', 1).strip()
