"""How often the 95 % intervals hold the truth: planted laws on two grids, two kinds of noise.

Usage: python benchmarks/coverage.py [replicates per case]; 500 by default, 2000 in all. Every
replicate is fitted as `fit` does by default (Huber, delta 1e-3). Finished replicates are kept in
benchmarks/coverage.partial.jsonl, so it can be interrupted; when all are there, the shares are
written to benchmarks/coverage.json and printed as the table of docs/intervals.md.
"""

from __future__ import annotations

import json
import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import track

from unified_laws.laws.bootstrap import bootstrap_intervals
from unified_laws.laws.curvature import measure_curvature
from unified_laws.laws.estimate import estimate_law
from unified_laws.laws.loss_law import LossLaw
from unified_laws.laws.objective import ALPHA, BETA, LOG_E, NUM_LAW
from unified_laws.laws.table import RunTable
from unified_laws.laws.uncertainty import curvature_intervals, profile_of
from unified_laws.records.files import read_json, write_json

HERE = Path(__file__).resolve().parent
PARTIAL, RESULT = HERE / "coverage.partial.jsonl", HERE / "coverage.json"
STARTS, DELTA, REPLICATES = 4, 1e-3, 500
# The bootstrap costs several times the rest, so it is measured on every fourth replicate.
RESAMPLES, BOOTSTRAP_EVERY = 200, 4


@dataclass(frozen=True)
class Grid:
    """A planted law, its runs and the standard deviation of its noise in log loss."""

    law: LossLaw
    rho: dict[str, float]
    runs: tuple[tuple[str, float, float], ...]
    noise: float


def micro_grid() -> Grid:
    """A grid like the demo's, 33 runs, with the scatter that such runs show: half a per cent."""
    rho = {"bf16": 1.0, "int4": 0.85, "int2": 0.45, "sparse50": 0.75, "int4_sparse50": 0.65}
    sizes = (10336.0, 28864.0, 101664.0)
    runs = [(name, n, d) for name in rho for n in sizes for d in (1e6, 2.4e6)]
    runs += [("bf16", n, 1.6e6) for n in sizes]
    law = LossLaw(math.log(48.0), math.log(200.0), math.log(1.2), 0.35, 0.38)
    return Grid(law, rho, tuple(runs), 5e-3)


def paper_grid() -> Grid:
    """Four sizes at 25, 50 and 100 tokens per parameter (arXiv:2502.05003, §4), seven formats."""
    rho = {"bf16": 1.0, "8": 1.0, "4": 0.69, "3": 0.43, "2": 0.16, "fp4": 0.62, "2:4": 0.38}
    sizes = (30482560.0, 49556736.0, 102777856.0, 203188480.0)
    runs = [(name, n, n * ratio) for name in rho for n in sizes for ratio in (25, 50, 100)]
    law = LossLaw(math.log(60.0), math.log(400.0), math.log(1.6), 0.25, 0.30)
    return Grid(law, rho, tuple(runs), 5e-4)


GRIDS = {"micro": micro_grid(), "paper": paper_grid()}
# Student's t of three degrees of freedom, scaled to the same standard deviation.
NOISES = ("gaussian", "t3")


def plant(grid: Grid, noise: str, seed: int) -> RunTable:
    """The grid's losses with noise."""
    generator = np.random.default_rng(seed)
    count = len(grid.runs)
    drawn = (
        generator.standard_normal(count)
        if noise == "gaussian"
        else generator.standard_t(3, count) / math.sqrt(3.0)
    )
    formats = tuple(run[0] for run in grid.runs)
    num_params, num_tokens = (np.array([run[i] for run in grid.runs]) for i in (1, 2))
    loss = grid.law.predict(num_params, num_tokens, [grid.rho[name] for name in formats])
    return RunTable(
        formats,
        num_params,
        num_tokens,
        loss * np.exp(grid.noise * drawn),
        np.zeros(count, dtype=np.int64),
        np.full(count, np.nan),
    )


