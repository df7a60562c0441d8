from __future__ import annotations

import itertools
import json
import math

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from tests.laws.planted_runs import LAW, RHO, planted_table
from tests.laws.test_prediction import fitted, source
from unified_laws.errors import UsageError
from unified_laws.laws.budget import (
    BudgetResult,
    Cost,
    Tokens,
    best_formats,
    largest_params,
    optimal_params,
)
from unified_laws.laws.cost import (
    FormatBits,
    Serving,
    inference_bytes,
    training_flops,
    weight_bytes,
)
from unified_laws.laws.information import Information
from unified_laws.laws.json_form import from_json, to_json
from unified_laws.laws.result import LawsResult

BITS = {
    "bf16": FormatBits("bf16", 16.0),
    "int4": FormatBits("int4", 4.0, 4.0),
    "int3": FormatBits("int3", 3.0, 3.0),
    "int2": FormatBits("int2", 2.0, 2.0),
    "s50": FormatBits("s50", 9.0, kept_fraction=0.5),
}
SERVING = Serving(batch=4, context=2048, vocab_size=32000, aspect_ratio=128)


@pytest.fixture(scope="module")
def laws() -> LawsResult:
    return fitted(planted_table(2e-3, 2))


def best(
    laws: LawsResult, cost: Cost, budget: float, tokens: Tokens, **more: object
) -> BudgetResult:
    information = Information.of(laws)
    formats = [(source(information, name, name=name), BITS[name]) for name in RHO]
    return best_formats(
        laws,
        information,
        formats,
        cost=cost,
        cost_name="cost",
        budget=budget,
        tokens=tokens,
        **more,  # type: ignore[arg-type]
    )


def test_the_two_ways_of_counting_flops() -> None:
    w4a8 = FormatBits("w4a8", 4.0, 4.0, 8.0)
    assert w4a8.flop_share("linear") == 8 / 16
    assert w4a8.flop_share("quadratic") == 4 * 8 / 256
    square = FormatBits("w4a4", 4.0, 4.0, 4.0)
    assert (square.flop_share("linear"), square.flop_share("quadratic")) == (1 / 4, 1 / 16)
    assert FormatBits("x", 16.0).flop_share("linear") == 1.0
    half = FormatBits("sparse", 9.0, kept_fraction=0.5)
    assert half.flop_share("linear") == half.flop_share("quadratic") == 0.5
    with pytest.raises(UsageError, match="counting is 'cubic'; allowed: linear, quadratic"):
        half.flop_share("cubic")
    assert training_flops("quadratic")(w4a8, 10.0, 100.0) == 6 * 10 * 100 / 8
    assert weight_bytes(w4a8, 10.0, 100.0) == 5.0


def test_inference_bytes_by_hand() -> None:
    """The paper's 100m: 8 layers of width 1024, N = 12 layers width²."""
    N = 12 * 8 * 1024**2
    expected = N * 0.5 / 4 + 2 * 32000 * 1024 / 4 + 4 * 8 * 1024 * 2048
    assert inference_bytes(SERVING)(BITS["int4"], N, 1.0) == pytest.approx(expected)


def test_at_fixed_tokens_capacity_per_bit_decides(laws: LawsResult) -> None:
    """L falls with N rho = budget rho / bits alone, whatever the budget."""
    result = best(laws, weight_bytes, 2e6, Tokens(fixed=4e8))
    per_bit = sorted(RHO, key=lambda n: -laws.capacity(n).rho / BITS[n].bits_per_weight)
    assert [offer.prediction.format for offer in result.offers] == per_bit
    assert [offer.on_front for offer in result.offers] == [True, False, False, False, False]
    for offer in result.offers:
        assert offer.cost == pytest.approx(2e6, rel=1e-9)
        assert offer.losses[-1] == pytest.approx(offer.prediction.val_loss, rel=1e-9)
    assert sum(offer.share_best for offer in result.offers) == pytest.approx(1.0)


def test_a_largest_model_makes_a_front_of_several(laws: LawsResult) -> None:
    """Few bits win while memory is short; with size capped, capacity wins in the end."""
    result = best(laws, weight_bytes, 2e7, Tokens(fixed=4e8), max_params=5e6)
    front = sorted((o for o in result.offers if o.on_front), key=lambda o: o.best_from)
    assert [offer.prediction.format for offer in front] == ["int4", "bf16"] or len(front) > 2
    assert front[-1].prediction.format == "bf16"
    assert all(a.best_to < b.best_from for a, b in itertools.pairwise(front))
    assert max(offer.prediction.num_params for offer in result.offers) == 5e6


