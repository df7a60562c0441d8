"""Every format of the registry trains: 200 steps on the smallest micro size that accepts it."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from tests.conftest import TEXT
from unified_laws.cli.entry import compose
from unified_laws.cli.paths import config_dir
from unified_laws.cli.registry import registry_names
from unified_laws.errors import UsageError
from unified_laws.train import plan_run, run

SIZES = ("micro_10k", "micro_20k", "micro_30k", "micro_200k")


@pytest.mark.slow
@pytest.mark.parametrize("name", registry_names(config_dir()))
def test_200_steps_end_with_a_finite_loss(name: str, cache_dir: Path, tmp_path: Path) -> None:
    settings = [
        "data=sotu_tiny",
        f"data.source.path={TEXT}",
        "model.batch_size=4",
        f"num_tokens={200 * 4 * 32}",
        "validation.max_tokens=2048",
        f"cache_dir={cache_dir}",
        f"runs_dir={tmp_path}",
        "save_weights=false",
        f"+format={name}",
    ]
    for size in SIZES:
        config = compose("train", [*settings, f"model={size}"])
        try:
            plan_run(config)
        except UsageError:
            continue
        record, _, _ = run(config)
        assert record.status == "finished", record.message
        assert record.steps == 200
        assert record.val_loss is not None
        assert math.isfinite(record.val_loss)
        assert record.val_loss < math.log(512)  # it learned something
        return
    pytest.fail(f"no size of {SIZES} accepts {name}")
