"""The program that made the shipped codebooks: python -m unified_laws.compression.grids.train.

Competitive learning (CLVQ, as HIGGS, arXiv:2411.17525) in mini-batches of fresh N(0, I) vectors,
then Lloyd steps on one fixed sample; from several seeds, of which the best is kept and all are
reported. In dimension 1 the Lloyd iteration runs on exact moments. Arguments such as 2x256 limit
the work to these sizes. About four minutes on one core.
"""

from __future__ import annotations

import json
import sys
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.special import ndtr, ndtri
from torch import Tensor

from unified_laws.compression.gaussian import density, grid_mse
from unified_laws.compression.grids.nearest import nearest_code

HERE = Path(__file__).parent
SIZES = (
    *((1, codes) for codes in (4, 8, 16)),
    *((2, codes) for codes in (4, 8, 16, 64, 256)),
    *((4, codes) for codes in (8, 16, 64, 256)),
    (8, 256),
)
SEEDS = 4
BATCH = 2**16  # fresh vectors per CLVQ step
STEPS = 300
LLOYD_STEPS = 2000  # of the scalar grids; 16 codes have converged to 1e-9 by then
POLISH = 2**20  # vectors of the fixed sample, at least 4096 per code
POLISH_STEPS = 30
MEASURE = 2**22  # vectors of the measurement, drawn anew


def scalar_grid(codes: int) -> Tensor:
    """The Lloyd-Max grid of N(0, 1), shape (codes, 1), from exact moments."""
    levels = np.asarray(ndtri((np.arange(codes) + 0.5) / codes), dtype=np.float64)
    for _ in range(LLOYD_STEPS):
        edges = np.concatenate([[-np.inf], (levels[1:] + levels[:-1]) / 2, [np.inf]])
        levels = -np.diff(density(edges)) / np.diff(ndtr(edges))
    return torch.from_numpy(levels).float()[:, None]


def centroids(vectors: Tensor, grid: Tensor) -> tuple[Tensor, Tensor]:
    """Mean of the vectors of each cell (the code itself if there are none) and their number."""
    nearest = nearest_code(vectors, grid)
    count = torch.bincount(nearest, minlength=len(grid))[:, None]
    total = torch.zeros_like(grid).index_add_(0, nearest, vectors)
    return torch.where(count > 0, total / count.clamp(min=1), grid), count


def vector_grid(dimension: int, codes: int, seed: int) -> Tensor:
    """One start: CLVQ on fresh vectors, then Lloyd on a fixed sample; (codes, dimension)."""
    generator = torch.Generator().manual_seed(seed)
    # In the limit of many codes their best density is N(0, (p+2)/p) (Zador's exponent p/(p+2)).
    grid = torch.randn(codes, dimension, generator=generator) * sqrt((dimension + 2) / dimension)
    for step in range(STEPS):
        batch = torch.randn(BATCH, dimension, generator=generator)
        mean, count = centroids(batch, grid)
        # Beyond the centroid at first (over-relaxed Lloyd), an average over batches at last.
        grid = grid + 1.8 / (1.0 + step / 50.0) * (mean - grid)
        if step < STEPS // 2:  # a code without vectors starts again at a random vector
            grid = torch.where(count > 0, grid, batch[:codes])
    sample = torch.randn(POLISH, dimension, generator=generator)
    for _ in range(POLISH_STEPS):
        grid = centroids(sample, grid)[0]
    return grid


def measure(grid: Tensor, seed: int) -> tuple[float, float]:
    """E‖x - nearest code‖²/dimension for x ~ N(0, I) and its standard error."""
    generator = torch.Generator().manual_seed(seed)
    total = square = 0.0
    for _ in range(MEASURE // POLISH):
        x = torch.randn(POLISH, grid.shape[1], generator=generator)
        error = (x - grid[nearest_code(x, grid)]).square().mean(1).double()
        total += float(error.sum())
        square += float(error.square().sum())
    mean = total / MEASURE
    return mean, sqrt((square / MEASURE - mean**2) / MEASURE)


def train(dimension: int, codes: int) -> tuple[Tensor, dict[str, Any]]:
    """The best codebook of a size, and its line of the manifest."""
    line: dict[str, Any] = {"dimension": dimension, "codes": codes}
    if dimension == 1:
        grid = scalar_grid(codes)
        error = grid_mse(grid[:, 0].double().numpy())
        return grid, {**line, "mse": error, "stderr": 0.0, "mse_of_seeds": [error]}
    starts = [vector_grid(dimension, codes, seed) for seed in range(SEEDS)]
    # One sample for all: differences between starts are then far more precise than stderr.
    found = [measure(grid, SEEDS) for grid in starts]
    best = min(range(SEEDS), key=lambda i: found[i][0])
    mse, stderr = found[best]
    return starts[best], {
        **line,
        "mse": mse,
        "stderr": stderr,
        "mse_of_seeds": [m for m, _ in found],
    }


def main(sizes: list[str]) -> None:
    """Train, write vq<dimension>x<codes>.npy, and bring manifest.json up to date."""
    manifest = HERE / "manifest.json"
    lines = json.loads(manifest.read_text(encoding="utf-8")) if manifest.exists() else {}
    for dimension, codes in SIZES:
        name = f"{dimension}x{codes}"
        if sizes and name not in sizes:
            continue
        grid, lines[name] = train(dimension, codes)
        np.save(HERE / f"vq{name}.npy", grid.numpy(), allow_pickle=False)
        text = json.dumps(lines, indent=1) + "\n"
        manifest.write_text(text, encoding="utf-8")
        print(name, lines[name])


if __name__ == "__main__":
    main(sys.argv[1:])
