"""A format's name as products of other formats."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from unified_laws.cli.compression_type import factor_levels
from unified_laws.cli.format_names import canonical_name, is_format_name

# Set partitions of five parts are 52; names have two or three.
MOST_PARTS = 5


def factorings(name: str, conf: Path) -> list[tuple[str, ...]]:
    """Every way to write ``name`` as a product of formats, fewest factors first.

    int4_sparse50 is (int4_sparse50,) and (int4, sparse50); w4a8 is (w4a8,) and (int4, w16a8).
    Names are canonical. A label that is no name of ours is only itself.
    """
    if not is_format_name(name, conf):
        return [(name,)]
    whole = canonical_name(name, conf)
    atoms = [
        re.sub(r"^int(\d+)", r"w16a\1", level) if factor == "activation quantizer" else level
        for factor, level in factor_levels(name, conf).items()
    ]
    if len(atoms) < 2 or len(atoms) > MOST_PARTS:
        return [(whole,)]
    found = [
        tuple(canonical_name(_join(group), conf) for group in groups)
        for groups in _partitions(atoms)
    ]
    # A part that belongs to no factor alone would be lost: then the name is no product.
    if whole not in {way[0] for way in found if len(way) == 1}:
        return [(whole,)]
    return sorted(dict.fromkeys(found), key=len)


def _join(group: Sequence[str]) -> str:
    """One name of several atoms: int4 and w16a8 are w4a8; a part named by both stands once."""
    parts = list(dict.fromkeys(part for atom in group for part in atom.split("_")))
    weight = next((part for part in parts if re.fullmatch(r"int\d+", part)), "")
    activation = next((part for part in parts if re.fullmatch(r"w16a\d+", part)), "")
    if not (weight and activation):
        return "_".join(parts)
    rest = [part for part in parts if part not in (weight, activation)]
    return "_".join([f"w{weight[3:]}a{activation[4:]}", *rest])


def _partitions(items: Sequence[str]) -> Iterator[list[list[str]]]:
    if not items:
        yield []
        return
    first, rest = items[0], items[1:]
    for groups in _partitions(rest):
        yield [[first], *groups]
        for index, group in enumerate(groups):
            yield [*groups[:index], [first, *group], *groups[index + 1 :]]


def canonical_labels(labels: Sequence[str], conf: Path) -> dict[str, str]:
    """Canonical name -> label, for the labels that are names of ours; the first of twins wins."""
    found: dict[str, str] = {}
    for label in labels:
        if is_format_name(label, conf):
            found.setdefault(canonical_name(label, conf), label)
    return found
