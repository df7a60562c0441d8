from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest

from unified_laws.figures.capacity_plot import draw_capacities
from unified_laws.figures.curve_plot import draw_curve
from unified_laws.figures.law_plot import draw_collapse, draw_sizes
from unified_laws.figures.page import render_page
from unified_laws.figures.points import join_points
from unified_laws.figures.style import looks
from unified_laws.laws.capacity_curve import LLAMA_C4, fit_capacity_curve
from unified_laws.laws.fitting import fit_laws
from unified_laws.laws.loss_law import LossLaw
from unified_laws.laws.result import LawsResult
from unified_laws.laws.table import LeftOut, RunTable

RHO = {"bf16": 1.0, "int4": 0.85, "<b>&int2$": 0.33, "w4a4": 0.7}
VOID = {"meta", "br", "link", "img"}


@pytest.fixture(scope="module")
def table() -> RunTable:
    law = LossLaw(np.log(60.0), np.log(400.0), np.log(1.6), 0.25, 0.30)
    rows = [(f, n, n * r) for f in RHO for n in (1e6, 4e6, 1.6e7) for r in (20.0, 80.0, 320.0)]
    num_params, num_tokens = (np.array([row[i] for row in rows]) for i in (1, 2))
    loss = law.predict(num_params, num_tokens, np.array([RHO[row[0]] for row in rows]))
    return RunTable(
        tuple(row[0] for row in rows),
        num_params,
        num_tokens,
        loss * np.exp(1e-3 * np.random.default_rng(0).standard_normal(len(rows))),
        np.zeros(len(rows), dtype=np.int64),
        np.full(len(rows), np.nan),
        left_out=(LeftOut("status is 'diverged', not 'finished'", 2),),
    )


@pytest.fixture(scope="module")
def laws(table: RunTable) -> LawsResult:
    return fit_laws(table, dense="bf16", delta=1e-3, starts=8, bootstrap=20, seed=0)


def row(name: str, gmse: float, bits: float, activation: float | None = None) -> dict[str, Any]:
    predicted = float(LLAMA_C4.predict(gmse))
    if activation is not None:
        predicted *= float(LLAMA_C4.predict(activation))
    return {
        "format": name,
        "gmse": gmse,
        "stderr": 1e-5,
        "gmse_activation": activation,
        "effective_bits": None,
        "bits_per_weight": bits,
        "rate_distortion_gap_bits": 0.1,
        "rho_predicted": predicted,
    }


ROWS: list[Mapping[str, Any]] = [
    row("bf16", 0.0, 16.0),
    row("int4", 0.01154, 4.0),
    row("<b>&int2$", 0.1188, 2.0),
    row("w4a4", 0.01154, 4.0, 0.01154),
    row("fp4", 0.01268, 4.0),
]


def render(table: RunTable, laws: LawsResult) -> str:
    return render_page(
        table,
        laws,
        ROWS,
        title="Report <1>",
        notes=["A note & more."],
        commands=["python -m unified_laws.fit runs=<runs.csv>"],
    )


@pytest.fixture(scope="module")
def page(table: RunTable, laws: LawsResult) -> str:
    return render(table, laws)


