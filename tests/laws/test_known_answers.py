"""Published fits of public tables; docs/known_answers.md is what the same code writes."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.optimize import minimize

from benchmarks.known_answers import page, preference
from benchmarks.published_fits import SECTIONS, estimate, rows_of, runs_of
from tests.conftest import ROOT
from tests.laws.planted_runs import shared_file

PAGE = ROOT / "docs" / "known_answers.md"


@pytest.fixture(scope="module")
def data() -> Path:
    return shared_file("README.md").parent


@pytest.mark.parametrize("name", SECTIONS)
def test_published_numbers(name: str, data: Path) -> None:
    section = SECTIONS[name](data)
    assert section.answers
    for answer in section.answers:
        assert answer.agrees, answer
    assert section.title in PAGE.read_text(encoding="utf-8")
    if name == "quest":
        assert "is not identified" in section.text
    if name == "gemstones":
        for answer in section.answers:
            if answer.quantity.endswith("objective"):
                assert answer.ours <= answer.published * (1 + 1e-9)


def test_the_olmo_procedure_ends_in_our_optimum(data: Path) -> None:
    """One start of L-BFGS-B on the Huber loss of log residuals, as allenai/OLMo-ladder fits."""
    rows = rows_of(data / "olmo_ladder_final_losses.csv")
    wanted = {f"{n}-{x}xC" for n in ("190M", "370M", "760M", "1B") for x in (1, 2, 5, 10)}
    rows = [row for row in rows if row["run"] in wanted]
    found = estimate("chinchilla", runs_of(rows, ("N", "D_tokens", "c4_en")), 1e-3)
    n, d, loss = (np.array([float(r[k]) for r in rows]) for k in ("N", "D_tokens", "c4_en"))

    def objective(p: np.ndarray) -> tuple[float, np.ndarray]:
        first, second = np.exp(p[0] - p[2] * np.log(n)), np.exp(p[1] - p[3] * np.log(d))
        total = first + second + p[4]
        residual = np.log(total / loss)
        psi = np.clip(residual, -1e-3, 1e-3)
        slope = psi / total
        columns = (first, second, -first * np.log(n), -second * np.log(d), np.ones_like(total))
        gradient = np.array([(slope * column).sum() for column in columns])
        return float((psi * (residual - 0.5 * psi)).sum()), gradient

    start = np.array([3.0, 6.0, 0.1, 0.2, 1.0])
    options = {"ftol": 0.0, "gtol": 1e-10, "maxiter": 100_000}
    theirs: Any = minimize(  # type: ignore[call-overload]
        objective, start, jac=True, bounds=[(0, None)] * 5, method="L-BFGS-B", options=options
    )
    assert found.value == pytest.approx(float(theirs.fun), rel=1e-6)
    assert found.constants["E"] == pytest.approx(float(theirs.x[4]), rel=1e-3)


@pytest.mark.slow
def test_the_page_is_what_the_command_writes(data: Path) -> None:
    """Numbers as printed may differ in their last digit between machines; the words may not."""
    fresh = page([make(data) for make in SECTIONS.values()], preference(data)).splitlines()
    kept = PAGE.read_text(encoding="utf-8").splitlines()
    assert len(fresh) == len(kept)
    for new, old in zip(fresh, kept, strict=True):
        for a, b in zip(new.split("|"), old.split("|"), strict=True):
            try:
                x, y = float(a), float(b)
            except ValueError:
                if not any(c.isdigit() for c in a):
                    assert a == b
                continue
            assert math.isclose(x, y, rel_tol=2e-3, abs_tol=2e-3), (old, new)
