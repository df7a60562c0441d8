"""A picture as a file by itself."""

from __future__ import annotations

import io
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from unified_laws.errors import UsageError
from unified_laws.figures.style import to_svg

DOTS_PER_INCH = 150


def on_white(svg: str) -> str:
    """An ``<svg>`` with a ground: by itself it may lie on a dark page, and its ink is dark."""
    return svg.replace("<svg ", '<svg style="background:#fff" ', 1)


def picture_bytes(figure: Figure, path: Path, *, alt: str) -> bytes:
    """The content of a file called ``path``: SVG or PNG by its ending.

    Args:
        figure: what to write.
        path: names the kind and, by its stem, the ids inside an SVG.
        alt: what the picture says, for those who do not see it.

    Raises:
        UsageError: the ending is another one.
    """
    if path.suffix == ".svg":
        return on_white(to_svg(figure, name=path.stem, alt=alt)).encode()
    if path.suffix == ".png":
        buffer = io.BytesIO()
        FigureCanvasAgg(figure)
        figure.savefig(buffer, format="png", dpi=DOTS_PER_INCH, metadata={"Description": alt})
        return buffer.getvalue()
    raise UsageError(f"figure is {str(path)!r}; allowed are names ending in .svg or .png")
