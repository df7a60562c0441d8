"""Runs in parallel processes of one thread each, on this machine."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

# Seconds between two progress messages of a worker: one a step kept the parent at 7 % of a core.
MESSAGE_EVERY = 0.5
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS")


@dataclass(frozen=True)
class Outcome:
    """How one run of a sweep ended: its index, its record's facts or its error."""

    index: int
    status: str
    text: str
    trained: bool


# (overrides, progress) to (status, what to tell, whether it was trained now)
Execute = Callable[[Sequence[str], Callable[[int, int], None]], tuple[str, str, bool]]


def _work(connection: Any, execute: Execute) -> None:
    """A worker: receives (index, overrides), trains, sends shares done and an Outcome."""
    spoke = -MESSAGE_EVERY

    def tell(done: int, total: int) -> None:
        nonlocal spoke
        now = time.monotonic()
        if now - spoke >= MESSAGE_EVERY:
            spoke = now
            connection.send(("step", done / total))

    while (job := connection.recv()) is not None:
        index, overrides = job
        try:
            ended = execute(overrides, tell)
            connection.send(Outcome(index, *ended))
        except Exception as error:  # one run's failure must not end the others
            text = " ".join(f"{type(error).__name__}: {error}".split())
            connection.send(Outcome(index, "failed", f"{' '.join(overrides)}: {text}", True))


def run_all(
    jobs: Sequence[tuple[int, Sequence[str]]],
    execute: Execute,
    *,
    workers: int,
    on_outcome: Callable[[Outcome], None],
    on_progress: Callable[[dict[int, float]], None],
) -> None:
    """Run every job, ``workers`` at a time.

    Args:
        jobs: (index, overrides) in the order they should start; long ones first end soonest.
        execute: trains one run; must be picklable.
        workers: processes.
        on_outcome: called as each run ends.
        on_progress: called with {index: share done} of the runs in hand.
    """
    # Before the workers import numpy or torch: they read these once.
    os.environ.update(dict.fromkeys(THREADS, "1"))
    context = multiprocessing.get_context("spawn")
    waiting = list(jobs)
    shares: dict[int, float] = {}
    hands: dict[Any, tuple[Any, int | None]] = {}
    for _ in range(min(workers, len(waiting))):
        ours, theirs = context.Pipe()
        process = context.Process(target=_work, args=(theirs, execute), daemon=True)
        process.start()
        theirs.close()
        hands[ours] = (process, None)
    try:
        for connection in list(hands):
            _next(connection, hands, waiting, shares)
        while hands:
            for ready in multiprocessing.connection.wait(list(hands), timeout=1.0):
                _receive(ready, hands, waiting, shares, on_outcome)
            on_progress(dict(shares))
        for index, overrides in waiting:  # every worker died
            on_outcome(Outcome(index, "failed", f"{' '.join(overrides)}: not started", True))
    finally:
        for process, _ in hands.values():
            process.terminate()
        for process, _ in hands.values():
            process.join(timeout=5)


def _next(
    connection: Any,
    hands: dict[Any, tuple[Any, int | None]],
    waiting: list[tuple[int, Sequence[str]]],
    shares: dict[int, float],
) -> None:
    process, _ = hands[connection]
    if not waiting:
        connection.send(None)
        del hands[connection]
        return
    job = waiting.pop(0)
    shares[job[0]] = 0.0
    hands[connection] = (process, job[0])
    connection.send(job)


def _receive(
    connection: Any,
    hands: dict[Any, tuple[Any, int | None]],
    waiting: list[tuple[int, Sequence[str]]],
    shares: dict[int, float],
    on_outcome: Callable[[Outcome], None],
) -> None:
    process, index = hands[connection]
    assert index is not None
    try:
        message = connection.recv()
    except (EOFError, ConnectionError):
        del hands[connection]
        process.join()
        on_outcome(Outcome(index, "failed", f"worker died with code {process.exitcode}", True))
        return
    if isinstance(message, Outcome):
        shares.pop(index, None)
        on_outcome(message)
        _next(connection, hands, waiting, shares)
    else:
        shares[index] = message[1]