@pytest.mark.parametrize("rho", [1.0, 0.4])
def test_compute_optimal_size_in_closed_form(rho: float) -> None:
    product = 1e19
    found = optimal_params(LAW, product, rho)
    numeric = minimize_scalar(
        lambda x: float(LAW.predict(math.exp(x), product / math.exp(x), rho)),
        bounds=(math.log(1e5), math.log(1e14)),
        options={"xatol": 1e-8},
    )
    assert math.log(found) == pytest.approx(numeric.x, abs=1e-4)


def test_optimal_tokens_spend_the_budget(laws: LawsResult) -> None:
    share = lambda bits: bits.flop_share("quadratic")  # noqa: E731
    result = best(laws, training_flops("quadratic"), 1e17, Tokens(), flop_share=share)
    for offer in result.offers:
        p = offer.prediction
        assert offer.cost == pytest.approx(1e17, rel=1e-9)
        for factor in (0.8, 1.25):
            other = laws.law.predict(p.num_params * factor, p.num_tokens / factor, p.rho)
            assert float(other) > p.val_loss
    capped = best(
        laws, training_flops("quadratic"), 1e17, Tokens(), flop_share=share, max_params=1e6
    )
    assert {offer.prediction.num_params for offer in capped.offers} == {1e6}


def test_tokens_per_parameter() -> None:
    cost = training_flops("linear")
    N = largest_params(lambda n: cost(BITS["bf16"], n, 50 * n), 6e15, 1e18)
    assert pytest.approx(math.sqrt(6e15 / 300), rel=1e-9) == N
    assert largest_params(lambda n: n, 1e3, 10.0) == 10.0
    assert math.isnan(largest_params(lambda n: n, 0.5, 1e3))


def test_the_unit_of_the_cost_does_not_matter(laws: LawsResult) -> None:
    one = best(laws, weight_bytes, 2e6, Tokens(per_param=50.0))
    kilo = best(laws, lambda b, n, d: weight_bytes(b, n, d) / 1e3, 2e3, Tokens(per_param=50.0))
    for a, b in zip(one.offers, kilo.offers, strict=True):
        assert a.prediction.format == b.prediction.format
        assert b.prediction.val_loss == pytest.approx(a.prediction.val_loss, rel=1e-9)
        assert b.share_best == pytest.approx(a.share_best, abs=0.01)


def test_shares_follow_the_distance(laws: LawsResult) -> None:
    """A twin of a format is the best as often as it; one far behind never is."""
    information = Information.of(laws)
    twin = [(source(information, "int4", name="a"), BITS["int4"])]
    far = [(source(information, "bf16", name="b"), BITS["bf16"])]
    result = best_formats(
        laws,
        information,
        twin + far,
        cost=weight_bytes,
        cost_name="weight bytes",
        budget=2e6,
        tokens=Tokens(fixed=4e8),
    )
    shares = {offer.prediction.format: offer.share_best for offer in result.offers}
    assert shares == {"a": 1.0, "b": 0.0}


def test_summary_json_and_refusals(laws: LawsResult) -> None:
    result = best(laws, weight_bytes, 2e6, Tokens(fixed=4e8))
    again = from_json(BudgetResult, json.loads(json.dumps(to_json(result), allow_nan=False)))
    assert again.summary() == result.summary()
    assert "chance to be the best" in result.summary()
    assert np.isfinite(result.budgets).all()
    for tokens, more, words in (
        (Tokens(), {}, "the number of tokens must be given"),
        (Tokens(fixed=1e8), {"max_params": 0.0}, "max_params is 0.0"),
    ):
        with pytest.raises(UsageError, match=words):
            best(laws, weight_bytes, 2e6, tokens, **more)
    with pytest.raises(UsageError, match="buys no parameter of bf16"):
        best(laws, weight_bytes, 1e-3, Tokens(fixed=1e8))
    with pytest.raises(UsageError, match="budget is nan"):
        best(laws, weight_bytes, math.nan, Tokens(fixed=1e8))
    with pytest.raises(UsageError, match="allowed is one of them"):
        Tokens(fixed=1e8, per_param=10.0)
    with pytest.raises(UsageError, match="no formats to compare"):
        best_formats(
            laws,
            Information.of(laws),
            [],
            cost=weight_bytes,
            cost_name="x",
            budget=1.0,
            tokens=Tokens(fixed=1.0),
        )
