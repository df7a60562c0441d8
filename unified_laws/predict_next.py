"""Which runs to add: python -m unified_laws.predict action=next format=int4 target_stderr=0.02."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from unified_laws.cli.entry import Config, compose
from unified_laws.cli.values import Rule, check_values
from unified_laws.errors import UsageError
from unified_laws.predict_context import COUNTS, Context, finish, read_table
from unified_laws.records.files import write_text

if TYPE_CHECKING:
    from unified_laws.laws.design import Candidate, Plan
    from unified_laws.laws.result import LawsResult


def next_action(config: Config) -> None:
    """Print the runs to add, their cost, what they will tell and how to make them."""
    from unified_laws.figures.design_plot import draw_plan, plan_alt
    from unified_laws.laws.design import TARGETS, capacity_target, loss_target, plan_runs

    rules: dict[str, Rule] = {
        "repeats": (int, 1, False),
        "vocab_size": (int, 1, False),
        "throughput": (float, 1, False),
        "target_stderr": (float, 0, True),
        "budget_hours": (float, 0, True),
        "expected_rho": (float, 1e-6, True),
    }
    check_values(config, rules)
    if config["target"] not in TARGETS:
        raise UsageError(f"target is {config['target']!r}; allowed: {', '.join(TARGETS)}")
    if config["target"] == "loss":
        check_values(config, COUNTS)
    context = Context(config)
    information, dense = context.information, context.laws.dense
    name = str(config["name"] or "")
    if not name and config["target"] != "all":
        raise UsageError("give a format, as in format=int4")
    expected = ""
    if name and name not in (dense, *information.formats):
        if config["expected_rho"] is not None:
            rho = float(config["expected_rho"])
        else:
            source = context.capacity(name)
            rho, expected = source.rho, f" ({source.note})"
        expected = f"{name} was not run yet; expected rho {rho:.3f}{expected}"
        information = information.with_format(name, rho)
    formats = [dense, *([name] if name and name != dense else information.formats)]
    candidates = _candidates(config, context.laws, formats)
    for label in dict.fromkeys(candidate.format for candidate in candidates):
        if label not in (dense, *information.formats):
            information = information.with_format(label, context.capacity(label).rho)
    if config["target"] == "loss":
        counts = {key: float(config[key]) for key in COUNTS}
        target = loss_target(information, name, **counts)
    else:
        target = capacity_target(information, [name] if name else list(information.formats))
    plan = plan_runs(
        information,
        candidates,
        target,
        target_stderr=config["target_stderr"],
        budget=config["budget_hours"],
        criterion=str(config["criterion"]),
    )
    lines = [expected] if expected else []
    if name in (entry.format for entry in context.laws.capacities):
        found = context.laws.capacity(name)
        reach = information.quantile * capacity_target(information, [name]).stderr(information)
        lines.append(f"{name}: rho {found.rho:.3f} ± {reach:.3f} (95 %, {found.runs} runs)")
    lines.append(plan.summary())
    lines += _commands(config, context.laws, plan)
    figure = draw_plan(plan) if config["figure"] else None
    finish(config, plan, "\n".join(lines), figure, plan_alt(plan))


def _candidates(config: Config, laws: LawsResult, formats: list[str]) -> list[Candidate]:
    from unified_laws.cli.candidates import default_candidates, read_candidates

    shared = {key: config[key] for key in ("repeats", "throughput", "vocab_size")}
    if config["candidates"]:
        return read_candidates(Path(config["candidates"]), formats, **shared)
    sizes = [run.num_params for run in laws.residuals]
    return default_candidates(
        formats,
        models=config["models"],
        ratios=config["ratios"],
        fitted=(min(sizes), max(sizes)),
        **shared,
    )


def _commands(config: Config, laws: LawsResult, plan: Plan) -> list[str]:
    """How to make the runs of a plan, and the sweep file if one is asked for."""
    from unified_laws.cli.candidates import planned_runs, sweep_text, train_commands

    if not plan.steps:
        return []
    runs = planned_runs([step.candidate for step in plan.steps], laws)
    if not runs:
        return ["the candidates name no model of conf/model, so there is no command to make them"]
    file = config["sweep_out"]
    if not file:
        return ["run them with (or with one sweep: sweep_out=next.yaml):", *train_commands(runs)]
    if not str(file).endswith(".yaml"):
        raise UsageError(f"sweep_out is {file!r}; allowed is a name ending in .yaml")
    write_text(Path(file), sweep_text(str(file), f"What is {plan.target}?", runs))
    again = "the same command with runs=runs.csv instead of laws="
    return [
        "run them, then ask again:",
        f"  python -m unified_laws.sweep sweep={file} action=launch runs_dir=runs",
        "  python -m unified_laws.collect runs_dir=runs out=runs.csv",
        f"  {again}",
    ]


def replay_action(config: Config) -> None:
    """Print and draw what a design would have saved on a table of finished runs."""
    from unified_laws.cli.progress import step_bar
    from unified_laws.figures.design_plot import draw_replay, replay_alt
    from unified_laws.laws.cost import FLOPS_PER_PARAMETER_AND_TOKEN
    from unified_laws.laws.replay import replay

    check_values(
        config, {"goal": (float, 1, False), "starts": (int, 1, False), "every": (int, 1, False)}
    )
    if not config["name"]:
        raise UsageError("give a format, as in format=int4")
    table = read_table(config)
    cost = FLOPS_PER_PARAMETER_AND_TOKEN * table.num_params * table.num_tokens
    with step_bar(enabled=config["progress"], text="per cent") as progress:
        result = replay(
            table,
            cost.tolist(),
            dense=str(config["dense"]),
            format=str(config["name"]),
            goal=float(config["goal"]),
            delta=float(compose("fit", ["runs=none"])["delta"]),
            starts=config["starts"],
            every=config["every"],
            progress=progress,
        )
    figure = draw_replay(result) if config["figure"] else None
    finish(config, result, f"cost in FLOPs (6 N D)\n{result.summary()}", figure, replay_alt(result))
