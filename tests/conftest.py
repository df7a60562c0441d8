"""Settings of every test: one thread, no network, no colours."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TEXT = ROOT / "tests" / "data" / "sotu_tiny.txt"

# CI ends a run after 90 minutes: a slow test begins before this many, or is skipped and says so.
SLOW_MINUTES = 50.0
BEGAN = time.monotonic()

# Before numpy or torch is imported: two threads in one process collapse when anything else runs.
for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[name] = "1"
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["NO_COLOR"] = "1"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Slow tests last, so that what is skipped for want of time is one of them."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is not None)


def pytest_runtest_setup(item: pytest.Item) -> None:
    passed = (time.monotonic() - BEGAN) / 60.0
    if item.get_closest_marker("slow") and passed > SLOW_MINUTES:
        pytest.skip(f"slow, and {passed:.0f} of the {SLOW_MINUTES:g} minutes for such are over")


@pytest.fixture(autouse=True)
def one_thread() -> None:
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the committed text is tokenised once for all tests."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def tiny(cache_dir: Path, tmp_path: Path) -> list[str]:
    """Overrides of a training run of seconds on the committed text."""
    return [
        "data=sotu_tiny",
        f"data.source.path={TEXT}",
        "model=micro_10k",
        "model.batch_size=4",
        "model.seq_len=64",
        "num_tokens=5120",
        "validation.max_tokens=2048",
        f"cache_dir={cache_dir}",
        f"runs_dir={tmp_path / 'runs'}",
        "log_every=1",
    ]


def run_module(
    module: str, *arguments: str, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """``python -m unified_laws.<module> <arguments>`` in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", f"unified_laws.{module}", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        timeout=300,
    )


def assert_one_line_error(done: subprocess.CompletedProcess[str], words: Sequence[str]) -> None:
    """A user's mistake: exit code 2, one line, no traceback, and these words in it."""
    assert done.returncode == 2, done.stdout + done.stderr
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("error: ")
    for word in words:
        assert word in lines[0], lines[0]
