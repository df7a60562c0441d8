"""Runs that could be made: sizes of conf/model times token ratios, or a file of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from unified_laws.cli.paths import config_dir
from unified_laws.errors import UsageError
from unified_laws.laws.cost import FLOPS_PER_PARAMETER_AND_TOKEN
from unified_laws.laws.design import Candidate
from unified_laws.laws.frozen import SAME_TOKENS
from unified_laws.laws.result import LawsResult
from unified_laws.laws.rows import Row, read_rows
from unified_laws.model.counting import num_params_non_embedding, training_flops
from unified_laws.model.llama import LlamaShape

ALLOWED = ("format", "model", "num_params", "num_tokens", "tokens_per_param", "cost", "repeats")
SHAPE = ("num_layers", "num_heads", "width", "mlp_width", "seq_len")
SECONDS_PER_HOUR = 3600.0
# Default sizes reach this far beyond those of the runs so far.
REACH = 1.5


def model_shapes(vocab_size: int) -> dict[str, LlamaShape]:
    """Every size of conf/model, by name."""
    found = {}
    for file in sorted((config_dir() / "model").glob("*.yaml")):
        sizes = yaml.safe_load(file.read_text(encoding="utf-8"))
        found[file.stem] = LlamaShape(vocab_size=vocab_size, **{key: sizes[key] for key in SHAPE})
    return found


def default_candidates(
    formats: Sequence[str],
    *,
    models: Sequence[str] | None,
    ratios: Sequence[float],
    fitted: tuple[float, float],
    repeats: int,
    throughput: float,
    vocab_size: int,
) -> list[Candidate]:
    """Formats × sizes × token ratios.

    Args:
        formats: labels.
        models: names of conf/model; None for those with ``fitted`` sizes, or all if there are none.
        ratios: tokens per parameter.
        fitted: smallest and largest N of the runs so far.
        repeats: seeds that a configuration may have.
        throughput: training FLOPs per second of one GPU.
        vocab_size: for the FLOPs of the head.

    Raises:
        UsageError: a name is unknown, or a number is not above zero.
    """
    _check_numbers(ratios, throughput)
    shapes = model_shapes(vocab_size)
    sizes = {name: num_params_non_embedding(shape) for name, shape in shapes.items()}
    if models is None:
        low, high = fitted[0] / REACH, fitted[1] * REACH
        models = [name for name, N in sizes.items() if low <= N <= high] or list(sizes)
    unknown = [name for name in models if name not in shapes]
    if unknown:
        raise UsageError(f"models has {', '.join(unknown)}; allowed: {', '.join(shapes)}")
    found = []
    for name in sorted(models, key=lambda name: sizes[name]):
        for ratio in ratios:
            tokens = int(ratio * sizes[name])
            hours = training_flops(shapes[name], tokens) / throughput / SECONDS_PER_HOUR
            found += [
                Candidate(format, float(sizes[name]), float(tokens), hours, repeats, name)
                for format in formats
            ]
    return found


def read_candidates(
    path: Path, formats: Sequence[str], *, repeats: int, throughput: float, vocab_size: int
) -> list[Candidate]:
    """Candidates of a CSV, JSONL, JSON or YAML file.

    Each row names a size (``model`` or ``num_params``) and a length (``num_tokens`` or
    ``tokens_per_param``); ``format`` (all of ``formats`` if missing), ``cost`` in GPU-hours (from
    FLOPs if missing) and ``repeats`` are optional.

    Raises:
        UsageError: the file cannot be read, or a row does not say enough.
    """
    _check_numbers((), throughput)
    yamls = path.suffix in (".yaml", ".yml")
    rows = _yaml_rows(path) if yamls else list(read_rows(path).rows)
    columns = {column for row in rows for column in row.values}
    unknown = sorted(columns - set(ALLOWED))
    if unknown:
        raise UsageError(f"{path}: unknown {', '.join(unknown)}; allowed: {', '.join(ALLOWED)}")
    shapes = model_shapes(vocab_size)
    return [
        candidate
        for row in rows
        for candidate in _of_row(row, formats, shapes, repeats=repeats, throughput=throughput)
    ]


def _of_row(
    row: Row,
    formats: Sequence[str],
    shapes: Mapping[str, LlamaShape],
    *,
    repeats: int,
    throughput: float,
) -> list[Candidate]:
    def has(column: str) -> bool:
        return row.values.get(column) not in (None, "")

    model = row.label("model") if has("model") else ""
    if model and model not in shapes:
        raise UsageError(f"{row.place}: model {model!r}; allowed: {', '.join(shapes)}")
    if not model and not has("num_params"):
        raise UsageError(f"{row.place}: neither model nor num_params; give the size")
    params = float(num_params_non_embedding(shapes[model])) if model else row.positive("num_params")
    if not has("num_tokens") and not has("tokens_per_param"):
        raise UsageError(f"{row.place}: neither num_tokens nor tokens_per_param; give the length")
    given = has("num_tokens")
    tokens = row.positive("num_tokens") if given else params * row.positive("tokens_per_param")
    if has("cost"):
        hours = row.positive("cost")
    else:
        flops = FLOPS_PER_PARAMETER_AND_TOKEN * params * tokens
        if model:
            flops = training_flops(shapes[model], int(tokens))
        hours = flops / throughput / SECONDS_PER_HOUR
    count = row.whole("repeats", missing=repeats)
    names = [row.label("format")] if has("format") else formats
    return [Candidate(name, params, tokens, hours, count, model) for name in names]


def _yaml_rows(path: Path) -> list[Row]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise UsageError(f"{path} cannot be read: {' '.join(str(error).split())}") from error
    if not isinstance(content, list) or not all(isinstance(row, dict) for row in content):
        raise UsageError(f"{path} must hold a list of mappings with {', '.join(ALLOWED)}")
    return [Row(f"{path}, item {i}", row) for i, row in enumerate(content, start=1)]


def _check_numbers(ratios: Sequence[float], throughput: float) -> None:
    bad = [x for x in (*ratios, throughput) if isinstance(x, bool) or not 0 < x < float("inf")]
    if bad:
        raise UsageError(f"ratios and throughput have {bad}; allowed are numbers above zero")


PlannedRun = tuple[str, str, int, int]


def planned_runs(candidates: Sequence[Candidate], laws: LawsResult) -> list[PlannedRun]:
    """(format, model, tokens, seed) of each, the seeds going on after those of the runs so far."""
    counts: dict[tuple[str, str, int], int] = {}
    found = []
    for candidate in candidates:
        if not candidate.model:
            continue
        key = (candidate.format, candidate.model, int(candidate.num_tokens))
        if key not in counts:
            counts[key] = sum(
                run.format == candidate.format
                and math.isclose(run.num_params, candidate.num_params, rel_tol=1e-9)
                and math.isclose(run.num_tokens, candidate.num_tokens, rel_tol=SAME_TOKENS)
                for run in laws.residuals
            )
        found.append((*key, counts[key]))
        counts[key] += 1
    return found


def train_commands(runs: Sequence[PlannedRun]) -> list[str]:
    """One command per run."""
    return [
        f"  python -m unified_laws.train +format={format} model={model} num_tokens={tokens} "
        f"seed={seed}"
        for format, model, tokens, seed in runs
    ]


def sweep_text(file: str, question: str, runs: Sequence[PlannedRun]) -> str:
    """A sweep file of runs given as (format, model, tokens, seed), each once.

    Blocks join the formats that share model, tokens and seed.
    """
    blocks: dict[tuple[str, int, int], list[str]] = {}
    for format, model, tokens, seed in runs:
        blocks.setdefault((model, tokens, seed), []).append(format)
    grids: list[dict[str, Any]] = [
        {"model": [model], "num_tokens": [tokens], "format": formats, "seed": [seed]}
        for (model, tokens, seed), formats in blocks.items()
    ]
    head = f"# Command:   python -m unified_laws.sweep sweep={file} action=launch\n"
    return head + yaml.safe_dump(
        {"question": question, "expected_runs": len(runs), "grids": grids},
        sort_keys=False,
        default_flow_style=None,
        width=100,
    )
