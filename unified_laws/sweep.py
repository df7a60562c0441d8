"""Many runs from one file: python -m unified_laws.sweep sweep=demo action=plan|launch."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from unified_laws.cli.entry import Config, compose, entry
from unified_laws.cli.grid import Grid, read_grid
from unified_laws.errors import UsageError

# What a step costs besides its FLOPs, in FLOPs: small models are bound by the calls. Measured on
# one CPU thread: 4.4 ms a step and 1.4e-11 s a FLOP. It only weights the progress bar.
STEP_COST = 3e8


def make_config(runs_dir: str, cache_dir: str, extra: Sequence[str], run: Sequence[str]) -> Config:
    """The resolved training configuration of one run of a grid."""
    paths = [f"runs_dir={runs_dir}", f"cache_dir={cache_dir}", "threads=1"]
    return compose("train", [*run, *extra, *paths])


def train_one(
    make: Callable[[Sequence[str]], Config],
    overrides: Sequence[str],
    progress: Callable[[int, int], None],
) -> tuple[str, str, bool]:
    """Train one run of a grid: (status, what to tell, whether it was trained now)."""
    from unified_laws.train import run

    record, trained, folder = run(make(overrides), progress)
    loss = record.message if record.val_loss is None else f"{record.val_loss:.4f}"
    text = (
        f"{record.format} {record.model} D={record.num_tokens:,} seed {record.seed} "
        f"{loss} -> {folder}"
    )
    return record.status, text, trained


def _maker(config: Config) -> functools.partial[Config]:
    extra = [str(override) for override in config["overrides"]]
    return functools.partial(make_config, config["runs_dir"], config["cache_dir"], extra)


def _status(folder: Path) -> str:
    from unified_laws.records.record import read_record

    return read_record(folder).status if (folder / "record.json").exists() else "missing"


def plan_all(grid: Grid, config: Config) -> list[tuple[tuple[str, ...], Any, str]]:
    """(overrides, RunPlan, status on disk) of every distinct run, the costliest first.

    Equal twins (w4a16 and int4) are one run; every configuration is built, so a mistake in any of
    them is found before the first trains.
    """
    from unified_laws.train import plan_run

    make = _maker(config)
    plans: dict[str, tuple[tuple[str, ...], Any, str]] = {}
    for run in grid.runs:
        plan, _ = plan_run(make(run))
        if plan.run_id not in plans:
            plans[plan.run_id] = (run, plan, _status(Path(config["runs_dir"]) / plan.run_id))
    return sorted(plans.values(), key=lambda item: -_flops(item[1]))


def _flops(plan: Any) -> float:
    from unified_laws.model.counting import training_flops

    return training_flops(plan.shape, plan.num_tokens)


def _plan(config: Config) -> None:
    from rich.console import Console
    from rich.table import Table

    grid = read_grid(config["sweep"])
    plans = plan_all(grid, config)
    table = Table(title=f"{grid.name}: {grid.question}")
    for heading in ("run", "format", "model", "D", "seed", "FLOPs", "status"):
        table.add_column(heading)
    for _, plan, status in plans:
        table.add_row(
            plan.run_id,
            plan.format.name,
            plan.model_name,
            f"{plan.num_tokens:,}",
            str(plan.seed),
            f"{_flops(plan):.2e}",
            status,
        )
    Console(width=110).print(table)
    todo = [plan for _, plan, status in plans if status not in ("finished", "diverged")]
    print(
        f"{len(plans)} runs, {len(todo)} to train, {sum(map(_flops, todo)):.3g} FLOPs; "
        f"start them with action=launch"
    )


def _launch(config: Config) -> None:
    from unified_laws.cli.workers import Outcome, run_all

    if not isinstance(config["workers"], int) or config["workers"] < 1:
        raise UsageError(f"workers is {config['workers']!r}; it must be a whole number from 1")
    grid = read_grid(config["sweep"])
    plans = plan_all(grid, config)
    todo = [(run, plan) for run, plan, status in plans if status not in ("finished", "diverged")]
    done = len(plans) - len(todo)
    print(f"{grid.name}: {len(plans)} runs, {done} already done, {len(todo)} to train", flush=True)
    failed: list[Outcome] = []
    if todo:
        from unified_laws.cli.sweep_progress import SweepProgress

        costs = [_flops(plan) + STEP_COST * plan.steps for _, plan in todo]
        with SweepProgress(costs, enabled=config["progress"]) as view:

            def on_outcome(outcome: Outcome) -> None:
                if outcome.status == "failed":
                    failed.append(outcome)
                view.ended(outcome.index, f"{outcome.status}: {outcome.text}")

            run_all(
                [(index, run) for index, (run, _) in enumerate(todo)],
                functools.partial(train_one, _maker(config)),
                workers=config["workers"],
                on_outcome=on_outcome,
                on_progress=view.shares,
            )
    if failed:
        raise UsageError(
            f"{len(failed)} of {len(todo)} runs failed, the first: {failed[0].text}; "
            "the same command runs the failed ones again"
        )


main = entry("sweep", {"plan": _plan, "launch": _launch})

if __name__ == "__main__":
    main()
