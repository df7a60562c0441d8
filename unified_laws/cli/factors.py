"""A format's name as products of other formats."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from unified_laws.cli.format_names import DENSE, PAIR, canonical_name, is_format_name, name_parts

# Set partitions of five parts are 52; names have two or three.
MOST_PARTS = 5


def factorings(name: str, conf: Path) -> list[tuple[str, ...]]:
    """Every way to write ``name`` as a product of formats, fewest factors first.

    int4_sparse50 is (int4_sparse50,) and (int4, sparse50); w4a8 is (w4a8,) and (int4, w16a8).
    Names are canonical. A label that is no name of ours is only itself.
    """
    if not is_format_name(name, conf):
        return [(name,)]
    atoms: list[str] = []
    for part in name_parts(name, conf):
        pair = PAIR.fullmatch(part.name)
        if part.replaces and atoms:  # changes a stage of the part before it; nothing by itself
            atoms[-1] = f"{atoms[-1]}_{part.name}"
        elif pair and "16" not in pair.groups():
            atoms += [f"int{pair[1]}", f"w16a{pair[2]}"]
        else:
            atoms.append(part.name)
    if not atoms:
        return [(DENSE,)]
    if len(atoms) > MOST_PARTS:
        return [(canonical_name(name, conf),), tuple(atoms)]
    found = [
        tuple(canonical_name(_join(group), conf) for group in groups)
        for groups in _partitions(atoms)
    ]
    return sorted(dict.fromkeys(found), key=len)


def _join(group: Sequence[str]) -> str:
    """One name of several atoms: int4 and w16a8 are w4a8."""
    weight = next(
        (re.fullmatch(r"int(.+)", atom) for atom in group if atom.startswith("int")), None
    )
    activation = next((re.fullmatch(r"w16a(.+)", atom) for atom in group if "w16a" in atom), None)
    if weight is None or activation is None:
        return "_".join(group)
    rest = [atom for atom in group if atom not in (weight[0], activation[0])]
    return "_".join([f"w{weight[1]}a{activation[1]}", *rest])


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
