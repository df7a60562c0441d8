"""Names of formats: int4, sparse50, int4_sparse50, w4a8_sparse2of4 and so on.

A name is one or more parts joined by ``_``. A part is a file of ``conf/format``, or matches the
``pattern`` of a file of ``conf/format_family``, or is a pair ``w<b>a<b>``: the weights of int<b>
and the same operator on the activations, 16 meaning uncompressed. Parts fill different stages
(quantizer, sparsifier, ...) of one format, so there is no file per pair.
"""

from __future__ import annotations

import difflib
import functools
import itertools
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from unified_laws.errors import UsageError

NUMBER = r"-?\d+(?:\.\d+)?"
PAIR = re.compile(rf"w({NUMBER})a({NUMBER})")
DENSE = "bf16"
# Options that stand for "nothing special here"; a part that fills the stage replaces them.
NEUTRAL = ("identity", "dense", "straight_through", "forward")


@dataclass(frozen=True)
class Part:
    """One part of a name: its own name, its stages as {package: "/group: option"}, its values.

    One that ``replaces`` puts its stages in place of those that the name already has, no others.
    """

    name: str
    stages: dict[str, tuple[str, str]]
    body: dict[str, Any]
    replaces: bool = False

    @property
    def place(self) -> tuple[int, bool]:
        """Its place in a name: quantizers, sparsifiers, others; weights before activations."""
        if self.replaces:
            return 3, False
        filled = {p.rpartition(".")[2] for p, (_, o) in self.stages.items() if o not in NEUTRAL}
        kind = 0 if "quantizer" in filled else 1 if "sparsifier" in filled else 2
        return kind, not any(package.startswith("weight.") for package in self.stages)


@functools.lru_cache(maxsize=4)
def _families(conf: Path) -> tuple[dict[str, Any], ...]:
    files = sorted((conf / "format_family").glob("*.yaml"))
    return tuple(yaml.safe_load(file.read_text(encoding="utf-8")) for file in files)


def known_names(conf: Path) -> list[str]:
    """Names to suggest from: every file, and a sample of every family and pair."""
    files = [file.stem for file in sorted((conf / "format").glob("*.yaml"))]
    integers = [f"int{b}" for b in range(1, 9)]
    pairs = [f"w{w}a{a}" for w in range(1, 9) for a in (*range(1, 9), 16)]
    pairs += [f"w16a{a}" for a in range(1, 9)]
    sparse = [f"sparse{p}" for p in range(5, 100, 5)] + ["sparse1of2", "sparse2of4", "sparse4of8"]
    mixed = [f"{q}_{s}" for q, s in itertools.product((*integers, *pairs), sparse)]
    examples = [family["example"] for family in _families(conf)]
    return list(dict.fromkeys([*files, *examples, *integers, *pairs, *sparse, *mixed]))


def patterns(conf: Path) -> list[str]:
    """What a part may look like, for people."""
    files = [file.stem for file in sorted((conf / "format").glob("*.yaml"))]
    return [*files, *(family["pattern"] for family in _families(conf)), "w{bits}a{bits}"]


