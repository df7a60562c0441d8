from __future__ import annotations

import json
import math

import numpy as np
import pytest

from tests.laws.planted_runs import make_table, planted_table
from unified_laws.errors import UsageError
from unified_laws.laws.covariance import ParameterCovariance, quadratic_form
from unified_laws.laws.fitting import fit_laws
from unified_laws.laws.result import LawsResult
from unified_laws.laws.table import RunTable


def fit(table: RunTable, **fixed: float) -> LawsResult:
    return fit_laws(table, dense="bf16", delta=math.inf, starts=8, bootstrap=0, seed=0, fixed=fixed)


def test_its_diagonal_is_the_standard_errors_and_units_do_not_move_a_prediction() -> None:
    table = planted_table(1e-3)
    laws = fit(table)
    law, covariance = laws.law, laws.covariance
    stderr = np.sqrt(np.diag(covariance.array()))
    for index, entry in enumerate(laws.law_intervals):
        scale = entry.value if entry.name in "AB" else 1.0
        assert entry.stderr == pytest.approx(stderr[index] * scale, rel=1e-9)
    assert covariance.names[:6] == ("log A", "log B", "E", "alpha", "beta", "log rho of int4")
    int4 = laws.capacity("int4")
    assert int4.stderr == pytest.approx(int4.rho * stderr[5], rel=1e-9)
    scaled = fit(
        make_table(table.formats, table.num_params / 1e6, table.num_tokens / 1e9, table.val_loss)
    )
    spreads = []
    for found, n, d in ((laws, 3e7, 2e9), (scaled, 30.0, 2.0)):
        gradient = found.law.gradient(n, d, found.capacity("int4").rho)
        gradient[2] /= found.law.E  # the law's own gradient is in log E
        spreads.append(quadratic_form(gradient, found.covariance.for_format("int4", dense="bf16")))
    assert spreads[0] == pytest.approx(spreads[1], rel=1e-5)
    assert 0 < math.sqrt(spreads[0]) < 0.05 * float(law.predict(3e7, 2e9, int4.rho))


def test_held_parameters_have_none_and_the_dense_format_has_no_capacity_error() -> None:
    covariance = fit(planted_table(1e-3), E=1.6).covariance
    assert not covariance.array()[2].any()
    assert math.isnan(covariance.correlation()[2, 2])
    dense = covariance.for_format("bf16", dense="bf16")
    assert dense.shape == (6, 6)
    assert not dense[5].any()
    assert np.linalg.eigvalsh(covariance.array()).min() > -1e-12
    with pytest.raises(UsageError, match="no format 'int9'; it has bf16, int4"):
        covariance.for_format("int9", dense="bf16")


def test_round_trip_with_open_parameters_and_old_files() -> None:
    table = planted_table(1e-3)
    laws = fit(
        make_table(table.formats, table.num_params, np.full(len(table), 1e8), table.val_loss)
    )
    content = json.loads(json.dumps(laws.to_json(), allow_nan=False))
    back = LawsResult.from_json(content).covariance
    assert back.names == laws.covariance.names
    np.testing.assert_array_equal(back.array(), laws.covariance.array())
    assert math.isinf(back.array()[4, 4])
    assert quadratic_form(np.eye(len(back.names))[4], back.array()) == math.inf
    assert math.isfinite(quadratic_form(np.eye(len(back.names))[5], back.array()))
    del content["covariance"]  # as written before there was one
    old = LawsResult.from_json(content)
    assert not old.covariance.known
    assert set(old.covariance.names) == set(laws.covariance.names)
    assert old.to_json()["covariance"] is None
    content["covariance"] = {"names": ["E"], "matrix": [[1.0, 2.0]]}
    with pytest.raises(UsageError, match="not the JSON of a fitted law"):
        LawsResult.from_json(content)


def test_shape_is_checked() -> None:
    with pytest.raises(ValueError, match="square"):
        ParameterCovariance.of(["int4"], np.eye(5))
