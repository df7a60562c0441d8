"""Capacities as products: exactness, published matrices, planted factors, coverage, failures."""

from __future__ import annotations

import itertools
import json
import math

import numpy as np
import pytest

from unified_laws.errors import UsageError
from unified_laws.laws.factor_result import Cell, Factorization
from unified_laws.laws.factorization import factorize
from unified_laws.laws.json_form import from_json, to_json
from unified_laws.laws.published.read import (
    law_constants,
    law_errors,
    published_matrices,
    read_matrix,
)

SPARSITY = {"dense": 1.0, "s25": 0.86, "s50": 0.71, "s75": 0.48}
WEIGHTS = {"dense": 1.0, "w8": 0.97, "w4": 0.88, "w3": 0.74}
ACTIVATIONS = {"dense": 1.0, "a8": 0.96, "a4": 0.9}
TRUTH = {"sparsity": SPARSITY, "weights": WEIGHTS, "activations": ACTIVATIONS}


def outer(*factors: dict[str, float], stderr: float = math.nan) -> list[Cell]:
    return [
        Cell(levels, math.prod(f[v] for f, v in zip(factors, levels, strict=True)), stderr)
        for levels in itertools.product(*factors)
    ]


def noisy(seed: int, stderr: float = 0.01, drop: float = 0.3) -> list[Cell]:
    """Three factors with noise of relative size, cells missing at random, singles kept."""
    generator = np.random.default_rng(seed)
    cells = []
    for cell in outer(*TRUTH.values()):
        noise = float(generator.standard_normal())
        compressed = sum(level != "dense" for level in cell.levels)
        if compressed and (compressed == 1 or generator.random() > drop):
            rho = cell.rho * math.exp(stderr * noise)
            cells.append(Cell(cell.levels, rho, stderr * cell.rho))
    return cells


