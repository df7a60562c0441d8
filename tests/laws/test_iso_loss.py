from __future__ import annotations

import json
import math

import numpy as np
import pytest

from tests.laws.planted_runs import LAW, planted_table
from tests.laws.test_prediction import fitted, source
from unified_laws.laws.information import Information
from unified_laws.laws.iso_loss import IsoLoss, iso_loss, params_of_loss, tokens_of_loss
from unified_laws.laws.json_form import from_json, to_json
from unified_laws.laws.result import LawsResult


@pytest.fixture(scope="module")
def laws() -> LawsResult:
    return fitted(planted_table(2e-3, 2))


def ask(laws: LawsResult, format: str, params: float, tokens: float) -> IsoLoss:
    information = Information.of(laws)
    capacity = source(information, format, name=format)
    return iso_loss(laws, information, capacity, num_params=params, num_tokens=tokens)


def test_sizes_and_tokens_invert_the_law_exactly() -> None:
    for params, tokens, rho in ((1e7, 1e9, 0.4), (3e9, 6e10, 1.0), (2e8, 1e11, 1.07)):
        loss = float(LAW.predict(params, tokens, rho))
        assert params_of_loss(LAW, loss, tokens, rho) == pytest.approx(params, rel=1e-10)
        assert tokens_of_loss(LAW, loss, params, rho) == pytest.approx(tokens, rel=1e-9)
    assert math.isnan(tokens_of_loss(LAW, LAW.E, 1e9))


def test_every_answer_has_the_loss_it_claims(laws: LawsResult) -> None:
    found = ask(laws, "int3", 4e6, 4e8)
    law, rho, N, D = laws.law, found.rho, 4e6, 4e8
    loss, goal = float(law.predict(N, D, rho)), float(law.predict(N, D))
    assert found.dense_params.value == pytest.approx(N * rho)
    assert float(law.predict(found.dense_params.value, D)) == pytest.approx(loss)
    assert float(law.predict(N, found.dense_tokens.value)) == pytest.approx(loss)
    assert float(law.predict(found.compressed_params.value, D, rho)) == pytest.approx(goal)
    assert float(law.predict(N, found.compressed_tokens.value, rho)) == pytest.approx(goal)
    for count in (found.dense_params, found.dense_tokens, found.compressed_params):
        assert count.low < count.value < count.high


def test_dense_equals_itself_with_certainty(laws: LawsResult) -> None:
    found = ask(laws, "bf16", 4e6, 4e8)
    for count in (found.dense_params, found.compressed_params):
        assert (count.value, count.low, count.high) == (4e6, 4e6, 4e6)
    for count in (found.dense_tokens, found.compressed_tokens):
        assert count.value == pytest.approx(4e8, rel=1e-9)
        assert count.high == pytest.approx(count.low, rel=1e-9)


def test_the_delta_method_of_tokens_against_draws() -> None:
    laws = fitted(planted_table(2e-4, 2))
    found = ask(laws, "int3", 4e6, 4e8)
    law, names = laws.law, laws.covariance.names
    values, vectors = np.linalg.eigh(laws.covariance.array())
    drawn = np.random.default_rng(1).standard_normal((20_000, len(values)))
    drawn = drawn @ (vectors * np.sqrt(np.maximum(values, 0.0))).T
    a, b, _, alpha, beta = (
        drawn[:, i] + v for i, v in enumerate((law.log_A, law.log_B, law.E, law.alpha, law.beta))
    )
    rho = drawn[:, names.index("log rho of int3")] + math.log(found.rho)
    first = np.exp(a - alpha * (math.log(4e6) + rho)) - np.exp(a - alpha * math.log(4e6))
    log_tokens = (b - np.log(first + np.exp(b - beta * math.log(4e8)))) / beta
    quantile = Information.of(laws).quantile
    stderr = math.log(found.dense_tokens.high / found.dense_tokens.value) / quantile
    assert stderr == pytest.approx(float(log_tokens.std()), rel=0.02)


def test_a_loss_out_of_reach_is_said(laws: LawsResult) -> None:
    found = ask(laws, "int2", 1e6, 1e13)
    assert math.isnan(found.compressed_tokens.value)
    assert any("no number of tokens" in text for text in found.warnings)
    assert "no number will do" in found.summary()
    again = from_json(IsoLoss, json.loads(json.dumps(to_json(found), allow_nan=False)))
    assert again.summary() == found.summary()