def unknown_format(name: str, conf: Path) -> UsageError:
    """The error for a name that is none: the nearest names and what is allowed."""
    near = difflib.get_close_matches(name, known_names(conf), n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    return UsageError(
        f"unknown format {name!r}; {hint}allowed: {', '.join(patterns(conf))}, "
        "and these joined by _ as in int4_sparse50"
    )


def is_format_name(name: str, conf: Path) -> bool:
    """Whether every part of ``name`` is known (its numbers may still be refused)."""
    return bool(name) and all(_is_part(part, conf) for part in name.split("_"))


def canonical_name(name: str, conf: Path) -> str:
    """The one name among twins: w4a16 -> int4, sparse50_int4 -> int4_sparse50, w16a16 -> bf16.

    Raises:
        UsageError: a part is unknown, or two parts fill the same stage.
    """
    return "_".join(part.name for part in name_parts(name, conf)) or DENSE


def compose_name(name: str, conf: Path) -> dict[str, Any]:
    """The configuration of a name: a Hydra defaults list and the values over it.

    Raises:
        UsageError: a part is unknown, or two parts fill the same stage.
    """
    parts = name_parts(name, conf)
    merged: dict[str, tuple[str, str]] = {}
    body: dict[str, Any] = {"weight": None, "activation": None}
    for part in parts:
        for package, (group, option) in part.stages.items():
            present = merged.get(package)
            if part.replaces and present is None:
                continue
            if part.replaces or present is None or present[1] in NEUTRAL:
                merged[package] = (group, option)
            elif option not in NEUTRAL and present != (group, option):
                raise UsageError(
                    f"format {name!r}: two parts set {package} ({present[1]} and {option}); "
                    "combine one quantizer with one sparsifier"
                )
        for operand, values in part.body.items():
            body[operand] = _merge(body.get(operand), values, f"format {name!r}: {operand}")
    if parts and not merged:
        raise UsageError(
            f"format {name!r} changes stages without having any; put it behind a format, as in "
            f"int4_{name}"
        )
    defaults: list[Any] = [{f"{g}@{package}": o} for package, (g, o) in merged.items()]
    filled = {key: value for key, value in body.items() if value is not None or not merged}
    for operand in ("weight", "activation"):
        if not any(package.startswith(operand) for package in merged):
            filled[operand] = None
    return {"defaults": [*defaults, "_self_"], "name": canonical_name(name, conf), **filled}


def _merge(first: Any, second: Any, where: str) -> Any:
    if first is None or second is None:
        return second if first is None else first
    if isinstance(first, dict) and isinstance(second, dict):
        return {k: _merge(first.get(k), second.get(k), f"{where}.{k}") for k in {**first, **second}}
    if first != second:
        raise UsageError(f"{where} is set twice, to {first} and to {second}; keep one of the parts")
    return first


def _is_part(name: str, conf: Path) -> bool:
    return bool(PAIR.fullmatch(name)) or _atom(name, conf) is not None


def name_parts(name: str, conf: Path) -> list[Part]:
    """The parts of a name in their one order, dense ones left out.

    Raises:
        UsageError: a part is unknown or named twice.
    """
    found: list[Part] = []
    for text in name.split("_"):
        pair = PAIR.fullmatch(text)
        part = _pair(text, pair[1], pair[2], conf) if pair else _atom(text, conf)
        if part is None:
            raise unknown_format(name, conf)
        if part.name != DENSE:
            found.append(part)
    if len({part.name for part in found}) < len(found):
        raise UsageError(f"format {name!r} names the same part twice; name each part once")
    return sorted(found, key=lambda part: part.place)


def _pair(text: str, weight: str, activation: str, conf: Path) -> Part:
    sides = []
    for bits in (weight, activation):
        side = None if bits == "16" else _atom(f"int{bits}", conf)
        if side is None and bits != "16":
            raise unknown_format(text, conf)
        sides.append(side)
    first, second = sides
    if second is None:
        return first or Part(DENSE, {}, {})
    stages = {package.replace("weight.", "activation."): s for package, s in second.stages.items()}
    body = {"activation": second.body.get("weight")}
    if first is not None:
        return Part(text, {**first.stages, **stages}, {**first.body, **body})
    return Part(text, stages, body)


@functools.lru_cache(maxsize=1024)
def _atom(name: str, conf: Path) -> Part | None:
    file = conf / "format" / f"{name}.yaml"
    if file.exists():
        return _read_part(name, yaml.safe_load(file.read_text(encoding="utf-8")))
    for family in _families(conf):
        pattern = re.sub(r"\{(\w+)\}", lambda m: f"(?P<{m[1]}>{NUMBER})", family["pattern"])
        match = re.fullmatch(pattern, name)
        # One spelling per number: int01 and sparse50.0 are no other names of int1 and sparse50.
        if match and all(f"{float(text):g}" == text for text in match.groups()):
            values = {k: v for k, v in family.items() if k not in ("pattern", "example")}
            return _read_part(name, _fill(values, match.groupdict()))
    return None


def _read_part(name: str, content: dict[str, Any]) -> Part:
    stages: dict[str, tuple[str, str]] = {}
    for entry in content.get("defaults", ()):
        if isinstance(entry, dict):
            for key, option in entry.items():
                group, _, package = key.partition("@")
                stages[package] = (group, option)
    body = {k: v for k, v in content.items() if k in ("weight", "activation") and v is not None}
    return Part(name, stages, body, bool(content.get("replaces", False)))


def _fill(value: Any, numbers: dict[str, str]) -> Any:
    """Replace "{name}" by its number and "{name}%" by a hundredth of it."""
    if isinstance(value, dict):
        return {key: _fill(item, numbers) for key, item in value.items()}
    if isinstance(value, list):
        return [_fill(item, numbers) for item in value]
    match = re.fullmatch(r"\{(\w+)\}(%?)", value) if isinstance(value, str) else None
    if match is None:
        return value
    number = float(numbers[match[1]])
    if match[2]:
        return number / 100
    return int(number) if number.is_integer() else number
