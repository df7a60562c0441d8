"""The shipped codebooks."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unified_laws.errors import UsageError


@dataclass(frozen=True, eq=False)
class Codebook:
    """Vectors that represent N(0, I) with small error.

    Attributes:
        codes: float32 (codes, dimension), on the CPU.
        mse: E‖x - nearest code‖²/dimension for x ~ N(0, I), measured when it was trained.
        stderr: Monte-Carlo standard error of `mse`; 0 in dimension 1, where it is exact.
        mse_of_seeds: the same of every start; the least was kept.
    """

    codes: Tensor
    mse: float
    stderr: float
    mse_of_seeds: tuple[float, ...]


@cache
def manifest() -> dict[str, dict[str, Any]]:
    """What `grids.train` wrote about each codebook, by name (2x256)."""
    text = files(__package__).joinpath("manifest.json").read_text(encoding="utf-8")
    found: dict[str, dict[str, Any]] = json.loads(text)
    return found


@cache
def codebook(dimension: int, codes: int) -> Codebook:
    """The codebook of `codes` vectors of `dimension` values.

    Raises:
        UsageError: none of that size is shipped.
    """
    line = manifest().get(f"{dimension}x{codes}")
    if line is None:
        raise UsageError(
            f"vector grid {dimension}x{codes}: got a size that is not shipped, allowed are "
            f"{', '.join(manifest())}; take one of them, or train it with "
            "python -m unified_laws.compression.grids.train after adding it to SIZES there"
        )
    with files(__package__).joinpath(f"vq{dimension}x{codes}.npy").open("rb") as file:
        values = np.load(file, allow_pickle=False)
    return Codebook(
        codes=torch.from_numpy(values),
        mse=float(line["mse"]),
        stderr=float(line["stderr"]),
        mse_of_seeds=tuple(line["mse_of_seeds"]),
    )
