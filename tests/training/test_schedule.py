from __future__ import annotations

import pytest
import torch

from unified_laws.errors import UsageError
from unified_laws.training.schedule import OneCycleCosine


@pytest.mark.parametrize("steps", [20, 57, 200])
def test_equals_torchs_one_cycle(steps: int) -> None:
    """QuEST trains with OneCycleLR(pct_start=.1, div_factor=100, final_div_factor=.1)."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        max_lr=1.0,
        total_steps=steps,
        pct_start=0.1,
        anneal_strategy="cos",
        cycle_momentum=False,
        div_factor=100,
        final_div_factor=0.1,
    )
    ours = OneCycleCosine(warmup_share=0.1, start_factor=0.01, final_factor=0.1)
    for step in range(steps):
        assert ours(step, steps) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9)
        optimizer.step()
        if step < steps - 1:
            theirs.step()


def test_ends_and_peak() -> None:
    schedule = OneCycleCosine(warmup_share=0.2, start_factor=0.0, final_factor=0.1)
    values = [schedule(step, 100) for step in range(100)]
    assert values[0] == 0
    assert max(values) == values[19] == 1
    assert values[-1] == pytest.approx(0.1)
    assert OneCycleCosine(warmup_share=0, start_factor=0.1, final_factor=0.1)(0, 1) > 0


def test_refuses_shares_outside_their_range() -> None:
    with pytest.raises(UsageError, match=r"warmup_share is 1.*allowed is \[0, 1\)"):
        OneCycleCosine(warmup_share=1, start_factor=0, final_factor=0)
    with pytest.raises(UsageError, match="final_factor is 2"):
        OneCycleCosine(warmup_share=0.1, start_factor=0, final_factor=2)
