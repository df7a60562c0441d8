"""Do 95 % intervals hold the truth in 95 % of the cases? 200 replicates here, more committed."""

from __future__ import annotations

import json

import numpy as np
from scipy.stats import binom

from benchmarks.coverage import NOISES, PARTIAL, one_replicate, summarize, table_of
from tests.conftest import ROOT

REPLICATES = 200


def test_profile_intervals_of_two_hundred_replicates() -> None:
    """The paper's grid, half Gaussian, half heavy-tailed noise, fitted as by default.

    Each format by itself is a binomial of 200; the pool of six formats, which share their dense
    runs, is taken as twice as many trials rather than six times. Band: 99.9 %.
    """
    hits = np.array(
        [
            one_replicate("paper", NOISES[seed % 2], 10_000 + seed, 0, 2)["hits"]["profile"]
            for seed in range(REPLICATES)
        ]
    )
    shares = hits[:, :6].mean(axis=0)
    for share, trials in (*((s, REPLICATES) for s in shares), (shares.mean(), 2 * REPLICATES)):
        low, high = (float(binom.ppf(q, trials, 0.95)) / trials for q in (0.0005, 0.9995))
        assert low <= share <= high


def test_the_committed_replicates_are_nominal_and_stated_in_the_docs() -> None:
    """The replicates finished so far: 93 to 97 % for profile intervals pooled over formats."""
    rows = [json.loads(line) for line in PARTIAL.read_text(encoding="utf-8").splitlines()]
    shares = summarize(rows)
    (pooled,) = (r for r in shares if (r["grid"], r["method"]) == ("all", "profile"))
    assert pooled["replicates"] == len(rows) >= 600
    assert 0.93 <= pooled["rho"] <= 0.97
    page = (ROOT / "docs" / "intervals.md").read_text(encoding="utf-8")
    assert table_of(shares) in page
