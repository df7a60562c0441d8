"""Runs that were not made: python -m unified_laws.predict laws=laws.json action=loss|best|..."""

from __future__ import annotations

from typing import Any

from unified_laws.cli.entry import Config, entry
from unified_laws.cli.values import Rule, check_values
from unified_laws.errors import UsageError
from unified_laws.predict_context import COUNTS, Context, finish
from unified_laws.predict_frozen import freeze_action, score_action
from unified_laws.predict_next import next_action, replay_action


def predict_loss(config: Config) -> dict[str, Any]:
    """The loss of one run as JSON: ``val_loss, low, high`` in nats, ``rho``, ``source`` and more.

    Raises:
        UsageError: a number is out of range, or nothing tells the format's capacity.
    """
    from unified_laws.laws.json_form import to_json

    check_values(config, COUNTS)
    found: dict[str, Any] = to_json(Context(config).predict())
    return found


def _loss(config: Config) -> None:
    check_values(config, COUNTS)
    prediction = Context(config).predict()
    finish(config, prediction, prediction.summary())


def _iso(config: Config) -> None:
    from unified_laws.laws.iso_loss import iso_loss

    check_values(config, COUNTS)
    context = Context(config)
    counts = {key: float(config[key]) for key in COUNTS}
    found = iso_loss(context.laws, context.information, context.asked(), **counts)
    finish(config, found, found.summary())


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
    finish(config, result, result.summary() + note, figure, budget_alt(result))


ACTIONS = {
    "loss": _loss,
    "iso": _iso,
    "best": _best,
    "next": next_action,
    "freeze": freeze_action,
    "score": score_action,
    "replay": replay_action,
}
main = entry("predict", ACTIONS, aliases={"format": "name", "source": "rho_source"})

if __name__ == "__main__":
    main()
