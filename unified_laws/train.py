"""Train one run, or with -m many: python -m unified_laws.train +format=int4_sparse50."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from unified_laws.cli.entry import Config, entry
from unified_laws.errors import UsageError


def plan_run(config: Config, *, progress: Callable[[int], None] | None = None) -> tuple[Any, Any]:
    """Resolve a training configuration into a (RunPlan, TokenStore).

    The first call for a corpus and tokenizer tokenises them; later ones find the result.

    Raises:
        UsageError: anything in the configuration does not fit.
    """
    # torch and lightning take seconds to import: --help and composition go without.
    import torch

    from unified_laws.cli.build import build_format
    from unified_laws.cli.instantiate import instantiate
    from unified_laws.cli.values import check_values
    from unified_laws.compression.swap import swap_linears
    from unified_laws.data.prepare import prepare
    from unified_laws.model.counting import num_params_non_embedding
    from unified_laws.model.llama import Llama, LlamaShape
    from unified_laws.records.identity import identity_of, run_id
    from unified_laws.training.device import resolve_hardware
    from unified_laws.training.run import RunPlan

    check_values(config)
    trusted = config["trusted_packages"]
    format = build_format(config["format"], trusted)
    hardware = resolve_hardware(
        device=config["device"],
        devices=config["devices"],
        num_nodes=config["num_nodes"],
        threads=config["threads"],
        precision=config["precision"],
        micro_batch_size=config["micro_batch_size"],
        compile=config["compile"],
    )
    for group in ("optimizer", "schedule", "data"):
        if not isinstance(config[group], dict):
            raise UsageError(f"{group} is {config[group]!r}; choose one with {group}=NAME")
    # It prints a line of its own before the error that we raise.
    logging.getLogger("datasets").setLevel(logging.CRITICAL)
    data = dict(config["data"])
    store = prepare(
        instantiate(data.pop("source"), trusted),
        instantiate(data.pop("tokenizer"), trusted),
        cache_dir=Path(config["cache_dir"]),
        progress=progress,
        **data,
    )
    model = config["model"]
    shape = LlamaShape(
        num_layers=model["num_layers"],
        num_heads=model["num_heads"],
        width=model["width"],
        mlp_width=model["mlp_width"],
        vocab_size=store.vocab_size,
        seq_len=model["seq_len"],
    )
    # A rehearsal without memory finds a block or group that does not divide before a run starts.
    with torch.device("meta"):
        swap_linears(Llama(shape), format)
    num_params = num_params_non_embedding(shape)
    tokens_per_step = model["batch_size"] * model["seq_len"]
    tokens = config["num_tokens"]
    if tokens is None:
        tokens = config["tokens_per_param"] * num_params
    steps = int(tokens // tokens_per_step)
    if steps < 1:
        raise UsageError(
            f"{tokens:g} tokens are less than one step of {tokens_per_step}; raise "
            "tokens_per_param or num_tokens, or lower model.batch_size"
        )
    identity = identity_of(
        config,
        data={
            "train": store.manifest.train.sha256,
            "validation": store.manifest.validation.sha256,
            "tokenizer": store.manifest.tokenizer_sha256,
        },
        format=_meaning_of_format(config["format"]),
        precision=hardware.precision,
        num_tokens=steps * tokens_per_step,
    )
    plan = RunPlan(
        run_id=run_id(identity),
        label=str((config["format"] or {}).get("name", format.name)),
        model_name=model["name"],
        shape=shape,
        init_std=model["init_std"],
        format=format,
        optimizer=instantiate(config["optimizer"], trusted),
        schedule=instantiate(config["schedule"], trusted),
        gradient_clip=config["gradient_clip"],
        before_step=[instantiate(hook, trusted) for hook in config["before_step"]],
        seed=config["seed"],
        steps=steps,
        batch_size=model["batch_size"],
        validation_tokens=config["validation"]["max_tokens"],
        hardware=hardware,
        log_every=config["log_every"],
        checkpoint_minutes=config["checkpoint"]["minutes"],
        checkpoint_steps=config["checkpoint"]["steps"],
        save_weights=config["save_weights"],
        identity=identity,
        config=config,
    )
    return plan, store


def _meaning_of_format(config: Config | None) -> Config:
    """What a format does, so that null, bf16 and an explicit nothing are one."""
    given = config or {}
    meaning = {key: given.get(key) for key in ("weight", "activation")}
    return meaning | {k: given[k] for k in ("targets", "ignore") if given.get(k) is not None}


def run(
    config: Config, progress: Callable[[int, int], None] | None = None
) -> tuple[Any, bool, Path]:
    """Train what a resolved configuration asks for; (record, trained now, folder)."""
    from unified_laws.cli.instantiate import instantiate
    from unified_laws.training.run import train

    plan, store = plan_run(config)
    folder = Path(config["runs_dir"]) / plan.run_id
    # Lightning announces devices and advertises products at this level.
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    loggers = (
        [instantiate(config["logger"], config["trusted_packages"])] if config["logger"] else []
    )
    record, trained = train(plan, store, folder, loggers=loggers, progress=progress)
    return record, trained, folder


def _train(config: Config) -> None:
    from unified_laws.cli.progress import step_bar
    from unified_laws.training.run import is_first_rank

    with step_bar(enabled=config["progress"]) as progress:
        record, trained, folder = run(config, progress)
    if not is_first_rank():
        return
    if record.status == "diverged":
        outcome = f"diverged: {record.message}"
    else:
        stderr = "–" if record.val_loss_stderr is None else f"{record.val_loss_stderr:.4f}"
        outcome = (
            f"val_loss {record.val_loss:.4f} ± {stderr} nats "
            f"({record.val_bits_per_byte:.4f} bits/byte)"
        )
    word = "" if trained else "already done, skipped: "
    repeats = f"; repeats text, {record.epochs:.2f} epochs" if record.epochs > 1 else ""
    print(
        f"{word}{record.format} {record.model} N={record.num_params:,} D={record.num_tokens:,} "
        f"seed {record.seed}: {outcome}{repeats} -> {folder}"
    )
    sys.stdout.flush()


main = entry("train", {"train": _train})

if __name__ == "__main__":
    main()