class Reader(HTMLParser):
    """Text, ids and attributes of a page; refuses tags that are not closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(name, value or "") for name, value in attrs]
        self.ids += [value or "" for name, value in attrs if name == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text.append(data)


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    assert reader.open == []
    return reader


def test_nothing_is_fetched_from_a_network(page: str) -> None:
    without = re.sub(r'xmlns(:\w+)?="[^"]*"', "", page)
    assert "http:" not in without
    assert "https:" not in without
    assert "<script" not in page
    assert "@import" not in page
    for name, value in read(page).attributes:
        if name in ("src", "href", "xlink:href"):
            assert value.startswith("#")


def test_markup_is_well_formed_and_ids_are_unique(page: str) -> None:
    reader = read(page)
    assert len(reader.ids) == len(set(reader.ids))
    for svg in re.findall(r"<svg.*?</svg>", page, re.DOTALL):
        ET.fromstring(svg)
    targets = {value[1:] for name, value in reader.attributes if name == "xlink:href"}
    assert targets
    assert targets <= set(reader.ids)


def test_every_picture_says_what_it_shows(page: str) -> None:
    pictures = re.findall(r"<svg[^>]*>", page)
    assert len(pictures) == 6
    for picture in pictures:
        assert 'role="img"' in picture
        assert re.search(r'aria-label="[^"]{40,}"', picture)
        assert "viewBox" in picture
        assert not re.search(r'\s(width|height)="', picture)


def test_labels_are_escaped(page: str) -> None:
    assert "<b>" not in page
    assert "&lt;b&gt;&amp;int2$" in page
    assert "Report &lt;1&gt;" in page
    assert "A note &amp; more." in page
    assert "runs=&lt;runs.csv&gt;" in page


def test_same_input_same_bytes(table: RunTable, laws: LawsResult, page: str) -> None:
    assert render(table, laws) == page


def test_text_says_what_the_fit_says(page: str, laws: LawsResult) -> None:
    text = " ".join(read(page).text)
    # Most capacity per bit: int4 .85/4 = .21, int2 .33/2 = .165, w4a4 .7/4.
    best = laws.capacity("int4")
    assert (
        f"int4 is worth {best.rho:.2f} [{best.low:.2f}, {best.high:.2f}] of its parameters" in text
    )
    for entry in laws.capacities[1:]:
        assert f"{entry.rho:.3f}" in text
        assert f"[{entry.low:.3f}, {entry.high:.3f}]" in text
    assert f"{best.rho - float(LLAMA_C4.predict(0.01154)):+.3f}" in text
    assert "not trained" in text
    assert "2 run(s) left out: status is 'diverged'" in text
    for column in ("GMSE", "ρ predicted from GMSE", "difference", "bits per weight"):
        assert column in text
    assert "prefers-color-scheme: dark" in page
    assert "width=device-width" in page


def test_warnings_come_in_words(table: RunTable) -> None:
    small = fit_laws(
        table, dense="bf16", delta=1e-3, starts=4, bootstrap=0, seed=0, fixed={"E": 0.0}
    )
    text = render(table, small)
    assert "E was held at 0" in text


def test_page_without_compressed_formats_or_gmse(table: RunTable) -> None:
    dense = RunTable(
        table.formats[:9],
        table.num_params[:9],
        table.num_tokens[:9],
        table.val_loss[:9],
        table.seed[:9],
        table.epochs[:9],
    )
    laws = fit_laws(dense, dense="bf16", delta=1e-3, starts=4, bootstrap=0, seed=0)
    text = render_page(dense, laws, [], title="t", notes=[], commands=[])
    assert "No compressed format has been trained yet" in text
    assert "Made with" not in text


def test_unknown_numbers_do_not_stop_a_page(table: RunTable, laws: LawsResult) -> None:
    content = laws.to_json()
    for entry in content["capacities"][1:]:
        entry.update(low=None, high=None, stderr=None)
    blind = LawsResult.from_json(content)
    text = render_page(table, blind, [{"format": "int4"}], title="t", notes=[], commands=[])
    assert "unknown" in text


def test_points_join_by_format(laws: LawsResult) -> None:
    points = {point.format: point for point in join_points(laws, ROWS)}
    assert next(iter(points)) == "bf16"
    assert list(points)[-1] == "fp4"
    assert points["fp4"].runs == 0
    assert math.isnan(points["fp4"].rho)
    on_curve = {name for name, point in points.items() if point.on_curve}
    assert on_curve == {"int4", "<b>&int2$"}


def test_pictures_hold_every_format_and_their_labels_do_not_overlap(
    table: RunTable, laws: LawsResult
) -> None:
    points = join_points(laws, ROWS)
    collapse = draw_collapse(table, laws)
    legend = [text.get_text() for text in collapse.legends[0].get_texts()]
    assert set(legend) == {"bf16", "int4", r"<b>&int2\$", "w4a4", "law"}
    sizes = draw_sizes(table, laws)
    assert [axes.get_title() for axes in sizes.axes] == ["N = 1M", "N = 4M", "N = 16M"]
    capacities = draw_capacities(points)
    labels = [text.get_text() for text in capacities.axes[0].get_yticklabels()]
    assert labels == [r"<b>&int2\$", "w4a4", "fp4", "int4"]
    on_curve = [point for point in points if point.on_curve]
    fit = fit_capacity_curve([p.gmse for p in on_curve], [p.rho for p in on_curve])
    curve = draw_curve(points, LLAMA_C4, fit)
    boxes = [text.get_window_extent() for text in curve.axes[0].texts]
    assert len(boxes) == 2
    assert not boxes[0].overlaps(boxes[1])


def test_looks_differ() -> None:
    found = looks([str(i) for i in range(42)])
    assert len({(look.color, look.marker) for look in found.values()}) == 42
