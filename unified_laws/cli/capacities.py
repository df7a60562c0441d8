"""Capacity and bits of any format by its name, from laws and from the formats' own definition."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from unified_laws.cli.build import load_format
from unified_laws.cli.compression_type import compression_type
from unified_laws.cli.factors import canonical_labels, factorings
from unified_laws.cli.format_names import canonical_name, is_format_name
from unified_laws.cli.paths import config_dir
from unified_laws.compression.quantizer.identity import DENSE_BITS
from unified_laws.compression.storage import bits_per_weight
from unified_laws.errors import UsageError
from unified_laws.laws.capacity_source import (
    CapacitySource,
    choose_source,
    from_gmse,
    from_parts,
)
from unified_laws.laws.cost import FormatBits
from unified_laws.laws.curve_choice import choose_curve
from unified_laws.laws.curve_points import make_points
from unified_laws.laws.information import Information
from unified_laws.laws.result import LawsResult


class Capacities:
    """rho of a format and where it comes from.

    Args:
        laws: the fit.
        information: of the fit.
        measure: row of the gmse module for a name of ours.
        rows: rows of a gmse.json, which go before ``measure``.
    """

    def __init__(
        self,
        laws: LawsResult,
        information: Information,
        *,
        measure: Callable[[str], Mapping[str, Any]],
        rows: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        self._laws = laws
        self._information = information
        self._measure = measure
        self._rows = {str(row["format"]): row for row in rows}
        self._known = [entry.format for entry in laws.capacities]
        self._labels = canonical_labels(self._known, config_dir())

    def __call__(self, name: str, wanted: str | None = None) -> CapacitySource:
        """Capacity measured, else by factors, else by GMSE; or from the source ``wanted``.

        Raises:
            UsageError: no source has it; an unknown name is answered with those that exist.
        """
        conf = config_dir()
        if name not in self._known and is_format_name(name, conf):
            name = canonical_name(name, conf)
            name = self._labels.get(name, name)
        measured, factors = self._measured(name)
        gmse = None
        if wanted == "gmse" or (wanted is None and measured is None and factors is None):
            gmse = self._by_gmse(name)
        return choose_source(
            name,
            wanted=wanted,
            measured=measured,
            factors=factors,
            gmse=gmse,
            formats=self._known,
        )

    def _measured(self, name: str) -> tuple[CapacitySource | None, CapacitySource | None]:
        if name in self._known:
            own = [(name,)]
            ways = own + factorings(name, config_dir())[1:]
        else:
            ways = factorings(name, config_dir())
        ways = [tuple(self._labels.get(part, part) for part in way) for way in ways]
        one = [way for way in ways if len(way) == 1]
        several = [way for way in ways if len(way) > 1]
        return (
            from_parts(name, one, self._information),
            from_parts(name, several, self._information),
        )

    def _by_gmse(self, name: str) -> CapacitySource:
        # Also formats of a folder of the user's, which only Hydra knows; it refuses other names.
        row = self._row(name) or self._measure(name)
        known = [entry for entry in self._laws.capacities if entry.format != name]
        rows = [
            {**own, "format": entry.format}
            for entry in known
            if (own := self._row(entry.format)) is not None
        ]
        points, _ = make_points(
            rows,
            {entry.format: _type(entry.format) for entry in known},
            {entry.format: (entry.rho, entry.stderr) for entry in known},
            dense=self._laws.dense,
        )
        errors = [row.get(key) or math.nan for key in ("gmse", "gmse_activation")]
        return from_gmse(name, errors[0], errors[1], choose_curve(_type(name), points))

    def _row(self, name: str) -> Mapping[str, Any] | None:
        if name not in self._rows and is_format_name(name, config_dir()):
            self._rows[name] = self._measure(name)
        return self._rows.get(name)


def _type(name: str) -> str:
    try:
        return compression_type(load_format(name))
    except UsageError:  # a label of another project
        return "unknown"


def format_bits(name: str) -> FormatBits:
    """What a format costs.

    Raises:
        UsageError: no such format.
    """
    format = load_format(name)
    weight, activation = format.weight, format.activation
    kept = 1.0
    for operand in (weight, activation):
        kept *= 1.0 if operand is None else operand.sparsifier.kept_fraction
    return FormatBits(
        format=name,
        bits_per_weight=DENSE_BITS if weight is None else bits_per_weight(weight),
        weight_bits=DENSE_BITS if weight is None else weight.quantizer.bits,
        activation_bits=DENSE_BITS if activation is None else activation.quantizer.bits,
        kept_fraction=kept,
    )
