"""Kinds of compression and factors from the parts of a name."""

from __future__ import annotations

import pytest

from unified_laws.cli.build import load_format
from unified_laws.cli.compression_type import compression_type, factor_levels
from unified_laws.cli.paths import config_dir
from unified_laws.cli.registry import registry_names


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("bf16", "dense"),
        ("int4", "integer W"),
        ("tread4", "integer W"),
        ("lloyd3", "nonuniform W"),
        ("mxint8", "integer W"),
        ("w16a4", "integer A"),
        ("w4a8", "integer W+A"),
        ("e2m1", "floating point W"),
        ("mxfp4", "floating point W"),
        ("vq2x16", "vector W"),
        ("lsq4", "learned integer W"),
        ("noise7.13", "noise W"),
        ("absmax4outlier5g128", "integer with outliers W"),
        ("sparse50", "sparsity W"),
        ("sparse2of4", "sparsity W"),
        ("sparse50_asparse50", "sparsity W+A"),
        ("int4_sparse50", "integer W, sparsity W"),
        ("w4a4_sparse50", "integer W+A, sparsity W"),
        ("overparam", "other W"),
    ],
)
def test_kinds(name: str, kind: str) -> None:
    assert compression_type(load_format(name)) == kind


def test_every_known_format_has_a_kind() -> None:
    for name in registry_names(config_dir()):
        kind = compression_type(load_format(name))
        assert kind
        assert (kind == "dense") == (name == "bf16"), name


@pytest.mark.parametrize(
    ("name", "levels"),
    [
        ("bf16", {}),
        ("int4", {"weight quantizer": "int4"}),
        ("w4a16", {"weight quantizer": "int4"}),
        ("w16a8", {"activation quantizer": "int8"}),
        ("w4a8", {"weight quantizer": "int4", "activation quantizer": "int8"}),
        ("sparse50_int4", {"weight quantizer": "int4", "weight sparsifier": "sparse50"}),
        (
            "w4a8_sparse2of4",
            {
                "weight quantizer": "int4",
                "activation quantizer": "int8",
                "weight sparsifier": "sparse2of4",
            },
        ),
        (
            "sparse50_asparse2of4",
            {"weight sparsifier": "sparse50", "activation sparsifier": "asparse2of4"},
        ),
        ("int4_sparse50_g32", {"weight quantizer": "int4_g32", "weight sparsifier": "sparse50"}),
    ],
)
def test_levels(name: str, levels: dict[str, str]) -> None:
    assert factor_levels(name, config_dir()) == levels
