from __future__ import annotations

import re

import numpy as np
import pytest

from tests.laws.planted_runs import make_table, planted_table
from unified_laws.figures.diagnostics_section import diagnostics_section, residual_alt
from unified_laws.figures.residual_plot import draw_influence, draw_residuals
from unified_laws.laws.fitting import fit_laws
from unified_laws.laws.result import LawsResult


@pytest.fixture(scope="module")
def laws() -> LawsResult:
    table = planted_table(1e-3)
    loss = table.val_loss.copy()
    loss[20] *= 1.02
    table = make_table(table.formats, table.num_params, table.num_tokens, loss)
    return fit_laws(table, dense="bf16", delta=1e-3, starts=8, bootstrap=20, seed=0)


def test_section_says_what_the_diagnostics_say(laws: LawsResult) -> None:
    text = diagnostics_section(laws)
    assert text.count("<svg") == 2
    assert "1 outliers" in residual_alt(laws)
    assert laws.diagnostics is not None
    run = laws.diagnostics.runs[20]
    assert f"<td>{run.leverage:.2f}</td>" in text
    for drift in laws.diagnostics.drifts:
        assert f"× {2.0**drift.slope:.3f}" in text
    for entry in laws.intervals:
        if entry.parameter.startswith("rho"):
            assert f"[{entry.low:.3f}, {entry.high:.3f}]" in text
    correlation = laws.covariance.correlation()[1, 4]
    assert f"{correlation:.3f}" in text
    assert not re.search(r"\bnan\b", text)


def test_pictures_hold_every_run_and_ring_the_outlier(laws: LawsResult) -> None:
    residuals = draw_residuals(laws)
    assert [axes.get_xlabel() for axes in residuals.axes] == ["N", "D, tokens", "D / N"]
    for axes in residuals.axes:
        points = [line for line in axes.lines if line.get_linestyle() == "None"]
        assert sum(np.size(line.get_xdata()) for line in points) == len(laws.residuals) + 1
    influence = draw_influence(laws)
    drawn = sum(np.shape(c.get_offsets())[0] for c in influence.axes[0].collections)
    assert drawn == len(laws.residuals)


def test_an_earlier_result_still_has_a_section(laws: LawsResult) -> None:
    content = laws.to_json()
    for key in ("diagnostics", "intervals", "covariance"):
        del content[key]
    old = LawsResult.from_json(content)
    assert diagnostics_section(old).count("<svg") == 1
    with pytest.raises(ValueError, match="no diagnostics"):
        draw_influence(old)
