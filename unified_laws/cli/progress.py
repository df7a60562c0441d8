"""Progress bars with the time left, on a terminal only."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


def bars(console: Console) -> Progress:
    """A rich progress display: text, bar, count, time left."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(elapsed_when_finished=True),
        console=console,
    )


@contextmanager
def step_bar(*, enabled: bool, text: str = "steps") -> Iterator[Callable[[int, int], None] | None]:
    """A bar driven by calls with (done, total); None where nobody watches."""
    console = Console(stderr=True)
    if not enabled or not console.is_terminal:
        yield None
        return
    with bars(console) as display:
        task = display.add_task(text, total=None)
        yield lambda done, total: display.update(task, completed=done, total=total)