def one_replicate(
    grid_name: str, noise: str, seed: int, resamples: int, starts: int = STARTS
) -> dict[str, Any]:
    """Which intervals hold the truth: per method one flag per rho, then E, alpha, beta."""
    grid = GRIDS[grid_name]
    table = plant(grid, noise, seed)
    estimate = estimate_law(table, dense="bf16", delta=DELTA, starts=starts, fixed={})
    curvature = measure_curvature(estimate)
    columns = [*range(NUM_LAW, estimate.objective.num_parameters), LOG_E, ALPHA, BETA]
    found = [profile_of(estimate, curvature, columns)[0], curvature_intervals(estimate, curvature)]
    if resamples:
        found.append(
            bootstrap_intervals(estimate, curvature, table, resamples=resamples, seed=seed)
        )
    truth = np.array(
        [
            *(math.log(grid.rho[name]) for name in estimate.objective.formats),
            grid.law.E,
            grid.law.alpha,
            grid.law.beta,
        ]
    )
    hits = {
        entry.method: [
            int(low <= value <= high)
            for low, value, high in zip(entry.low[columns], truth, entry.high[columns], strict=True)
        ]
        for entry in found
    }
    return {"grid": grid_name, "noise": noise, "seed": seed, "hits": hits}


def summarize(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Shares per case and method, and over all cases."""
    cases = [(grid, noise) for grid in GRIDS for noise in NOISES]
    found = []
    for grid, noise in (*cases, ("all", "all")):
        own = [r for r in rows if (r["grid"], r["noise"]) == (grid, noise) or grid == "all"]
        for method in ("profile", "bootstrap", "curvature"):
            flags = [row["hits"][method] for row in own if method in row["hits"]]
            rho = [hit for row in flags for hit in row[:-3]]
            law = np.array([row[-3:] for row in flags])
            found.append(
                {
                    "grid": grid,
                    "noise": noise,
                    "method": method,
                    "replicates": len(flags),
                    "rho": round(float(np.mean(rho)), 4),
                    "E": round(float(law[:, 0].mean()), 4),
                    "alpha": round(float(law[:, 1].mean()), 4),
                    "beta": round(float(law[:, 2].mean()), 4),
                }
            )
    return found


def main() -> None:
    """Run what is missing, then write and print the shares."""
    replicates = int(sys.argv[1]) if len(sys.argv) > 1 else REPLICATES
    done: dict[tuple[str, str, int], dict[str, Any]] = {}
    if PARTIAL.exists():
        for line in PARTIAL.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            done[row["grid"], row["noise"], row["seed"]] = row
    wanted = [(g, n, s) for s in range(replicates) for g in GRIDS for n in NOISES]
    with PARTIAL.open("a", encoding="utf-8") as file:
        for case in track([case for case in wanted if case not in done], "replicates"):
            resamples = 0 if case[2] % BOOTSTRAP_EVERY else RESAMPLES
            done[case] = one_replicate(*case, resamples)
            file.write(json.dumps(done[case]) + "\n")
            file.flush()
    shares = summarize([done[case] for case in wanted])
    write_json(RESULT, {"delta": DELTA, "resamples": RESAMPLES, "shares": shares})
    print(table_of(read_json(RESULT)["shares"]))


def table_of(shares: list[dict[str, Any]]) -> str:
    """The shares as a Markdown table."""
    head = "| grid | noise | replicates | method | ρ | E | α | β |\n" + "|---" * 8 + "|"
    lines = [
        f"| {r['grid']} | {r['noise']} | {r['replicates']} | {r['method']} | "
        + " | ".join(f"{100 * r[key]:.1f} %" for key in ("rho", "E", "alpha", "beta"))
        + " |"
        for r in shares
    ]
    return "\n".join([head, *lines])


if __name__ == "__main__":
    main()
