"""Names of formats: int4, sparse50, int4_sparse50, w4a8_sparse2of4 and so on.

A name is one or more parts joined by ``_``. A part is a file of ``conf/format``, or matches the
``pattern`` of a file of ``conf/format_family``, or is a pair ``w<b>a<b>``: the weights of int<b>
and the same operator on the activations, 16 meaning uncompressed. Parts fill different stages
(quantizer, sparsifier, ...) of one format, so there is no file per pair. Folders of the user
(``--config-dir``) are searched behind ours, and their names join with ours.
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

from unified_laws.cli.paths import user_dirs
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
    One that is not ``joinable`` has defaults that only Hydra can compose: it stands alone.
    """

    name: str
    stages: dict[str, tuple[str, str]]
    body: dict[str, Any]
    replaces: bool = False
    joinable: bool = True

    @property
    def place(self) -> tuple[int, bool]:
        """Its place in a name: quantizers, sparsifiers, others; weights before activations."""
        if self.replaces:
            return 3, False
        filled = {p.rpartition(".")[2] for p, (_, o) in self.stages.items() if o not in NEUTRAL}
        kind = 0 if "quantizer" in filled else 1 if "sparsifier" in filled else 2
        return kind, not any(package.startswith("weight.") for package in self.stages)


def folders(conf: Path) -> tuple[Path, ...]:
    """Where formats are looked for: ``conf``, then the folders of the user."""
    return (conf, *user_dirs())


def format_files(conf: Path) -> list[Path]:
    """Every file of a format, ours first."""
    return [file for folder in folders(conf) for file in sorted((folder / "format").glob("*.yaml"))]


def families(conf: Path) -> list[dict[str, Any]]:
    """Every family of formats, ours first."""
    return [family for folder in folders(conf) for family in _families(folder)]


@functools.lru_cache(maxsize=16)
def _families(folder: Path) -> tuple[dict[str, Any], ...]:
    files = sorted((folder / "format_family").glob("*.yaml"))
    return tuple(yaml.safe_load(file.read_text(encoding="utf-8")) for file in files)


def check_user_dir(folder: Path, conf: Path) -> None:
    """Refuse a folder of the user with names that are ours: they would be hidden, or hide ours.

    Raises:
        UsageError: a file below ``format``, ``format_family`` or ``compression`` has the place of
            one of ours, or a format has a name that ours compose.
    """
    for group in ("format", "format_family", "compression"):
        for file in sorted((folder / group).rglob("*.yaml")):
            place = file.relative_to(folder)
            is_name = group == "format" and _known_in(file.stem, (conf,))
            if is_name or (conf / place).exists():
                raise UsageError(
                    f"{file}: {file.stem!r} is a name of ours, allowed are new ones; rename the "
                    "file, for example to my_" + file.name
                )


def known_names(conf: Path) -> list[str]:
    """Names to suggest from: every file, and a sample of every family and pair."""
    files = [file.stem for file in format_files(conf)]
    integers = [f"int{b}" for b in range(1, 9)]
    pairs = [f"w{w}a{a}" for w in range(1, 9) for a in (*range(1, 9), 16)]
    pairs += [f"w16a{a}" for a in range(1, 9)]
    sparse = [f"sparse{p}" for p in range(5, 100, 5)] + ["sparse1of2", "sparse2of4", "sparse4of8"]
    mixed = [f"{q}_{s}" for q, s in itertools.product((*integers, *pairs), sparse)]
    examples = [family["example"] for family in families(conf)]
    return list(dict.fromkeys([*files, *examples, *integers, *pairs, *sparse, *mixed]))


def patterns(conf: Path) -> list[str]:
    """What a part may look like, for people."""
    files = [file.stem for file in format_files(conf)]
    return [*files, *(family["pattern"] for family in families(conf)), "w{bits}a{bits}"]


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
    return _known_in(name, folders(conf))


def _known_in(name: str, where: tuple[Path, ...]) -> bool:
    return bool(name) and _split(name, where) is not None


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


def _split(name: str, where: tuple[Path, ...]) -> list[Part] | None:
    """The parts of a name as they are written; None if one is unknown.

    The longest first: a file may have a name with ``_`` in it.
    """
    words = name.split("_")
    found: list[Part] = []
    while words:
        for count in range(len(words), 0, -1):
            part = _part("_".join(words[:count]), where)
            if part is not None:
                found.append(part)
                del words[:count]
                break
        else:
            return None
    return found


def name_parts(name: str, conf: Path) -> list[Part]:
    """The parts of a name in their one order, dense ones left out.

    Raises:
        UsageError: a part is unknown or named twice.
    """
    every = _split(name, folders(conf))
    if every is None:
        raise unknown_format(name, conf)
    found = [part for part in every if part.name != DENSE]
    if len({part.name for part in found}) < len(found):
        raise UsageError(f"format {name!r} names the same part twice; name each part once")
    for part in found:
        if len(found) > 1 and not part.joinable:
            raise UsageError(
                f"format {name!r}: the defaults of {part.name} are not all of the kind "
                "/compression/STAGE@OPERAND.STAGE: OPTION, which alone can be joined by _; write "
                "them so, or use the format alone"
            )
    return sorted(found, key=lambda part: part.place)


def _part(text: str, where: tuple[Path, ...]) -> Part | None:
    pair = PAIR.fullmatch(text)
    return _pair(text, pair[1], pair[2], where) if pair else _atom(text, where)


def _pair(text: str, weight: str, activation: str, where: tuple[Path, ...]) -> Part | None:
    sides = []
    for bits in (weight, activation):
        side = None if bits == "16" else _atom(f"int{bits}", where)
        if side is None and bits != "16":
            return None
        sides.append(side)
    first, second = sides
    if second is None:
        return first or Part(DENSE, {}, {})
    stages = {package.replace("weight.", "activation."): s for package, s in second.stages.items()}
    body = {"activation": second.body.get("weight")}
    if first is not None:
        return Part(text, {**first.stages, **stages}, {**first.body, **body})
    return Part(text, stages, body)


@functools.lru_cache(maxsize=4096)
def _atom(name: str, where: tuple[Path, ...]) -> Part | None:
    for folder in where:
        file = folder / "format" / f"{name}.yaml"
        if file.exists():
            return _read_part(name, yaml.safe_load(file.read_text(encoding="utf-8")))
    for family in itertools.chain.from_iterable(map(_families, where)):
        pattern = re.sub(r"\{(\w+)\}", lambda m: f"(?P<{m[1]}>{NUMBER})", family["pattern"])
        match = re.fullmatch(pattern, name)
        # One spelling per number: int01 and sparse50.0 are no other names of int1 and sparse50.
        if match and all(f"{float(text):g}" == text for text in match.groups()):
            values = {k: v for k, v in family.items() if k not in ("pattern", "example")}
            return _read_part(name, _fill(values, match.groupdict()))
    return None


def _read_part(name: str, content: dict[str, Any]) -> Part:
    stages: dict[str, tuple[str, str]] = {}
    joinable = True
    for entry in content.get("defaults", ()):
        if isinstance(entry, dict):
            for key, option in entry.items():
                group, _, package = key.partition("@")
                stages[package] = (group, option)
                joinable &= group.startswith("/") and bool(package)
        else:
            joinable &= entry == "_self_"
    apart = ("defaults", "name", "replaces")
    body = {k: v for k, v in content.items() if k not in apart and v is not None}
    return Part(name, stages, body, bool(content.get("replaces", False)), joinable)


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
