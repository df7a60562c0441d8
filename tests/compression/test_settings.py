"""A setting that is accepted changes the result, or is refused: every key of every mechanism.

The keys are those of the files of conf/compression, the values to try follow from the types of the
classes; nothing is listed here but the company that a few mechanisms need to show what they do.
What counts as a result: values, gradients, storage, and the masks of the steps of a schedule.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import pytest
import torch
import yaml
from torch import Tensor

from unified_laws.cli.build import build_format
from unified_laws.cli.paths import config_dir
from unified_laws.cli.registry import format_config, registry_names
from unified_laws.compression.scaling import ScaleKeys
from unified_laws.compression.sparsifier.held import HeldSparsifier
from unified_laws.compression.storage import bits_per_weight
from unified_laws.errors import UsageError

from .builders import normal

Node = dict[str, Any]
WIDTH, ROWS, STEPS = 64, 24, 40
FILES = sorted((config_dir() / "compression").glob("*/*.yaml"))


def over(first: Any, second: Any) -> Any:
    if isinstance(first, dict) and isinstance(second, dict) and "_target_" not in second:
        return first | {key: over(first.get(key), value) for key, value in second.items()}
    return copy.deepcopy(second)


def stage(kind: str, name: str, **values: Any) -> Node:
    text = (config_dir() / "compression" / kind / f"{name}.yaml").read_text(encoding="utf-8")
    return {kind: yaml.safe_load(text) | values}


PAIRS = stage("transform", "identity") | stage(
    "sparsifier", "paired_semi_structured", kept=4, group=8
)
# Company in which every key of a mechanism is tried too, beside that of the registry's first format
# with it: {stage: values over it}. A scale needs its numbers; statistics need pruning that may take
# the largest value; an interval of a hundred steps does not show in forty.
ABSMAX = {"scale": "absmax"}
SEARCH = {"scale": "mse", "search_steps": 10, "search_floor": 0.3}
NEAREST = {"quantizer": {"rounding": "nearest", "seed": None}}
STATIC = {"scale": "static", "scope": "tensor", "rms": 1.0}
SCALES = [{"quantizer": numbers} for numbers in (ABSMAX, SEARCH, STATIC)]
PRUNED = [PAIRS, *(PAIRS | {"quantizer": numbers} for numbers in (ABSMAX, SEARCH, STATIC))]
COMPANY: dict[str, list[Node]] = {
    "quantizer/uniform": SCALES + PRUNED,
    "quantizer/tread": SCALES + PRUNED,
    "quantizer/lloyd_max": SCALES + PRUNED,
    "quantizer/floating_point": [
        *(over(company, NEAREST) for company in SCALES + PRUNED),
        {"quantizer": {"rounding": "stochastic", "seed": 0}},
    ],
    "quantizer/microscaling": [PAIRS],
    "quantizer/two_level": [PAIRS],
    "quantizer/vector": [PAIRS],
    "quantizer/outliers": [{"quantizer": {"base": numbers}} for numbers in (SEARCH, STATIC)],
    "quantizer/noise": [PAIRS],
    "sparsifier/rigl": [{"sparsifier": {"every": 4}}],
    "sparsifier/scheduled_magnitude": [{"sparsifier": {"schedule": {"every": 4, "end": 0.75}}}],
    "sparsifier/refreshed": [{"sparsifier": {"refresh": 3}}],
}
# Where the first company does not show a key, and why; the others must.
SHOWN_IN_COMPANY = {
    "sparsifier/rigl": {"every", "stop", "fraction"},
    "sparsifier/scheduled_magnitude": {"schedule.every", "schedule.start", "schedule.end"},
    "sparsifier/refreshed": {"refresh"},
}


def option(file: Path) -> str:
    return f"{file.parent.name}/{file.stem}"


def host(file: Path) -> tuple[Node, str]:
    """The registry's first format with this mechanism, and the operand that has it."""
    target = yaml.safe_load(file.read_text(encoding="utf-8"))["_target_"]
    for name in registry_names(config_dir()):
        config = format_config(name)
        for operand in ("weight", "activation"):
            stages = config.get(operand) or {}
            if stages.get(file.parent.name, {}).get("_target_") == target:
                return config, operand
    raise AssertionError(f"no format of the registry uses {file}; add one to conf/registry.yaml")


