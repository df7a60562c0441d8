"""Runs of a known law, and the real tables beside the repository."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from unified_laws.laws.loss_law import LossLaw
from unified_laws.laws.table import RunTable, read_runs

LAW = LossLaw(np.log(60.0), np.log(400.0), np.log(1.6), 0.25, 0.30)
RHO: Mapping[str, float] = {"bf16": 1.0, "int4": 0.85, "int3": 0.62, "int2": 0.33, "s50": 0.55}
SIZES = (1e6, 2e6, 4e6, 8e6)
RATIOS = (20.0, 50.0, 100.0)


def make_table(
    formats: Sequence[str], num_params: np.ndarray, num_tokens: np.ndarray, loss: np.ndarray
) -> RunTable:
    return RunTable(
        tuple(formats),
        num_params,
        num_tokens,
        loss,
        np.zeros(len(loss), dtype=np.int64),
        np.full(len(loss), np.nan),
    )


def planted_table(
    noise: float = 0.0,
    seed: int = 0,
    *,
    sizes: Sequence[float] = SIZES,
    ratios: Sequence[float] = RATIOS,
    rho: Mapping[str, float] = RHO,
    law: LossLaw = LAW,
) -> RunTable:
    rows = [(name, n, n * ratio) for name in rho for n in sizes for ratio in ratios]
    formats = [row[0] for row in rows]
    num_params, num_tokens = (np.array([row[i] for row in rows]) for i in (1, 2))
    loss = law.predict(num_params, num_tokens, np.array([rho[name] for name in formats]))
    loss = loss * np.exp(noise * np.random.default_rng(seed).standard_normal(len(rows)))
    return make_table(formats, num_params, num_tokens, loss)


def shared_file(name: str) -> Path:
    path = Path(__file__).resolve().parents[3] / "shared" / "data" / name
    if not path.exists():
        pytest.skip(f"{name} is not in ../shared/data beside the repository")
    return path


def quest_table() -> RunTable:
    columns = {
        "format": "label",
        "num_params": "N_nonemb",
        "num_tokens": "D_tokens",
        "val_loss": "loss",
    }
    return read_runs(shared_file("quest_qat_runs.csv"), columns=columns, dense="BF16")