def fit(cells: list[Cell], **options: object) -> Factorization:
    names = list(TRUTH)[: len(cells[0].levels)]
    return factorize(cells, factors=names, dense=["dense"] * len(names), **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("weights", ["absolute", "relative"])
def test_an_outer_product_is_exact(count: int, weights: str) -> None:
    factors = list(TRUTH.values())[:count]
    result = fit(outer(*factors), weights=weights)
    assert result.largest_error < 1e-12
    assert result.largest_product_error < 1e-12
    assert result.test.p_value == 1.0
    for name, truth in list(TRUTH.items())[:count]:
        assert {e.level: pytest.approx(e.rho, abs=1e-12) for e in result.levels_of(name)} == truth
    assert not any(cell.needed for cell in result.cells if "dense" not in cell.levels)


def test_scale_is_fitted_when_it_is_not_anchored() -> None:
    cells = [Cell(c.levels, 0.8 * c.rho, c.stderr) for c in outer(SPARSITY, WEIGHTS)]
    free = fit(cells, anchored=False)
    assert free.scale == pytest.approx(0.8)
    assert free.largest_error < 1e-12
    assert free.largest_product_error < 1e-12
    anchored = fit(cells)
    assert anchored.scale == 1.0
    assert anchored.largest_error > 0.05
    assert "held at 1 (anchored)" in anchored.summary()


def test_order_of_cells_does_not_matter() -> None:
    forward, backward = fit(noisy(0)), fit(noisy(0)[::-1])
    assert [e.level for e in forward.levels] == [e.level for e in backward.levels]
    for one, other in zip(forward.levels, backward.levels, strict=True):
        assert one.rho == pytest.approx(other.rho, rel=1e-12)
        assert one.stderr == pytest.approx(other.stderr, rel=1e-9)
    assert forward.test.statistic == pytest.approx(backward.test.statistic)


def test_leaving_a_cell_out_is_what_a_refit_without_it_says() -> None:
    cells = noisy(3)
    whole = {cell.levels: cell for cell in fit(cells).cells}
    for index in (5, 12):
        without = fit(cells[:index] + cells[index + 1 :])
        refit = next(c.fitted for c in without.cells if c.levels == cells[index].levels)
        expected = cells[index].rho - refit
        assert whole[cells[index].levels].left_out_error == pytest.approx(expected, abs=1e-12)


def test_planted_factors_are_covered_by_their_intervals() -> None:
    """200 tables: 95 % intervals of 8 levels, and of cells that were not measured."""
    levels, missing, rejected = [], [], []
    for seed in range(200):
        result = fit(noisy(seed))
        assert result.weights == "stderr"
        rejected.append(result.test.p_value < 0.05)
        for entry in result.levels:
            if entry.level != "dense":
                levels.append(entry.low <= TRUTH[entry.factor][entry.level] <= entry.high)
        for cell in result.cells:
            if math.isnan(cell.rho) and set(cell.levels) != {"dense"}:
                truth = math.prod(
                    TRUTH[f][v] for f, v in zip(result.factors, cell.levels, strict=True)
                )
                missing.append(cell.low <= truth <= cell.high)
    # Widening by chi²/dof where that exceeds 1 makes them slightly conservative. 200 independent
    # tables: two standard errors of a binomial are .03.
    assert 0.92 < np.mean(levels) < 0.985
    assert 0.92 < np.mean(missing) < 0.985
    assert 0.015 < np.mean(rejected) < 0.095


def test_intervals_without_standard_errors_come_from_the_residuals() -> None:
    hits = []
    for seed in range(200):
        cells = [Cell(c.levels, c.rho) for c in noisy(seed)]
        result = fit(cells, weights="relative")
        hits += [
            e.low <= TRUTH[e.factor][e.level] <= e.high for e in result.levels if e.level != "dense"
        ]
    assert 0.92 < np.mean(hits) < 0.98


@pytest.mark.parametrize("stderr", [0.01, math.nan])
def test_an_interaction_is_found_and_placed(stderr: float) -> None:
    """Two bits do worse under sparsity than their product: the test says so, and where."""
    weights = WEIGHTS | {"w2": 0.45}
    generator = np.random.default_rng(1)
    cells = []
    for cell in outer(SPARSITY, weights, stderr=stderr):
        loss = 0.6 if cell.levels[1] == "w2" and cell.levels[0] != "dense" else 1.0
        rho = cell.rho * loss + 0.002 * float(generator.standard_normal())
        cells.append(Cell(cell.levels, rho, stderr))
    cells = [c for c in cells if set(c.levels) != {"dense"}]
    result = fit(cells)
    assert [e.level for e in result.levels if e.fails] == ["w2"]
    assert "the product fails at weights w2: run those cells" in result.summary()
    if math.isfinite(stderr):
        assert result.test.kind == "chi2"
        assert result.test.p_value < 1e-6
        assert "times the standard errors" in result.summary()
    # A further cell of the failing level is to be run, one of a good level is not.
    fewer = [c for c in cells if c.levels not in (("s75", "w2"), ("s50", "w4"))]
    need = {cell.levels: cell.needed for cell in fit(fewer).cells}
    assert need["s75", "w2"]
    assert not need["s50", "w4"]


def test_a_cell_that_is_loosely_known_has_to_be_run() -> None:
    cells = [c for c in outer(SPARSITY, WEIGHTS, stderr=0.1) if "dense" in c.levels]
    cells = [c for c in cells if set(c.levels) != {"dense"}]
    result = fit(cells)
    assert all(c.needed for c in result.cells if math.isnan(c.rho) and "dense" not in c.levels)
    assert "the product is not tested" in result.summary()
    precise = fit([Cell(c.levels, c.rho, 0.005) for c in cells])
    mixed = [c for c in precise.cells if "dense" not in c.levels]
    assert len(mixed) == 9
    assert not any(c.needed for c in mixed)
    assert "need not be run: s25 w3 (0.636)" in precise.summary()


@pytest.mark.parametrize(
    ("name", "product", "rank_one"),
    [
        # papers.md §1.7: the paper's own bounds of the product for Fig. 6 and 7
        ("weight_activation_bits", 0.09, 0.05),
        ("weight_bits_sparsity", 0.08, 0.045),
        ("weight_activation_sparsity", 0.04, 0.03),
        ("sparsity_absmax_bits", 0.10, 0.09),
    ],
)
def test_published_matrices(name: str, product: float, rank_one: float) -> None:
    matrix = read_matrix(name)
    result = factorize(matrix.cells, factors=matrix.factors, dense=matrix.dense)
    assert result.largest_product_error <= product
    assert result.largest_error <= rank_one
    assert result.largest_error <= result.largest_product_error
    assert len(result.cells) == len(matrix.cells)
    dense = next(c for c in matrix.cells if c.levels == matrix.dense)
    assert dense.rho == 1.0
    assert "Compare within one figure only" in matrix.caution


def test_the_product_fails_at_two_bits() -> None:
    """Fig. 9: all errors beyond .05 are in the column of 2 bits. Fig. 6: 2 bits are among them."""
    matrix = read_matrix("sparsity_absmax_bits")
    result = factorize(matrix.cells, factors=matrix.factors, dense=matrix.dense)
    assert [(e.factor, e.level) for e in result.levels if e.fails] == [("weight bits", "2")]
    assert {c.levels[1] for c in result.cells if c.needed and c.levels[0] != "0"} <= {"2", "16"}
    matrix = read_matrix("weight_activation_bits")
    result = factorize(matrix.cells, factors=matrix.factors, dense=matrix.dense)
    failing = {(e.factor, e.level) for e in result.levels if e.fails}
    assert {("weight bits", "2"), ("activation bits", "2")} <= failing
    assert not failing & {("weight bits", "4"), ("activation bits", "4")}


def test_every_published_file_names_its_source() -> None:
    assert set(published_matrices()) == {
        "weight_activation_bits",
        "weight_bits_sparsity",
        "weight_activation_sparsity",
        "sparsity_absmax_bits",
    }
    for content in (law_errors(), law_constants()):
        assert content["source"].startswith("arXiv:2506.01863 (camera-ready), Table ")
        assert content["caution"]
    assert law_constants()["suites"][0]["F"] == [0.41, 0.02]
    with pytest.raises(UsageError, match="no published matrix 'fig6'; there are"):
        read_matrix("fig6")


def test_result_round_trips() -> None:
    result = fit(noisy(0))
    back = from_json(Factorization, json.loads(json.dumps(to_json(result))))
    assert back.summary() == result.summary()
    assert to_json(back) == to_json(result)
    with pytest.raises(UsageError, match="not the JSON of a Factorization"):
        from_json(Factorization, {"factors": []})


def test_what_means_nothing_is_refused() -> None:
    good = outer(SPARSITY, WEIGHTS)
    with pytest.raises(UsageError, match="do not determine sparsity s25, weights w8"):
        fit(
            [
                *(c for c in good if "s25" not in c.levels and "w8" not in c.levels),
                Cell(("s25", "w8"), 0.8),
            ]
        )
    with pytest.raises(UsageError, match="cell 's25 w4' occurs twice"):
        fit([*good, Cell(("s25", "w4"), 0.8)])
    for rho in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(UsageError, match="allowed is a number above zero"):
            fit([Cell(("s25", "w4"), rho)])
    with pytest.raises(UsageError, match="no compressed cell"):
        fit([Cell(("dense", "dense"), 1.0)])
    with pytest.raises(UsageError, match="weights=stderr needs a positive standard error"):
        fit(good, weights="stderr")
    with pytest.raises(UsageError, match="allowed: auto, stderr, absolute, relative"):
        fit(good, weights="equal")
    with pytest.raises(UsageError, match="tolerance is 0"):
        fit(good, tolerance=0.0)
    with pytest.raises(UsageError, match="two or more different factors"):
        factorize(good, factors=["a", "a"], dense=["dense", "dense"])
    with pytest.raises(UsageError, match="has 1 levels"):
        factorize([Cell(("x",), 0.5)], factors=["a", "b"], dense=["dense", "dense"])