def keys(node: Node, prefix: str = "") -> Iterator[tuple[str, Any, Any]]:
    """(dotted key, value, type) of every setting below a node with a _target_."""
    module, _, name = node["_target_"].rpartition(".")
    cls = getattr(import_module(module), name)
    scope = vars(import_module(module)) | {"Literal": Literal}
    hints = get_type_hints(cls.__init__, globalns=scope)
    if (
        "scale" in hints
        and inspect.signature(cls).parameters["scale"].kind is inspect.Parameter.VAR_KEYWORD
    ):
        hints |= get_type_hints(ScaleKeys)
    for key, value in node.items():
        if key == "_target_":
            continue
        if isinstance(value, dict):
            yield from keys(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value, hints[key]


def others(value: Any, hint: Any) -> list[Any]:
    """Values of a type that are not `value`."""
    kinds = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    found: list[Any] = []
    for kind in kinds:
        number = value if isinstance(value, (int, float)) and not isinstance(value, bool) else None
        if get_origin(kind) is Literal:
            found += get_args(kind)
        elif kind is bool:
            found.append(not value)
        elif kind is int:
            found += (
                [2, 3, 16]
                if number is None
                else [number + d for d in (-2, -1, 1, 2, number, -3 * number // 4)]
            )
        elif kind is float:
            found += [0.7, 1.3] if number is None else [number / 2, 2 * number, 0.25]
        elif kind is type(None):
            found.append(None)
        else:
            raise AssertionError(f"a setting of type {kind}: say here which values to try")
    return [other for other in found if other != value or type(other) is not type(value)]


def result(config: Node, operand: str) -> list[Any]:
    """Everything that a format does to an operand and costs."""
    format = build_format(config)
    prototype = getattr(format, operand)
    c = prototype.bind(WIDTH)
    x = normal(ROWS, WIDTH)
    x[2:4, :8] = torch.tensor([4.5, 0.0, 3.5, 3.5, 3.5, 3.5, 0.0, 0.0])  # pairs prune the largest
    x.requires_grad_()
    c.attach(x.detach(), is_weight=operand == "weight")
    seen: list[Any] = [bits_per_weight(c, WIDTH), c.sparsifier.kept_fraction]
    out = c(x)
    out.backward(normal(ROWS, WIDTH, seed=1))
    seen += [out.detach(), x.grad, *(p.grad for p in c.parameters())]
    if isinstance(c.sparsifier, HeldSparsifier):
        for step in range(STEPS):
            y = normal(ROWS, WIDTH, seed=step)
            c.sparsifier.before_forward(y, step=step, steps=STEPS)
            gradient = normal(ROWS, WIDTH, seed=STEPS + step)
            c.sparsifier.before_update(y, gradient, step=step, steps=STEPS)
            assert c.sparsifier.mask is not None
            seen.append(c.sparsifier.mask.clone())
    return seen


def same(first: list[Any], second: list[Any]) -> bool:
    def equal(a: Any, b: Any) -> bool:
        if isinstance(a, Tensor) and isinstance(b, Tensor):
            return torch.equal(a, b)
        return type(a) is type(b) and bool(a == b)

    return len(first) == len(second) and all(map(equal, first, second))


def changed(config: Node, operand: str, stage: str, key: str, value: Any) -> Node:
    node: Any = value
    for part in reversed(key.split(".")):
        node = {part: node}
    found: Node = over(config, {operand: {stage: node}})
    return found


@pytest.mark.parametrize("file", FILES, ids=option)
def test_a_setting_that_is_accepted_changes_the_result(file: Path) -> None:
    base, operand = host(file)
    kind, name = file.parent.name, option(file)
    declared = set(yaml.safe_load(file.read_text(encoding="utf-8"))) - {"_target_"}
    companies = [{}, *COMPANY.get(name, [])]
    showed: set[str] = set()
    for number, company in enumerate(companies):
        config = over(base, {operand: company})
        before = result(config, operand)
        assert same(before, result(config, operand)), "a result repeats"
        for key, value, hint in keys(config[operand][kind]):
            if number == 0 and key in SHOWN_IN_COMPANY.get(name, ()):
                continue
            for other in others(value, hint):
                try:
                    after = result(changed(config, operand, kind, key, other), operand)
                except UsageError as error:
                    text = str(error)
                    assert "\n" not in text
                    assert ";" in text, "a refusal says what to do"
                    continue
                assert not same(before, after), f"{name} {key}: {value} -> {other} in {company}"
                showed.add(key)
    assert declared <= {
        key.partition(".")[0] for key in [k for k, _, _ in keys(base[operand][kind])]
    }
    # What is refused everywhere is no setting, but for what has one choice: the word absmax, the
    # scope of a mask that must be that of the sparsifier; and what moves with its seed alone.
    only = {
        "quantizer/microscaling": {"scale"},
        "quantizer/two_level": {"scale"},
        "quantizer/floating_point": {"rounding"},
        "backward_mask/banded_rms": {"scope"},
        "backward_mask/area_banded_rms": {"scope"},
    }
    every = {key for key, _, _ in keys(base[operand][kind])}
    assert every - showed <= only.get(name, set()), f"{name}: {every - showed} never did anything"


def test_rounding_changes_the_result_together_with_its_seed() -> None:
    config = format_config("e2m1")
    drawn = over(config, {"weight": {"quantizer": {"rounding": "stochastic", "seed": 0}}})
    assert not same(result(config, "weight"), result(drawn, "weight"))
