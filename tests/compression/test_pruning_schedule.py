"""The cubic schedule of GMP against its closed form."""

from __future__ import annotations

import pytest

from unified_laws.compression.pruning_schedule import CubicSchedule
from unified_laws.compression.sparsifier.scheduled_magnitude import ScheduledMagnitude
from unified_laws.errors import UsageError


def test_the_closed_form_of_zhu_and_gupta() -> None:
    schedule = CubicSchedule(initial=0.1, start=0.2, end=0.8, every=20)
    for step in range(1000):
        found = schedule.sparsity(0.9, step=step, steps=1000)
        if step < 200:
            assert found == 0.1
        elif step >= 800:
            assert found == 0.9
        else:
            t = 200 + (step - 200) // 20 * 20
            assert found == pytest.approx(0.9 + (0.1 - 0.9) * (1 - (t - 200) / (30 * 20)) ** 3)


def test_it_grows_and_jumps_where_start_is_end() -> None:
    schedule = CubicSchedule(initial=0.0, start=0.0, end=0.75, every=7)
    levels = [schedule.sparsity(0.5, step=step, steps=90) for step in range(91)]
    assert levels == sorted(levels)
    assert (levels[0], levels[-1]) == (0.0, 0.5)
    jump = CubicSchedule(initial=0.0, start=0.5, end=0.5, every=1)
    assert [jump.sparsity(0.5, step=step, steps=10) for step in (4, 5)] == [0.0, 0.5]


def test_refusals() -> None:
    with pytest.raises(UsageError, match="initial: got 1,"):
        CubicSchedule(initial=1.0, start=0.0, end=1.0, every=1)
    for start, end in [(0.5, 0.4), (-0.1, 0.5), (0.0, 1.1)]:
        with pytest.raises(UsageError, match="start and end: got"):
            CubicSchedule(initial=0.0, start=start, end=end, every=1)
    schedule = CubicSchedule(initial=0.0, start=0.0, end=0.5, every=1)
    with pytest.raises(UsageError, match="refresh: got 0"):
        ScheduledMagnitude(sparsity=0.5, scope="tensor", schedule=schedule, refresh=0)
    with pytest.raises(UsageError, match=r"every: got 1\.5"):
        CubicSchedule(initial=0.0, start=0.0, end=0.5, every=1.5)  # type: ignore[arg-type]
