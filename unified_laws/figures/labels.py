"""Labels beside points that do not cover each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

# Where a label may sit, in points from its mark, best first: (right, up, alignments).
PLACES = tuple(
    (right * reach, up * reach, horizontal, vertical)
    for reach in (1.0, 2.0, 3.2, 4.6, 6.2, 8.0)
    for right, up, horizontal, vertical in (
        (6, 4, "left", "bottom"),
        (-6, 4, "right", "bottom"),
        (6, -4, "left", "top"),
        (-6, -4, "right", "top"),
        (8, 0, "left", "center"),
        (-8, 0, "right", "center"),
    )
)
MARK_RADIUS_PIXELS = 5.0


def place_labels(
    figure: Figure,
    axes: Axes,
    x: Sequence[float],
    y: Sequence[float],
    texts: Sequence[str],
    obstacles: Sequence[tuple[float, float]],
) -> None:
    """Write ``texts`` beside the points (x, y), each in the first place that is free.

    Args:
        figure: the figure, final but for these labels.
        axes: whose data coordinates x and y are.
        x: first coordinates.
        y: second coordinates.
        texts: one label per point.
        obstacles: further points (data coordinates) not to be covered, e.g. along a curve.
    """
    canvas: Any = FigureCanvasAgg(figure)  # its draw() has no types
    canvas.draw()
    renderer = canvas.get_renderer()
    figure.set_layout_engine("none")
    frame = axes.get_window_extent(renderer)
    taken = [
        Bbox.from_bounds(px - MARK_RADIUS_PIXELS, py - MARK_RADIUS_PIXELS, 10.0, 10.0)
        for px, py in axes.transData.transform([*zip(x, y, strict=True), *obstacles])
    ]
    for px, py, text in zip(x, y, texts, strict=True):
        found = None
        fewest = len(taken) + 1
        for right, up, horizontal, vertical in PLACES:
            label = axes.annotate(
                text,
                (px, py),
                xytext=(right, up),
                textcoords="offset points",
                ha=horizontal,
                va=vertical,
                fontsize=8.5,
                arrowprops={"arrowstyle": "-", "color": "#9a9a9a", "linewidth": 0.6}
                if abs(right) > 12
                else None,
            )
            box = label.get_tightbbox(renderer) if abs(right) <= 12 else None
            box = box or Bbox(label.get_window_extent(renderer).get_points())
            inside = frame.x0 <= box.x0 and box.x1 <= frame.x1 + 40 and frame.y0 <= box.y0
            hits = sum(box.overlaps(other) for other in taken) + (0 if inside else len(taken))
            if hits < fewest:
                if found is not None:
                    found[0].remove()
                found, fewest = (label, box), hits
            else:
                label.remove()
            if fewest == 0:
                break
        if found is not None:
            taken.append(found[1])
