"""What kind of compression a format is, and its place among factors, from its parts."""

from __future__ import annotations

from pathlib import Path

from unified_laws.cli.format_names import NEUTRAL, PAIR, Part, name_parts
from unified_laws.compression.compressor import Compressor
from unified_laws.compression.format import Format

OPERANDS = {"weight": "W", "activation": "A"}
OTHER = "other"


def compression_type(format: Format) -> str:
    """Kind and operands of a format: "integer W", "sparsity W+A", "integer W+A, sparsity W".

    Formats of one type share a capacity curve (arXiv:2506.01863 §3: L, F, C are fitted once per
    type). Kinds are those of the quantizers (`Quantizer.kind`) and "sparsity"; what is none of
    them, such as a transform alone, is "other". The dense format is "dense".
    """
    kinds: dict[str, list[str]] = {}
    for operand, letter in OPERANDS.items():
        compressor = getattr(format, operand)
        for kind in _kinds(compressor):
            kinds.setdefault(kind, []).append(letter)
    return ", ".join(f"{kind} {'+'.join(own)}" for kind, own in kinds.items()) or "dense"


def _kinds(compressor: Compressor | None) -> list[str]:
    if compressor is None:
        return []
    found = []
    if not compressor.quantizer.is_identity:
        found.append(compressor.quantizer.kind)
    if not compressor.sparsifier.is_identity:
        found.append("sparsity")
    return found or [OTHER]


def factor_levels(name: str, conf: Path) -> dict[str, str]:
    """The level of each factor that a name sets: "w4a8_sparse50" has weight int4, and so on.

    Factors are "weight quantizer", "activation quantizer", "weight sparsifier" and "activation
    sparsifier"; a part that sets another stage (a transform, a group size) belongs to the
    quantizer of its operand, or to its sparsifier if there is none.

    Raises:
        UsageError: the name is unknown.
    """
    found: dict[str, list[str]] = {}
    modifiers: list[Part] = []
    for part in name_parts(name, conf):
        for operand, names in _pair_sides(part).items():
            found.setdefault(f"{operand} quantizer", []).append(names)
        if _pair_sides(part):
            continue
        filled = {
            tuple(package.split(".", 1))
            for package, (_, option) in part.stages.items()
            if option not in NEUTRAL and package.partition(".")[2] in ("quantizer", "sparsifier")
        }
        if part.replaces or not filled:
            modifiers.append(part)
            continue
        for operand, stage in filled:
            found.setdefault(f"{operand} {stage}", []).append(part.name)
    for part in modifiers:
        operands = {package.partition(".")[0] for package in part.stages} or set(part.body)
        for operand in operands:
            for stage in ("quantizer", "sparsifier"):
                if f"{operand} {stage}" in found:
                    found[f"{operand} {stage}"].append(part.name)
                    break
    return {factor: "_".join(names) for factor, names in found.items()}


def _pair_sides(part: Part) -> dict[str, str]:
    """Both sides of ``w<b>a<b>``; nothing for other parts."""
    pair = PAIR.fullmatch(part.name)
    if pair is None:
        return {}
    bits = {"weight": pair[1], "activation": pair[2]}
    return {operand: f"int{b}" for operand, b in bits.items() if b != "16"}
