"""How far a sweep is, weighted by cost, with the time left."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

PLAIN_EVERY = 30.0  # seconds between lines where there is no terminal


class SweepProgress:
    """A bar on a terminal, a line now and then elsewhere.

    Args:
        costs: FLOPs of each run, by index.
        enabled: False prints only the outcomes.
    """

    def __init__(self, costs: Sequence[float], *, enabled: bool) -> None:
        self._costs = costs
        self._ended: set[int] = set()
        self._console = Console(highlight=False, soft_wrap=True)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("time left"),
            TimeRemainingColumn(),
            console=self._console,
            disable=not (enabled and self._console.is_terminal),
        )
        self._lines = enabled and not self._console.is_terminal
        self._task = self._bar.add_task("runs", total=sum(costs))
        self._start = self._spoke = time.monotonic()

    def __enter__(self) -> SweepProgress:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def ended(self, index: int, text: str) -> None:
        """A run ended: print its outcome."""
        self._ended.add(index)
        self._console.print(f"[{len(self._ended)}/{len(self._costs)}] {text}", markup=False)
        self.shares({})

    def shares(self, running: Mapping[int, float]) -> None:
        """Update with the share done of each running run."""
        done = sum(self._costs[index] for index in self._ended)
        done += sum(share * self._costs[index] for index, share in running.items())
        self._bar.update(
            self._task,
            completed=done,
            description=f"{len(self._ended)} of {len(self._costs)} runs",
        )
        now = time.monotonic()
        if self._lines and done and now - self._spoke > PLAIN_EVERY:
            self._spoke = now
            left = (now - self._start) * (sum(self._costs) / done - 1)
            share = 100 * done / sum(self._costs)
            self._console.print(f"{share:.0f} %, about {left / 60:.1f} minutes left", markup=False)
