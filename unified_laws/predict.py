"""Runs that were not made: python -m unified_laws.predict laws=laws.json action=loss|best|..."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unified_laws.cli.entry import Config, compose, entry
from unified_laws.cli.values import Rule, check_values
from unified_laws.errors import UsageError
from unified_laws.records.files import read_json, write_bytes, write_json, write_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from unified_laws.laws.capacity_source import CapacitySource
    from unified_laws.laws.design import Candidate, Plan
    from unified_laws.laws.frozen import ScoreBoard
    from unified_laws.laws.json_result import JsonResult
    from unified_laws.laws.prediction import Prediction
    from unified_laws.laws.result import LawsResult
    from unified_laws.laws.table import RunTable

COUNTS: dict[str, Rule] = {"num_params": (float, 1, False), "num_tokens": (float, 1, False)}


def _table(config: Config) -> RunTable:
    from unified_laws.laws.table import read_runs

    if not config["runs"]:
        raise UsageError("give laws=laws.json (of the fit module), or runs=runs.csv to fit now")
    return read_runs(
        Path(config["runs"]), columns=config["columns"] or {}, dense=str(config["dense"])
    )


class Context:
    """The laws of a configuration and the capacity of any format by them.

    Args:
        config: the resolved configuration ``predict``.
    """

    def __init__(self, config: Config) -> None:
        from unified_laws.cli.capacities import Capacities, check_rows
        from unified_laws.gmse import Meter, gmse_row
        from unified_laws.laws.fitting import fit_laws
        from unified_laws.laws.information import Information
        from unified_laws.laws.result import LawsResult

        self.config = config
        if config["laws"]:
            self.laws: LawsResult = LawsResult.from_json(read_json(Path(config["laws"])))
        else:
            settings = compose("fit", ["runs=none"])
            self.laws = fit_laws(
                _table(config),
                dense=str(config["dense"]),
                delta=float(settings["delta"]),
                starts=settings["starts"],
                bootstrap=0,
                seed=settings["seed"],
            )
        self.information = Information.of(self.laws, noise=config["noise"])
        meters: list[tuple[Config, Meter]] = []

        def measure(name: str) -> dict[str, Any]:
            if not meters:
                settings = compose("gmse", [])
                meters.append((settings, Meter(settings)))
            return gmse_row(name, *meters[0])

        rows = check_rows(config["gmse"], read_json(Path(config["gmse"]))) if config["gmse"] else []
        self.capacity = Capacities(self.laws, self.information, measure=measure, rows=rows)

    def asked(self) -> CapacitySource:
        """Capacity of the format asked for, from the source asked for."""
        if not self.config["name"]:
            raise UsageError("give a format, as in format=int4")
        return self.capacity(str(self.config["name"]), self.config["rho_source"])

    def predict(self) -> Prediction:
        """The loss asked for."""
        from unified_laws.laws.prediction import predict_loss

        counts = {key: float(self.config[key]) for key in COUNTS}
        return predict_loss(self.laws, self.information, self.asked(), **counts)


def _finish(
    config: Config, result: JsonResult, text: str, figure: Figure | None = None, alt: str = ""
) -> None:
    """Write what was asked for, then print."""
    from unified_laws.figures.save import picture_bytes

    if config["figure"]:
        if figure is None:
            raise UsageError(f"action={config['action']} has no figure; leave figure= out")
        path = Path(config["figure"])
        write_bytes(path, picture_bytes(figure, path, alt=alt))
    if config["out"]:
        write_json(Path(config["out"]), result.to_json())
    print(text)


def predict_loss(config: Config) -> dict[str, Any]:
    """The loss of one run as JSON: ``val_loss, low, high`` in nats, ``rho``, ``source`` and more.

    Raises:
        UsageError: a number is out of range, or nothing tells the format's capacity.
    """
    check_values(config, COUNTS)
    return Context(config).predict().to_json()


def _loss(config: Config) -> None:
    check_values(config, COUNTS)
    prediction = Context(config).predict()
    _finish(config, prediction, prediction.summary())


def _iso(config: Config) -> None:
    from unified_laws.laws.iso_loss import iso_loss

    check_values(config, COUNTS)
    context = Context(config)
    counts = {key: float(config[key]) for key in COUNTS}
    found = iso_loss(context.laws, context.information, context.asked(), **counts)
    _finish(config, found, found.summary())


def _best(config: Config) -> None:
    from unified_laws.cli.capacities import format_bits
    from unified_laws.cli.format_names import is_format_name
    from unified_laws.cli.paths import config_dir
    from unified_laws.figures.budget_plot import budget_alt, draw_budget
    from unified_laws.laws.budget import Tokens, best_formats
    from unified_laws.laws.cost import Serving, inference_bytes, training_flops, weight_bytes

    rules: dict[str, Rule] = {f"serving.{key}": (float, 1, False) for key in config["serving"]}
    for key in ("num_tokens", "tokens_per_param", "max_params"):
        rules[key] = (float, 0, True)
    check_values(config, {"budget": (float, 0, False), **rules})
    costs = {
        "weight_bytes": weight_bytes,
        "training_flops": training_flops(config["counting"]),
        "inference_bytes": inference_bytes(Serving(**config["serving"])),
    }
    if config["cost"] not in costs:
        raise UsageError(f"cost is {config['cost']!r}; allowed: {', '.join(costs)}")
    if config["formats"] is not None and not isinstance(config["formats"], list):
        raise UsageError(f"formats is {config['formats']!r}; give a list as in formats=[int4,int2]")
    context = Context(config)
    names = [str(name) for name in config["formats"] or ()]
    left: list[str] = []
    if not names:  # labels of other projects have no bits that we know
        all_names = [entry.format for entry in context.laws.capacities]
        names = [name for name in all_names if is_format_name(name, config_dir())]
        left = [name for name in all_names if name not in names]
    flops = config["cost"] == "training_flops"
    result = best_formats(
        context.laws,
        context.information,
        [(context.capacity(name, config["rho_source"]), format_bits(name)) for name in names],
        cost=costs[config["cost"]],
        cost_name=config["cost"].replace("_", " ") + (f" ({config['counting']})" if flops else ""),
        budget=float(config["budget"]),
        tokens=Tokens(config["num_tokens"], config["tokens_per_param"]),
        flop_share=(lambda bits: bits.flop_share(config["counting"])) if flops else None,
        max_params=config["max_params"],
    )
    note = f"\nnot compared, their bits are not known: {', '.join(left)}" if left else ""
    figure = draw_budget(result) if config["figure"] else None
    _finish(config, result, result.summary() + note, figure, budget_alt(result))


def _next(config: Config) -> None:
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
    _finish(config, plan, "\n".join(lines), figure, plan_alt(plan))


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


def _freeze(config: Config) -> None:
    from unified_laws.laws.frozen import freeze
    from unified_laws.training.provenance import git_state, now

    check_values(config, COUNTS)
    if not config["out"]:
        raise UsageError("give the file of the frozen prediction, as in out=frozen/int4.json")
    if not config["laws"]:
        raise UsageError("a frozen prediction names its laws by their hash; give laws=laws.json")
    out = Path(config["out"])
    if out.exists():
        raise UsageError(f"{out} exists; what is frozen is not changed: choose another name")
    context = Context(config)
    frozen = freeze(
        context.laws,
        context.predict(),
        laws_sha256=hashlib.sha256(Path(config["laws"]).read_bytes()).hexdigest(),
        frozen_at=now(),
        git_commit=git_state()[0],
    )
    _finish(config, frozen, f"{frozen.summary()}\n-> {out}")


def score_frozen(files: list[str], runs: str, columns: dict[str, str]) -> ScoreBoard:
    """Frozen predictions of ``files`` (or folders of them) against the table ``runs``.

    Raises:
        UsageError: no such file, or one that holds something else.
    """
    from unified_laws.laws.frozen import FrozenPrediction, read_landed, score

    paths: list[Path] = []
    for path in map(Path, files):
        paths += sorted(path.glob("*.json")) if path.is_dir() else [path]
    frozen = [FrozenPrediction.from_json(read_json(path)) for path in paths]
    return score(frozen, read_landed(Path(runs), columns))


def _score(config: Config) -> None:
    from unified_laws.figures.calibration_plot import calibration_alt, draw_calibration

    if not isinstance(config["frozen"], list) or not config["frozen"]:
        raise UsageError("give the frozen predictions, as in frozen=[frozen/int4.json] or a folder")
    if not config["runs"]:
        raise UsageError("give the table of landed runs, as in runs=runs.csv")
    board = score_frozen(
        [str(f) for f in config["frozen"]], config["runs"], config["columns"] or {}
    )
    figure = draw_calibration(board) if config["figure"] else None
    _finish(config, board, board.summary(), figure, calibration_alt(board))


def _replay(config: Config) -> None:
    from unified_laws.cli.progress import step_bar
    from unified_laws.figures.design_plot import draw_replay, replay_alt
    from unified_laws.laws.cost import FLOPS_PER_PARAMETER_AND_TOKEN
    from unified_laws.laws.replay import replay

    check_values(config, {"goal": (float, 1, False), "starts": (int, 1, False)})
    if not config["name"]:
        raise UsageError("give a format, as in format=int4")
    table = _table(config)
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
            progress=progress,
        )
    figure = draw_replay(result) if config["figure"] else None
    _finish(
        config, result, f"cost in FLOPs (6 N D)\n{result.summary()}", figure, replay_alt(result)
    )


main = entry(
    "predict",
    {
        "loss": _loss,
        "iso": _iso,
        "best": _best,
        "next": _next,
        "freeze": _freeze,
        "score": _score,
        "replay": _replay,
    },
    aliases={"format": "name", "source": "rho_source"},
)

if __name__ == "__main__":
    main()
